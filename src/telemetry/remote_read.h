// Prometheus' remote read: a question for raw samples, and its answer, as bytes.
// SOURCE: Prometheus 2.42, "Remote Read API"; prompb/remote.proto and types.proto; protobuf's wire
// format. Its samples are asked for, not its streamed chunks. Snappy's block format by libsnappy.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::telemetry {

struct LabelMatcher {
  enum class Kind : uint8_t { kEqual = 0, kNotEqual = 1, kMatches = 2, kMatchesNot = 3 };
  Kind kind = Kind::kEqual;
  std::string label, value;  // of kMatches and kMatchesNot a regular expression, anchored
  bool operator==(const LabelMatcher&) const = default;
};

struct RemoteQuery {
  int64_t from_ms = 0, until_ms = 0;  // unix time, both ends included
  std::vector<LabelMatcher> matchers;
};
struct RemoteSample {
  int64_t unix_ms = 0;
  double value = 0;  // NaN: the series ended there
  bool operator==(const RemoteSample&) const = default;
};
struct RemoteSeries {
  std::map<std::string, std::string> labels;
  std::vector<RemoteSample> samples;  // in the order of time
};
struct RemoteLimits {
  size_t plain_bytes_max = 128 << 20;  // of an answer, unpacked
  size_t series_max = 100'000;
  size_t labels_max = 128;  // of one series
  size_t samples_max = 4'000'000;
};

// Returns the body of a request with one query.
Buffer encode_remote_read(const RemoteQuery& query);
// Returns the series of an answer to one query; what is not known of its messages is passed over.
// ERRORS: kCorrupt: it is no such answer; kTooLarge: beyond a limit, which of them is said.
Result<std::vector<RemoteSeries>> decode_remote_read(ByteView body, const RemoteLimits& limits);

}  // namespace forerun::telemetry
