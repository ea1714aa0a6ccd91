#include <boost/json.hpp>
#include <charconv>

#include "api/json_in.h"
#include "api/json_out.h"
#include "os/clock.h"

namespace forerun::api {

namespace json = boost::json;

namespace {

constexpr size_t kPushedMax = 1000;

template <typename T>
Status whole(std::string_view key, std::string_view text, T min, T max, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc{} && end == text.data() + text.size() && out >= min && out <= max)
    return {};
  return fail(ErrorCode::kInvalid,
              fmt::format("{} must be a whole number from {} to {}", key, min, max));
}

Result<telemetry::Resolution> resolution_of(std::string_view word) {
  for (size_t i = 0; i < telemetry::kResolutionCount; ++i)
    if (const auto one = static_cast<telemetry::Resolution>(i);
        telemetry::resolution_name(one) == word)
      return one;
  return fail(ErrorCode::kInvalid, "resolution must be one of 10s, 1m, 5m, 1h");
}

}  // namespace

Result<UsageRequest> parse_usage_request(std::string entity, std::string_view metric,
                                         std::string_view query) {
  UsageRequest request;
  request.name = {std::move(entity), std::string(metric)};
  FR_CHECK(telemetry::check(request.name));
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const std::string_view key = part.substr(0, part.find('='));
    const std::string_view value = part.substr(std::min(key.size() + 1, part.size()));
    if (key == "last_seconds") {
      FR_CHECK(whole<int64_t>(key, value, 1, kUsageSecondsMax, request.last_seconds));
    } else if (key == "points_max") {
      FR_CHECK(whole<uint32_t>(key, value, 1, kUsagePointsMax, request.points_max));
    } else if (key == "resolution") {
      FR_TRY(request.resolution, resolution_of(value));
    } else if (!key.empty()) {
      return fail(ErrorCode::kInvalid, fmt::format("'{}' is no question here", key.substr(0, 40)));
    }
  }
  return request;
}

Result<UsageImportRequest> parse_usage_import_request(std::string_view body) {
  if (body.size() > kRequestBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("over {} bytes", kRequestBytesMax));
  json::error_code error;
  const json::value value = json::parse(body, error);
  if (error || !value.is_object()) return fail(ErrorCode::kInvalid, "the body is no JSON object");
  const json::object& object = value.get_object();
  UsageImportRequest request;
  for (const auto& [key, into] :
       {std::pair{"url", &request.url}, std::pair{"instance", &request.instance}}) {
    const json::value* found = object.if_contains(key);
    if (found == nullptr) continue;
    if (!found->is_string() || found->get_string().size() > 1000)
      return fail(ErrorCode::kInvalid, fmt::format("{} must be a string", key));
    *into = std::string(found->get_string());
  }
  if (const json::value* seconds = object.if_contains("last_seconds")) {
    const double number = seconds->is_number() ? seconds->to_number<double>() : 0;
    if (!(number >= 1 && number <= static_cast<double>(kUsageSecondsMax)))
      return fail(ErrorCode::kInvalid,
                  fmt::format("last_seconds must be a number from 1 to {}", kUsageSecondsMax));
    request.last_seconds = static_cast<int64_t>(number);
  }
  if (const json::value* queries = object.if_contains("queries")) {
    FR_TRY(request.queries,
           telemetry::parse_metric_queries(json::serialize(json::value{{"queries", *queries}})));
  }
  return request;
}

Result<PushRequest> parse_push_request(std::string_view body) {
  if (body.size() > kRequestBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("over {} bytes", kRequestBytesMax));
  json::error_code error;
  const json::value value = json::parse(body, error);
  const json::value* values =
      !error && value.is_object() ? value.as_object().if_contains("values") : nullptr;
  if (values == nullptr || !values->is_object() || values->as_object().size() > kPushedMax)
    return fail(ErrorCode::kInvalid, "values must be an object of numbers by metric");
  PushRequest request;
  for (const auto& [metric, number] : values->as_object()) {
    if (!number.is_number())
      return fail(ErrorCode::kInvalid,
                  fmt::format("values.{} must be a number", repair_utf8(std::string_view(metric))));
    request.emplace_back(metric, number.to_number<double>());
  }
  return request;
}

std::string to_json(const std::vector<telemetry::SeriesName>& names, int64_t as_of) {
  json::array items;
  for (const telemetry::SeriesName& name : names)
    items.push_back({{"entity", name.entity}, {"metric", name.metric}});
  return json::serialize(
      json::value{{"items", std::move(items)}, {"as_of", os::format_utc(as_of)}});
}

std::string to_json(const UsageInfo& usage) {
  json::array points;
  points.reserve(usage.points.size());
  for (const UsagePoint& point : usage.points)
    points.push_back(json::array{point.unix_seconds, point.mean, point.max});
  return json::serialize(
      json::value{{"entity", usage.name.entity},
                  {"metric", usage.name.metric},
                  {"resolution", telemetry::resolution_name(usage.resolution)},
                  {"resolution_seconds", telemetry::rule(usage.resolution).seconds},
                  {"points", std::move(points)}});
}

}  // namespace forerun::api
