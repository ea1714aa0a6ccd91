#include "net/journal_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/codec.h"
#include "core/id.h"
#include "net/folder_calls.h"
#include "repository/source.h"

namespace forerun::net {
namespace {

constexpr uint64_t kMagic = 0x314a5072'6e757246;  // "FrunrPJ1"
constexpr uint32_t kVersion = 1;
constexpr uint32_t kBatchMagic = 0x42505246;  // "FRPB"
constexpr size_t kSector = 512;
constexpr size_t kBatchHeadSize = 64;  // the digest of it and of its entries' heads at its end
constexpr size_t kEntryHeadSize = 48;
constexpr size_t kDigestSize = sizeof(Digest);
constexpr size_t kHexDigits = 2 * kDigestSize;

bool is_hex_digest(std::string_view text) {
  return text.size() == kHexDigits && parse_digest(text).has_value();
}

ByteView bytes_of(const Digest& digest) { return std::as_bytes(std::span(digest.bytes)); }

Buffer header_of(uint64_t epoch) {
  ByteWriter out;
  out.u64(kMagic);
  out.u32(kVersion);
  out.u32(0);
  out.u64(epoch);
  out.bytes(bytes_of(sha256(out.view())));
  Buffer header = out.take();
  header.resize(kSector);
  return header;
}

// Without the digest.
void write_batch_head(ByteWriter& out, uint32_t entries, uint64_t epoch, uint64_t number,
                      uint64_t entry_bytes) {
  out.u32(kBatchMagic);
  out.u32(entries);
  out.u64(epoch);
  out.u64(number);
  out.u64(entry_bytes);
}

// What the digest of a batch is of: its head, and of each entry all but its data.
class BatchDigest {
 public:
  explicit BatchDigest(ByteView head) { add(head); }
  void add(ByteView part) { covered_.insert(covered_.end(), part.begin(), part.end()); }
  Digest digest() const { return sha256(covered_); }

 private:
  Buffer covered_;
};

struct EntryHead {
  size_t path_length = 0;
  uint64_t data_length = 0;
  Nanos modified{};
  Digest digest;
};

EntryHead read_entry_head(ByteReader& in) {
  EntryHead head;
  head.path_length = in.u16();
  in.u16();
  head.data_length = in.u32();
  head.modified = Nanos(static_cast<int64_t>(in.u64()));
  const ByteView digest = in.bytes(kDigestSize);
  if (digest.size() == kDigestSize)
    std::memcpy(head.digest.bytes.data(), digest.data(), kDigestSize);
  return head;
}

// Returns the size of the batch at the beginning of `file` and appends its entries; 0 if there is
// no whole one. `at`: where it stands, for errors.
Result<size_t> read_batch(ByteView file, uint64_t at, uint64_t number, ParsedJournal& parsed) {
  ByteReader in(file);
  const uint32_t magic = in.u32();
  const uint32_t count = in.u32();
  const uint64_t epoch = in.u64();
  const uint64_t stored_number = in.u64();
  const uint64_t entry_bytes = in.u64();
  const ByteView digest = in.bytes(kDigestSize);
  if (!in.good() || magic != kBatchMagic || epoch != parsed.epoch || stored_number != number ||
      entry_bytes > in.left())
    return 0;
  BatchDigest covered(file.first(kBatchHeadSize - kDigestSize));
  std::vector<JournalEntry> entries;
  std::vector<uint64_t> positions;
  bool is_whole = true;
  ByteReader body(in.bytes(entry_bytes));
  for (uint32_t i = 0; i < count && is_whole; ++i) {
    const size_t begin = kBatchHeadSize + entry_bytes - body.left();
    const EntryHead head = read_entry_head(body);
    const ByteView path = body.bytes(head.path_length);
    const ByteView data = body.bytes(head.data_length);
    if (!body.good()) return 0;
    covered.add(file.subspan(begin, kEntryHeadSize + head.path_length));
    is_whole = sha256(data) == head.digest;
    entries.push_back({std::string(as_text(path)), head.modified, data});
    positions.push_back(at + begin);
  }
  if (!is_whole || body.left() > 0 || !std::ranges::equal(bytes_of(covered.digest()), digest))
    return 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (put_kind(entries[i].path) == PutKind::kTag)
      return fail(ErrorCode::kCorrupt, fmt::format("byte {}: '{}' is nothing that a journal holds",
                                                   positions[i], entries[i].path));
  }
  std::ranges::move(entries, std::back_inserter(parsed.entries));
  return round_up(kBatchHeadSize + entry_bytes, kSector);
}

}  // namespace

PutKind put_kind(std::string_view path) {
  if (!repository::is_valid_object_path(path)) return PutKind::kTag;
  const size_t slash = path.find('/');
  if (slash == path.npos) return PutKind::kTag;
  const std::string_view folder = path.substr(0, slash);
  std::string_view leaf = path.substr(slash + 1);
  if (folder == "chunks")
    return leaf.size() == 3 + kHexDigits && leaf[2] == '/' && is_hex_digest(leaf.substr(3)) &&
                   leaf.substr(0, 2) == leaf.substr(3, 2)
               ? PutKind::kImmutable
               : PutKind::kTag;
  if (folder == "indexes" || folder == "compositions" || folder == "components")
    return is_hex_digest(leaf) ? PutKind::kImmutable : PutKind::kTag;
  if (folder == "priors" || folder == "component-priors" || folder == "composed") {
    const bool has_part =
        leaf.size() > kHexDigits && leaf[kHexDigits] == '.' && leaf.find('/') == leaf.npos;
    return is_hex_digest(has_part ? leaf.substr(0, kHexDigits) : leaf) ? PutKind::kHint
                                                                       : PutKind::kTag;
  }
  return PutKind::kTag;
}

Buffer encode(const JournalEntry& entry) {
  ByteWriter out;
  out.u16(static_cast<uint16_t>(entry.path.size()));
  out.u16(0);
  out.u32(static_cast<uint32_t>(entry.data.size()));
  out.u64(static_cast<uint64_t>(entry.modified.count()));
  out.bytes(bytes_of(sha256(entry.data)));
  out.bytes(as_bytes(entry.path));
  Buffer encoded = out.take();
  encoded.reserve(encoded.size() + entry.data.size());
  encoded.insert(encoded.end(), entry.data.begin(), entry.data.end());
  return encoded;
}

Result<JournalFile> JournalFile::create(int folder, const std::string& leaf, uint64_t epoch,
                                        std::string where) {
  os::Fd file(
      openat(folder, leaf.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.is_open()) return fail_open(fmt::format("make {}", where), errno);
  JournalFile journal(std::move(file), std::move(where));
  FR_CHECK(journal.clear(epoch));
  if (fsync(folder) != 0) return fail_errno(fmt::format("make {} durable", journal.where_), errno);
  return journal;
}

Status JournalFile::clear(uint64_t epoch) {
  const std::string attempted = fmt::format("write {}", where_);
  if (lseek(file_.get(), 0, SEEK_SET) < 0) return fail_errno(attempted, errno);
  FR_CHECK(write_fully(file_.get(), header_of(epoch), attempted));
  if (fdatasync(file_.get()) != 0) return fail_errno(attempted, errno);
  epoch_ = epoch;
  end_ = kSector;
  batches_ = 0;
  return {};
}

uint64_t JournalFile::held_bytes() const { return end_ - kSector; }

Status JournalFile::append(const std::vector<Buffer>& entries) {
  const std::string attempted = fmt::format("write {}", where_);
  uint64_t entry_bytes = 0;
  for (const Buffer& entry : entries) entry_bytes += entry.size();
  const uint64_t size = round_up(kBatchHeadSize + entry_bytes, kSector);
  if (size > kJournalBytesMax - end_)
    return fail(ErrorCode::kTooLarge, fmt::format("cannot {}: it is full", attempted));
  ByteWriter head;
  write_batch_head(head, static_cast<uint32_t>(entries.size()), epoch_, batches_, entry_bytes);
  BatchDigest covered(head.view());
  for (const Buffer& entry : entries) {
    ByteReader in(entry);
    const size_t path_length = read_entry_head(in).path_length;
    covered.add(ByteView(entry).first(kEntryHeadSize + path_length));
  }
  head.bytes(bytes_of(covered.digest()));
  Buffer batch = head.take();
  batch.reserve(size);
  for (const Buffer& entry : entries) batch.insert(batch.end(), entry.begin(), entry.end());
  batch.resize(size);
  if (lseek(file_.get(), static_cast<off_t>(end_), SEEK_SET) < 0)
    return fail_errno(attempted, errno);
  FR_CHECK(write_fully(file_.get(), batch, attempted));
  if (fdatasync(file_.get()) != 0) return fail_errno(attempted, errno);
  end_ += size;
  ++batches_;
  return {};
}

Result<ParsedJournal> parse_journal(ByteView file) {
  ParsedJournal parsed;
  const ByteView header = file.first(std::min(file.size(), kSector));
  if (all_zero(header)) return parsed;  // made, and never written to
  ByteReader in(header);
  const uint64_t magic = in.u64();
  const uint32_t version = in.u32();
  in.u32();
  parsed.epoch = in.u64();
  if (magic != kMagic || header.size() < kSector)
    return fail(ErrorCode::kCorrupt, "byte 0: it does not begin as a journal does");
  if (version != kVersion)
    return fail(ErrorCode::kUnsupported,
                fmt::format("byte 8: version {}; {} is known", version, kVersion));
  if (!std::ranges::equal(header, header_of(parsed.epoch)))
    return fail(ErrorCode::kCorrupt, "byte 0: the header does not match its digest");
  uint64_t number = 0;
  for (size_t at = kSector; at < file.size(); ++number) {
    FR_TRY(const size_t size, read_batch(file.subspan(at), at, number, parsed));
    if (size == 0) break;
    at += size;
  }
  return parsed;
}

}  // namespace forerun::net
