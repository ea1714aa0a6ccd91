// Fuzzes the reader of tar archives: builds one of right entries, then spoils headers, PAX records
// and bytes.
#include <fuzzer/FuzzedDataProvider.h>

#include "image/tar_builder.h"
#include "image/tar_reader.h"

using namespace forerun;
using namespace forerun::image;

namespace {

constexpr int kEntriesMax = 8;
constexpr uint64_t kContentMax = 256 * kKiB;

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string hurtful_field(FuzzedDataProvider& input) {
  constexpr std::string_view kFields[] = {"77777777777", "-1",  "00000000009", "           ",
                                          "1 000000000", "777", "00000001000", "\x80"};
  std::string field(input.ConsumeBool() ? std::string(input.PickValueInArray(kFields))
                                        : input.ConsumeRandomLengthString(12));
  return field;
}

void add_pax(TarBuilder& archive, FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr std::string_view kKeys[] = {"path",
                                        "linkpath",
                                        "size",
                                        "uid",
                                        "mtime",
                                        "SCHILY.xattr.user.a",
                                        "GNU.sparse.map",
                                        "GNU.sparse.size",
                                        "GNU.sparse.major",
                                        "GNU.sparse.realsize",
                                        "GNU.sparse.offset",
                                        "GNU.sparse.numbytes",
                                        "comment"};
  std::string body;
  for (int i = input.ConsumeIntegralInRange<int>(0, 4); i > 0; --i) {
    const std::string record =
        TarBuilder::record(input.PickValueInArray(kKeys), input.ConsumeRandomLengthString(24));
    body += input.ConsumeProbability<float>() < 0.1f
                ? fmt::format("{} {}", input.ConsumeIntegral<uint16_t>(),
                              record.substr(record.find(' ') + 1))
                : record;
  }
  is_spoilt = true;  // what the records say is anyone's guess
  archive.add({.name = "PaxHeaders/x",
               .type = input.ConsumeProbability<float>() < 0.1f ? 'g' : 'x',
               .content = std::move(body)});
}

// Builds an archive of files named f<number> and other things; returns the files' contents.
std::vector<std::string> build(TarBuilder& archive, FuzzedDataProvider& input, bool& is_spoilt) {
  constexpr char kTypes[] = {'0', '0', '1', '2', '5', '6', 'L', 'K', 'S', 'V'};
  std::vector<std::string> files;
  for (int i = input.ConsumeIntegralInRange<int>(0, kEntriesMax); i > 0; --i) {
    if (input.ConsumeProbability<float>() < 0.3f) add_pax(archive, input, is_spoilt);
    const char type = input.PickValueInArray(kTypes);
    TarBuilder::Entry entry{.name = fmt::format("f{}", i), .type = type, .link = "f1"};
    if (type == '0') {
      entry.content = input.ConsumeRandomLengthString(700);
      files.push_back(entry.content);
    }
    if (type == 'L' || type == 'K' || type == 'S') {
      entry.content = input.ConsumeRandomLengthString(40);
      is_spoilt = true;
    }
    if (input.ConsumeProbability<float>() < 0.2f) {
      entry.name = input.ConsumeRandomLengthString(20);
      is_spoilt = true;
    }
    if (input.ConsumeProbability<float>() < 0.2f) {
      is_spoilt = true;
      archive.header(entry, entry.content.size());
      archive.spoil(input.ConsumeIntegralInRange<size_t>(0, 499), hurtful_field(input));
      archive.raw(entry.content).pad();
      continue;
    }
    archive.add(entry);
  }
  archive.end();
  return files;
}

Result<std::vector<std::string>> read(std::string_view bytes, TarOptions options) {
  TarReader reader(stream_of(as_bytes(bytes)), options);
  std::vector<std::string> files;
  uint64_t total = 0;
  for (;;) {
    FR_TRY(const auto entry, reader.next());
    if (!entry) return files;
    for (const std::string& path : {entry->path, entry->link_target}) {
      const std::string slashed = "/" + path + "/";
      require(path.empty() ||
              (slashed.find("//") == std::string::npos &&
               slashed.find("/../") == std::string::npos &&
               slashed.find("/./") == std::string::npos && path.find('\0') == std::string::npos));
    }
    std::string content;
    for (;;) {
      Buffer part(333);
      FR_TRY(const size_t count, reader.read(part));
      if (count == 0) break;
      content += as_text(ByteView(part).first(count));
    }
    const bool is_file =
        entry->kind == TarEntry::Kind::kInode && entry->inode.kind == InodeKind::kRegular;
    require(content.size() == (is_file ? entry->inode.size : 0));
    total += content.size();
    require(total <= kContentMax);
    if (is_file) files.push_back(std::move(content));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  TarOptions options;
  options.limits.content_bytes_max = kContentMax;
  options.whiteouts = static_cast<TarWhiteouts>(input.ConsumeIntegralInRange<int>(0, 2));
  if (input.ConsumeIntegralInRange<int>(0, 15) == 0) {
    const std::string raw = input.ConsumeRemainingBytesAsString();
    if (const auto files = read(raw, options); !files) require(!files.error().message.empty());
    return 0;
  }
  TarBuilder archive;
  bool is_spoilt = false;
  const std::vector<std::string> files = build(archive, input, is_spoilt);
  std::string bytes = archive.bytes();
  for (int i = input.ConsumeIntegralInRange<int>(0, 2); i > 0; --i) {
    is_spoilt = true;
    bytes[input.ConsumeIntegralInRange<size_t>(0, bytes.size() - 1)] =
        static_cast<char>(input.ConsumeIntegral<uint8_t>());
  }
  const auto found = read(bytes, options);
  if (!found) require(!found.error().message.empty());
  if (!is_spoilt) require(found && *found == files);
  return 0;
}
