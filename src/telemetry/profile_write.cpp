#include <algorithm>
#include <cmath>
#include <iterator>

#include "telemetry/profile_fields.h"
#include "telemetry/profile_json.h"

namespace forerun::telemetry {
namespace {

class Writer {
 public:
  std::string out;

  template <typename T>
  void record(T& value) {
    out += '{';
    is_first_ = true;
    describe(*this, value);
    out += '}';
    is_first_ = false;
  }

  void whole(std::string_view name, uint64_t value, uint64_t min, uint64_t max) {
    key(name);
    fmt::format_to(std::back_inserter(out), "{}", std::clamp(value, min, max));
  }
  void integer(std::string_view name, int64_t value, uint64_t size_max) {
    key(name);
    const auto most = static_cast<int64_t>(size_max);
    fmt::format_to(std::back_inserter(out), "{}", std::clamp(value, -most, most));
  }
  void real(std::string_view name, double value, double min, double max) {
    key(name);
    const double finite = std::isfinite(value) ? value : 0.0;
    fmt::format_to(std::back_inserter(out), "{:.6g}", std::clamp(finite, min, max));
  }
  void text(std::string_view name, const std::string& value, size_t size_max) {
    key(name);
    quote(std::string_view(value).substr(0, size_max));
  }
  template <typename T>
  void object(std::string_view name, T& value) {
    key(name);
    record(value);
  }
  template <typename T>
  void optional(std::string_view name, std::optional<T>& value) {
    if (value) object(name, *value);
  }
  template <typename T>
  void list(std::string_view name, std::vector<T>& values, size_t count_max) {
    key(name);
    out += '[';
    for (size_t i = 0; i < std::min(values.size(), count_max); ++i) {
      if (i != 0) out += ',';
      record(values[i]);
    }
    out += ']';
    is_first_ = false;
  }
  template <typename T>
  void optional_list(std::string_view name, std::vector<T>& values, size_t count_max) {
    if (!values.empty()) list(name, values, count_max);
  }

 private:
  void key(std::string_view name) {
    if (!is_first_) out += ',';
    is_first_ = false;
    quote(name);
    out += ':';
  }

  // A process may be called anything: what is not ASCII becomes '?', so that the line is valid
  // UTF-8 and a character is a byte of the limit.
  void quote(std::string_view value) {
    out += '"';
    for (const char c : value) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '"' || c == '\\') {
        out += '\\';
        out += c;
      } else {
        out += byte < 0x20 || byte > 0x7e ? '?' : c;
      }
    }
    out += '"';
  }

  bool is_first_ = true;
};

}  // namespace

std::string write_profile(Profile profile) {
  Writer writer;
  writer.out.reserve(4096);
  writer.record(profile);
  return std::move(writer.out);
}

}  // namespace forerun::telemetry
