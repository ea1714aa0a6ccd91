#include <array>
#include <boost/json.hpp>
#include <cmath>

#include "telemetry/profile_fields.h"
#include "telemetry/profile_json.h"

namespace forerun::telemetry {
namespace {

namespace json = boost::json;

// Fills a record from an object; the first fault ends it. Members are counted, so that one too many
// is found without a list of names.
class Reader {
 public:
  std::optional<Refused> fault;

  template <typename T>
  void record(const json::value& from, T& into, const std::string& path) {
    const json::object* object = from.if_object();
    if (object == nullptr) return refuse(Refusal::kNotProfile, path, "is no object");
    const Frame above = frame_;
    frame_ = {object, path, 0};
    describe(*this, into);
    if (!fault && frame_.taken != object->size())
      refuse(Refusal::kNotProfile, path, "has a member that is not known");
    frame_ = above;
  }

  void whole(std::string_view name, uint64_t& value, uint64_t min, uint64_t max) {
    const json::value* found = required(name);
    if (found == nullptr) return;
    if (found->is_int64() && found->get_int64() < 0)
      return refuse(Refusal::kOutOfRange, member(name), "is negative");
    if (!found->is_int64() && !found->is_uint64())
      return refuse(Refusal::kNotProfile, member(name), "is no whole number");
    value = found->is_uint64() ? found->get_uint64() : static_cast<uint64_t>(found->get_int64());
    if (value < min || value > max)
      refuse(Refusal::kOutOfRange, member(name), fmt::format("is not in {} … {}", min, max));
  }

  void integer(std::string_view name, int64_t& value, uint64_t size_max) {
    const json::value* found = required(name);
    if (found == nullptr) return;
    if (!found->is_int64()) return refuse(Refusal::kNotProfile, member(name), "is no integer");
    value = found->get_int64();
    const auto most = static_cast<int64_t>(size_max);
    if (value < -most || value > most)
      refuse(Refusal::kOutOfRange, member(name), fmt::format("is over ±{}", most));
  }

  void real(std::string_view name, double& value, double min, double max) {
    const json::value* found = required(name);
    if (found == nullptr) return;
    if (!found->is_number()) return refuse(Refusal::kNotProfile, member(name), "is no number");
    value = found->is_double()   ? found->get_double()
            : found->is_uint64() ? static_cast<double>(found->get_uint64())
                                 : static_cast<double>(found->get_int64());
    if (!std::isfinite(value)) return refuse(Refusal::kOutOfRange, member(name), "is not finite");
#ifdef FORERUN_PLANT_BUG_PROFILE
    return;
#endif
    if (value < min || value > max)
      refuse(Refusal::kOutOfRange, member(name), fmt::format("is not in {} … {}", min, max));
  }

  void text(std::string_view name, std::string& value, size_t size_max) {
    const json::value* found = required(name);
    if (found == nullptr) return;
    if (!found->is_string()) return refuse(Refusal::kNotProfile, member(name), "is no text");
    const json::string& given = found->get_string();
    if (given.size() > size_max)
      return refuse(Refusal::kOutOfRange, member(name), fmt::format("is over {} bytes", size_max));
    // It is shown on terminals and in logs.
    for (const char c : given) {
      if (c < 0x20 || c > 0x7e)
        return refuse(Refusal::kOutOfRange, member(name), "is not printable ASCII");
    }
    value.assign(given.data(), given.size());
  }

  template <typename T>
  void object(std::string_view name, T& value) {
    if (const json::value* found = required(name)) record(*found, value, member(name));
  }

  template <typename T>
  void optional(std::string_view name, std::optional<T>& value) {
    if (const json::value* found = look(name)) record(*found, value.emplace(), member(name));
  }

  template <typename T>
  void list(std::string_view name, std::vector<T>& values, size_t count_max) {
    if (const json::value* found = required(name)) fill(*found, member(name), values, count_max);
  }

  template <typename T>
  void optional_list(std::string_view name, std::vector<T>& values, size_t count_max) {
    if (const json::value* found = look(name)) fill(*found, member(name), values, count_max);
  }

 private:
  struct Frame {
    const json::object* object = nullptr;
    std::string path;
    size_t taken = 0;
  };

  template <typename T>
  void fill(const json::value& from, const std::string& path, std::vector<T>& values,
            size_t count_max) {
    const json::array* array = from.if_array();
    if (array == nullptr) return refuse(Refusal::kNotProfile, path, "is no list");
    if (array->size() > count_max)
      return refuse(Refusal::kNotProfile, path, fmt::format("has over {} entries", count_max));
    for (const json::value& entry : *array) {
      if (fault) return;
      record(entry, values.emplace_back(), path + "[]");
    }
  }

  std::string member(std::string_view name) const {
    return frame_.path.empty() ? std::string(name) : fmt::format("{}.{}", frame_.path, name);
  }

  const json::value* look(std::string_view name) {
    if (fault) return nullptr;
    const json::value* found = frame_.object->if_contains({name.data(), name.size()});
    if (found != nullptr) ++frame_.taken;
    return found;
  }

  const json::value* required(std::string_view name) {
    const json::value* found = look(name);
    if (found == nullptr && !fault) refuse(Refusal::kNotProfile, member(name), "is missing");
    return found;
  }

  void refuse(Refusal why, const std::string& path, std::string_view what) {
    if (!fault) fault = Refused{why, fmt::format("{} {}", path.empty() ? "it" : path, what)};
  }

  Frame frame_;
};

}  // namespace

std::string_view refusal_name(Refusal refusal) {
  constexpr std::array<std::string_view, kRefusalCount> kNames{
      "too_long", "not_json", "not_profile", "out_of_range", "time_backwards", "too_often"};
  return kNames[static_cast<size_t>(refusal)];
}

std::expected<Profile, Refused> parse_profile(std::string_view line) {
  if (line.size() > kProfileBytesMax)
    return std::unexpected(
        Refused{Refusal::kTooLong, fmt::format("it has over {} bytes", kProfileBytesMax)});
  json::error_code error;
  json::parse_options options;
  options.max_depth = kProfileDepthMax;
  // Values of one line, in one piece that is let go as a whole.
  std::array<unsigned char, 32 << 10> room;
  json::monotonic_resource memory(room.data(), room.size());
  const json::value value = json::parse({line.data(), line.size()}, error, &memory, options);
  if (error) return std::unexpected(Refused{Refusal::kNotJson, error.message()});
  Profile profile;
  Reader reader;
  reader.record(value, profile, "");
  if (reader.fault) return std::unexpected(std::move(*reader.fault));
  return profile;
}

}  // namespace forerun::telemetry
