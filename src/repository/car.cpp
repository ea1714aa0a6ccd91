#include "repository/car.h"

#include <fmt/format.h>

#include <algorithm>

namespace forerun::repository {
namespace {

constexpr uint8_t kSha256 = 0x12;
constexpr size_t kDigestBytes = 32;
constexpr size_t kCidBytes = 4 + kDigestBytes;
constexpr uint64_t kHeaderBytes = 59;  // with its length; of one root that is a CIDv1 by SHA-256

// UnixFS: Data.DataType.
constexpr uint64_t kUnixFsDirectory = 1;
constexpr uint64_t kUnixFsFile = 2;

void put_bytes(Buffer& out, ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
void put_byte(Buffer& out, uint8_t byte) { out.push_back(std::byte{byte}); }
void put_varint(Buffer& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) put_byte(out, static_cast<uint8_t>(value | 0x80));
  put_byte(out, static_cast<uint8_t>(value));
}
// Protocol buffers' wire types 0 and 2.
void put_number(Buffer& out, uint8_t field, uint64_t value) {
  put_byte(out, static_cast<uint8_t>(field << 3));
  put_varint(out, value);
}
void put_field(Buffer& out, uint8_t field, ByteView bytes) {
  put_byte(out, static_cast<uint8_t>(field << 3 | 2));
  put_varint(out, bytes.size());
  put_bytes(out, bytes);
}

// {"roots": [root], "version": 1} in DAG-CBOR.
Buffer header_of(const Cid& root) {
  Buffer cbor;
  put_byte(cbor, 0xa2);
  put_byte(cbor, 0x65);
  put_bytes(cbor, as_bytes("roots"));
  put_byte(cbor, 0x81);
  for (const int byte : {0xd8, 0x2a, 0x58, 0x25, 0x00}) put_byte(cbor, static_cast<uint8_t>(byte));
  put_bytes(cbor, root.bytes());
  put_byte(cbor, 0x67);
  put_bytes(cbor, as_bytes("version"));
  put_byte(cbor, 0x01);
  Buffer header;
  put_varint(header, cbor.size());
  put_bytes(header, cbor);
  return header;
}

}  // namespace

Buffer Cid::bytes() const {
  Buffer out;
  for (const int byte : {1, static_cast<int>(codec), int{kSha256}, static_cast<int>(kDigestBytes)})
    put_byte(out, static_cast<uint8_t>(byte));
  put_bytes(out, {reinterpret_cast<const std::byte*>(digest.bytes.data()), kDigestBytes});
  return out;
}

std::string Cid::text() const {
  constexpr std::string_view kAlphabet =
      "abcdefghijklmnopqrstuvwxyz234567";  // RFC 4648, lower case
  std::string out = "b";
  uint32_t bits = 0;
  int count = 0;
  for (const std::byte byte : bytes()) {
    bits = bits << 8 | static_cast<uint32_t>(byte);
    for (count += 8; count >= 5; count -= 5) out += kAlphabet[bits >> (count - 5) & 31];
  }
  if (count > 0) out += kAlphabet[bits << (5 - count) & 31];
  return out;
}

struct CarWriter::Directory {
  struct Entry {
    Link link;                             // of a file
    std::unique_ptr<Directory> directory;  // or this
  };
  std::map<std::string, Entry, std::less<>> entries;  // by bytes of the name, as DAG-PB wants links
};

CarWriter::CarWriter(StorageFile& file)
    : file_(file), end_(kHeaderBytes), root_(std::make_unique<Directory>()) {}
CarWriter::~CarWriter() = default;

Result<CarWriter::Link> CarWriter::put_block(Cid::Codec codec, ByteView data) {
  const Link link{{codec, sha256(data)}, data.size()};
  if (codec == Cid::Codec::kRaw && !leaves_.insert(link.cid.digest).second) return link;
  Buffer section;
  section.reserve(kCidBytes + data.size() + 10);
  put_varint(section, kCidBytes + data.size());
  put_bytes(section, link.cid.bytes());
  put_bytes(section, data);
  FR_CHECK(file_.write(end_, section));
  end_ += section.size();
  return link;
}

Buffer CarWriter::node(const NamedLinks& links, ByteView unix_fs) {
  Buffer out;
  for (const auto& [name, link] : links) {
    Buffer encoded;
    put_field(encoded, 1, link.cid.bytes());
    put_field(encoded, 2, as_bytes(name));
    put_number(encoded, 3, link.total_bytes);
    put_field(out, 2, encoded);
  }
  put_field(out, 1, unix_fs);  // last, though of the lower number: so says DAG-PB
  return out;
}

Result<CarWriter::Link> CarWriter::put_file(ByteView data) {
  if (data.size() <= kLeafBytesMax) return put_block(Cid::Codec::kRaw, data);
  Buffer unix_fs;
  put_number(unix_fs, 1, kUnixFsFile);
  put_number(unix_fs, 3, data.size());
  NamedLinks links;
  uint64_t total_bytes = 0;
  for (size_t at = 0; at < data.size(); at += kLeafBytesMax) {
    const ByteView leaf = data.subspan(at, std::min(kLeafBytesMax, data.size() - at));
    FR_TRY(const Link link, put_block(Cid::Codec::kRaw, leaf));
    put_number(unix_fs, 4, leaf.size());
    links.emplace_back("", link);
    total_bytes += link.total_bytes;
  }
  FR_TRY(Link file, put_block(Cid::Codec::kDagPb, node(links, unix_fs)));
  file.total_bytes += total_bytes;
  return file;
}

Status CarWriter::add(std::string_view path, ByteView data) {
  const auto exists = [&] {
    return fail(ErrorCode::kExists, fmt::format("the archive has {}, or a part of it", path));
  };
  Directory* directory = root_.get();
  std::string_view rest = path;
  for (size_t slash = rest.find('/'); slash != std::string_view::npos; slash = rest.find('/')) {
    auto& entries = directory->entries;
    const auto [entry, is_new] = entries.try_emplace(std::string(rest.substr(0, slash)));
    if (is_new) entry->second.directory = std::make_unique<Directory>();
    directory = entry->second.directory.get();
    if (directory == nullptr) return exists();
    rest.remove_prefix(slash + 1);
  }
  if (directory->entries.contains(rest)) return exists();
  if (directory->entries.size() >= kDirectoryEntriesMax)
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} is one too many in its folder, which may have {} entries: export "
                            "fewer names to one archive",
                            path, kDirectoryEntriesMax));
  FR_TRY(const Link link, put_file(data));
  directory->entries[std::string(rest)].link = link;
  return {};
}

Result<CarWriter::Link> CarWriter::put_directory(const Directory& directory) {
  NamedLinks links;
  uint64_t total_bytes = 0;
  for (const auto& [name, entry] : directory.entries) {
    Link link = entry.link;
    if (entry.directory) {
      FR_TRY(link, put_directory(*entry.directory));
    }
    links.emplace_back(name, link);
    total_bytes += link.total_bytes;
  }
  Buffer unix_fs;
  put_number(unix_fs, 1, kUnixFsDirectory);
  FR_TRY(Link link, put_block(Cid::Codec::kDagPb, node(links, unix_fs)));
  link.total_bytes += total_bytes;
  return link;
}

Result<Cid> CarWriter::finish() {
  FR_TRY(const Link root, put_directory(*root_));
  const Buffer header = header_of(root.cid);
  FR_ASSERT(header.size() == kHeaderBytes);
  FR_CHECK(file_.write(0, header));
  return root.cid;
}

}  // namespace forerun::repository
