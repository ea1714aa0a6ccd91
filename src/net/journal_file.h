// One journal of objects that were put: docs/format_repository.md, "Journals". A batch is written
// in one piece and one flush makes all of it durable; the objects themselves follow at leisure.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"
#include "os/file.h"

namespace forerun::net {

inline constexpr uint64_t kJournalBytesMax = 32 * kMiB;  // of one file; a longer one is refused

// What a put of a path may find in its place later, told from the path alone.
enum class PutKind {
  kImmutable,  // equal content, or what a power cut tore
  kHint,       // an older or a newer one: the age decides, and either will do
  kTag,        // anything: only the newest is right, so it is no matter for a journal
};
PutKind put_kind(std::string_view path);

struct JournalEntry {
  std::string path;
  Nanos modified{};  // the time of the object's file as it was put, by the file system's clock
  ByteView data;
};

// Returns the entry as it stands in a batch.
Buffer encode(const JournalEntry& entry);

// One thread at a time.
class JournalFile {
 public:
  // Makes the file `leaf` in `folder`, empty, with its name made durable up to `root`'s folder
  // tmp. `where`: what to call it in errors.
  static Result<JournalFile> create(int folder, const std::string& leaf, uint64_t epoch,
                                    std::string where);

  // Appends one batch of encoded entries, durable on return. After an error nothing is known of the
  // file: clear() it before the next. ERRORS: kTooLarge, and the file is as it was.
  Status append(const std::vector<Buffer>& entries);
  // Forgets all batches, durably. `epoch`: larger than that of any journal of this process before.
  Status clear(uint64_t epoch);

  uint64_t epoch() const { return epoch_; }
  // Returns how many bytes of batches it holds.
  uint64_t held_bytes() const;

 private:
  JournalFile(os::Fd file, std::string where) : file_(std::move(file)), where_(std::move(where)) {}

  os::Fd file_;
  std::string where_;
  uint64_t epoch_ = 0;
  uint64_t end_ = 0;
  uint64_t batches_ = 0;
};

struct ParsedJournal {
  uint64_t epoch = 0;
  std::vector<JournalEntry> entries;  // in the order they were put; they point into what was parsed
};
// Returns what the journal `file` holds; a batch that is torn, and what follows it, was never
// acknowledged and is dropped. A file of zeroes, or an empty one, holds nothing. ERRORS: kCorrupt:
// it is no journal, or holds what no journal may hold: the message says at which byte.
Result<ParsedJournal> parse_journal(ByteView file);

}  // namespace forerun::net
