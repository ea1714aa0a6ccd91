// Writes small ELF files, right or wrong on purpose: for tests.
#pragma once

#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/codec.h"

namespace forerun::image {

struct ElfBuilder {
  std::string interpreter;
  std::vector<std::string> libraries;
  std::string run_path;
  uint64_t strings_address = 0x10000;  // where the dynamic section says the names are
  uint16_t segment_bytes = 56;

  // One segment maps the whole file at 0x10000 - kStrings; the names begin at file offset 512.
  std::string build() const {
    std::string names(1, '\0');
    const auto name = [&](const std::string& text) {
      const size_t at = names.size();
      names += text + '\0';
      return at;
    };
    ByteWriter dynamic;
    for (const auto& library : libraries) dynamic.u64(1), dynamic.u64(name(library));
    if (!run_path.empty()) dynamic.u64(29), dynamic.u64(name(run_path));
    dynamic.u64(5), dynamic.u64(strings_address);
    dynamic.u64(0), dynamic.u64(0);
    const size_t interpreter_at = 512 + name(interpreter);
    const size_t dynamic_at = 512 + names.size();
    const size_t end = dynamic_at + dynamic.size();
    ByteWriter out;
    out.bytes(
        as_bytes(std::string_view("\x7f"
                                  "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0",
                                  16)));
    out.u16(3), out.u16(62), out.u32(1), out.u64(0), out.u64(64), out.u64(0);
    out.u32(0), out.u16(64), out.u16(segment_bytes), out.u16(3), out.u16(0), out.u16(0), out.u16(0);
    segment(out, 1, 0, 0x10000 - 512, end);
    segment(out, interpreter.empty() ? 6 : 3, interpreter_at, 0, interpreter.size() + 1);
    segment(out, 2, dynamic_at, 0, dynamic.size());
    Buffer file = out.take();
    file.resize(512);
    std::string text(as_text(file));
    return text + names + std::string(as_text(dynamic.view()));
  }

 private:
  static void segment(ByteWriter& out, uint32_t type, uint64_t offset, uint64_t address,
                      uint64_t bytes) {
    out.u32(type), out.u32(4), out.u64(offset), out.u64(address), out.u64(address);
    out.u64(bytes), out.u64(bytes), out.u64(8);
  }
};

}  // namespace forerun::image
