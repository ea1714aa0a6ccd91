// Writes ar archives and Debian packages, right ones and wrong ones: for tests and fuzzers.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "image/tar_builder.h"

namespace forerun::image {

class ArBuilder {
 public:
  ArBuilder() : bytes_("!<arch>\n") {}

  ArBuilder& add(std::string_view name, std::string_view content) {
    header(name, fmt::format("{}", content.size()));
    bytes_ += content;
    if (content.size() % 2 != 0) bytes_ += '\n';
    return *this;
  }
  // A header that claims what it likes; what follows is the caller's.
  ArBuilder& header(std::string_view name, std::string_view size, std::string_view end = "`\n") {
    bytes_ += fmt::format("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}{}", name, "1700000000", "0", "0",
                          "100644", size, end);
    return *this;
  }
  ArBuilder& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

inline constexpr std::string_view kDebControl =
    "Package: tool\nVersion: 1:2.0-3+b1\nArchitecture: amd64\nMaintainer: A B <a@b.c>\n"
    "Provides: editor, virtual-tool (= 2)\nDepends: libc6 (>= 2.3)\n"
    "Description: a tool\n that does\n .\n things\n";

inline std::string deb_control_tar(std::string_view control = kDebControl) {
  return TarBuilder().directory("./").file("./control", std::string(control)).end().bytes();
}

// A package of these members, unpacked.
inline std::string deb_of(std::string_view control_tar, std::string_view data_tar) {
  return ArBuilder()
      .add("debian-binary", "2.0\n")
      .add("control.tar", control_tar)
      .add("data.tar", data_tar)
      .bytes();
}

}  // namespace forerun::image
