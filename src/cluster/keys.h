// Keys as ranges.
#pragma once

#include <string>

namespace forerun::cluster {

// Returns the first string after all those that begin with `prefix`. REQUIRES: it is not empty, and
// printable ASCII, as keys are.
inline std::string end_of_prefix(std::string prefix) {
  ++prefix.back();
  return prefix;
}

}  // namespace forerun::cluster
