#include "telemetry/metric_query.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>

#include "telemetry/history.h"

namespace forerun::telemetry {
namespace {

namespace json = boost::json;
using Kind = LabelMatcher::Kind;
using Reading = MetricQuery::Reading;
using Joined = MetricQuery::Joined;

constexpr size_t kMatchersMax = 32;
constexpr size_t kTextBytesMax = 4096;

bool is_label_byte(char c, bool is_first, bool is_metric) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  return is_letter || (is_metric && c == ':') || (!is_first && c >= '0' && c <= '9');
}

class SelectorReader {
 public:
  explicit SelectorReader(std::string_view text) : text_(text) {}

  Result<std::vector<LabelMatcher>> read() {
    std::vector<LabelMatcher> matchers;
    if (const std::string name = word(true); !name.empty())
      matchers.push_back({Kind::kEqual, "__name__", name});
    if (takes("{"))
      while (!takes("}")) {
        if (matchers.size() >= kMatchersMax) return wrong("has too many matchers");
        FR_TRY(matchers.emplace_back(), matcher());
        if (takes("}")) break;
        if (!takes(",")) return wrong("needs a , or a }");
      }
    blanks();
    if (at_ < text_.size()) return wrong("goes on after its end");
    const bool selects = std::any_of(matchers.begin(), matchers.end(), [](const auto& matcher) {
      return matcher.kind == Kind::kEqual && !matcher.value.empty();
    });
    if (!selects) return wrong("needs a name, or a label that equals something");
    return matchers;
  }

 private:
  Result<LabelMatcher> matcher() {
    LabelMatcher matcher;
    matcher.label = word(false);
    if (matcher.label.empty()) return wrong("needs a label");
    if (takes("=~"))
      matcher.kind = Kind::kMatches;
    else if (takes("!~"))
      matcher.kind = Kind::kMatchesNot;
    else if (takes("!="))
      matcher.kind = Kind::kNotEqual;
    else if (!takes("="))
      return wrong("needs one of = != =~ !~");
    if (!takes("\"")) return wrong("needs a value in double quotes");
    for (;; ++at_) {
      if (at_ >= text_.size()) return wrong("has a value that does not end");
      if (text_[at_] == '"') break;
      if (text_[at_] != '\\') {
        matcher.value += text_[at_];
        continue;
      }
      ++at_;
      const char c = at_ < text_.size() ? text_[at_] : '\0';
      if (c != '\\' && c != '"' && c != 'n') return wrong("has an unknown escape");
      matcher.value += c == 'n' ? '\n' : c;
    }
    ++at_;
    return matcher;
  }
  void blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool takes(std::string_view token) {
    blanks();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  std::string word(bool is_metric) {
    blanks();
    const size_t begin = at_;
    while (at_ < text_.size() && is_label_byte(text_[at_], at_ == begin, is_metric)) ++at_;
    return std::string(text_.substr(begin, at_ - begin));
  }
  std::unexpected<Error> wrong(std::string_view what) const {
    return fail(ErrorCode::kInvalid, fmt::format("selector {} at byte {}", what, at_));
  }

  const std::string_view text_;
  size_t at_ = 0;
};

// Returns the place of a word among others, or nothing.
template <size_t N>
std::optional<size_t> place_of(const std::array<std::string_view, N>& words,
                               std::string_view word) {
  const auto found = std::find(words.begin(), words.end(), word);
  if (found == words.end()) return std::nullopt;
  return static_cast<size_t>(found - words.begin());
}

constexpr std::array<std::string_view, 2> kReadings{"gauge", "counter"};
constexpr std::array<std::string_view, 4> kJoined{"sum", "mean", "max", "count"};

Status read_member(std::string_view key, const json::value& value, MetricQuery& query) {
  const auto refused = [&](std::string_view why) {
    return fail(ErrorCode::kInvalid, fmt::format("{} {}", key, why));
  };
  if (key == "scale") {
    const double number = value.is_number() ? value.to_number<double>() : NAN;
    if (!std::isfinite(number) || std::abs(number) > 1e18) return refused("must be a number");
    query.scale = number;
    return {};
  }
  if (!value.is_string() || value.get_string().size() > kTextBytesMax)
    return refused("must be a string");
  const std::string_view text = value.get_string();
  if (key == "metric") {
    query.metric = text;
  } else if (key == "select") {
    FR_TRY(query.select, parse_selector(text));
  } else if (key == "vm_label") {
    query.vm_label = text;
  } else if (key == "as") {
    const auto place = place_of(kReadings, text);
    if (!place) return refused("must be gauge or counter");
    query.reading = static_cast<Reading>(*place);
  } else if (key == "join") {
    const auto place = place_of(kJoined, text);
    if (!place) return refused("must be one of sum, mean, max, count");
    query.joined = static_cast<Joined>(*place);
  } else {
    return fail(ErrorCode::kInvalid, "there is a member that is not known");
  }
  return {};
}

Result<MetricQuery> read_query(const json::value& value) {
  if (!value.is_object()) return fail(ErrorCode::kInvalid, "must be an object");
  MetricQuery query;
  for (const auto& [key, member] : value.get_object()) FR_CHECK(read_member(key, member, query));
  FR_CHECK(check({query.vm_label.empty() ? "host" : "vm/x", query.metric}));
  if (query.select.empty()) return fail(ErrorCode::kInvalid, "select is missing");
  return query;
}

}  // namespace

Result<std::vector<LabelMatcher>> parse_selector(std::string_view text) {
  return SelectorReader(text).read();
}

Result<std::vector<MetricQuery>> parse_metric_queries(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  const json::value value = json::parse(text, error, {}, options);
  const json::value* list =
      !error && value.is_object() ? value.get_object().if_contains("queries") : nullptr;
  if (list == nullptr || !list->is_array() || value.get_object().size() != 1)
    return fail(ErrorCode::kInvalid, "it is no JSON object with a list \"queries\"");
  const json::array& items = list->get_array();
  if (items.empty() || items.size() > kMetricQueriesMax)
    return fail(ErrorCode::kInvalid,
                fmt::format("there must be 1 to {} queries", kMetricQueriesMax));
  std::vector<MetricQuery> queries;
  for (size_t i = 0; i < items.size(); ++i) {
    auto query = read_query(items[i]);
    if (!query)
      return std::unexpected(std::move(query.error()).within(fmt::format("queries[{}]", i)));
    queries.push_back(std::move(*query));
  }
  return queries;
}

// SOURCE: the names of node_exporter 1.5 and of the exporters of libvirt that go back to kumina's.
std::vector<MetricQuery> usual_metric_queries() {
  std::vector<MetricQuery> queries;
  const auto add = [&](std::string_view metric, std::string_view vm_label,
                       std::string_view selector, Reading reading, Joined joined = Joined::kSum,
                       double scale = 1) {
    auto select = parse_selector(selector);
    FR_ASSERT(select.has_value());
    queries.push_back(
        {std::string(metric), std::string(vm_label), std::move(*select), reading, joined, scale});
  };
  constexpr auto kGauge = Reading::kGauge;
  constexpr auto kCounter = Reading::kCounter;
  add("cpu_cores", "", R"(node_cpu_seconds_total{mode!~"idle|iowait"})", kCounter);
  add("cpu_total_cores", "", R"(node_cpu_seconds_total{mode="idle"})", kGauge, Joined::kCount);
  add("memory_bytes", "", "node_memory_MemTotal_bytes", kGauge);
  add("memory_bytes", "", "node_memory_MemAvailable_bytes", kGauge, Joined::kSum, -1);
  add("memory_total_bytes", "", "node_memory_MemTotal_bytes", kGauge);
  add("cpu_stall_ratio", "", "node_pressure_cpu_waiting_seconds_total", kCounter);
  add("memory_stall_ratio", "", "node_pressure_memory_waiting_seconds_total", kCounter);
  add("io_stall_ratio", "", "node_pressure_io_waiting_seconds_total", kCounter);
  add("cpu_cores", "domain", "libvirt_domain_info_cpu_time_seconds_total", kCounter);
  add("cpu_wait_cores", "domain", "libvirt_domain_vcpu_delay_seconds_total", kCounter);
  add("vcpu_wait_ratio", "domain", "libvirt_domain_vcpu_delay_seconds_total", kCounter,
      Joined::kMean);
  add("memory_bytes", "domain", "libvirt_domain_memory_stats_rss_bytes", kGauge);
  add("disk_read_bytes_per_s", "domain", "libvirt_domain_block_stats_read_bytes_total", kCounter);
  add("disk_write_bytes_per_s", "domain", "libvirt_domain_block_stats_write_bytes_total", kCounter);
  return queries;
}

LabelMatcher matcher_of_instance(std::string_view instance) {
  std::string expression;
  for (const char c : instance) {
    if (std::string_view(R"(\.+*?()|[]{}^$)").find(c) != std::string_view::npos) expression += '\\';
    expression += c;
  }
  return {Kind::kMatches, "instance", expression + "(:[0-9]+)?"};
}

}  // namespace forerun::telemetry
