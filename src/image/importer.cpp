#include "image/importer.h"

#include <fmt/format.h>

#include "image/boot_prior.h"
#include "repository/image_index.h"
#include "repository/put_chunk.h"

namespace forerun::image {
namespace {

using repository::ChunkRef;
using repository::kChunkSize;
using repository::PutKind;

// What became of one chunk.
struct Outcome {
  ChunkRef ref;
  std::optional<PutKind> kind;  // none: zeroes
  Status status;
};

class Importer {
 public:
  Importer(DiskReader& disk, repository::Store& store, const ImportOptions& options)
      : disk_(disk), store_(store), options_(options) {}

  Result<ImportResult> run() {
    index_.size_bytes = disk_.size_bytes();
    index_.chunks.reserve(repository::chunk_count(index_.size_bytes));
    progress_.bytes_total = index_.size_bytes;
    while (progress_.bytes_done < progress_.bytes_total) {
      FR_CHECK(import_batch());
      if (options_.on_progress) FR_CHECK(options_.on_progress(progress_));
    }
    ImportResult result{.totals = progress_};
    FR_CHECK(publish(result));
    return result;
  }

 private:
  Status import_batch() {
    const size_t first = index_.chunks.size();
    const size_t total = repository::chunk_count(index_.size_bytes);
    std::vector<Outcome> outcomes(std::min(options_.batch_chunks, total - first));
    const std::function<void(size_t)> body = [&](size_t i) {
      outcomes[i] = import_chunk(first + i);
    };
    if (options_.parallel_for) {
      options_.parallel_for(outcomes.size(), body);
    } else {
      for (size_t i = 0; i < outcomes.size(); ++i) body(i);
    }
    for (const Outcome& outcome : outcomes) FR_CHECK(account(outcome));
    return {};
  }

  // Runs on the caller's threads, many at once: reads known_ but changes nothing of the importer.
  Outcome import_chunk(uint64_t number) {
    const uint64_t offset = number * kChunkSize;
    const auto size =
        static_cast<uint32_t>(std::min<uint64_t>(kChunkSize, index_.size_bytes - offset));
    Outcome outcome;
    outcome.ref.size = size;
    if (disk_.known_zero({offset, size})) return outcome;
    Buffer content(size);
    if (Status status = disk_.read(offset, content); !status) {
      outcome.status =
          std::unexpected(status.error().within(fmt::format("cannot read the disk at {}", offset)));
      return outcome;
    }
    const auto id = repository::name_chunk(content);
    if (!id) return outcome;
    if (const auto known = known_.find(*id); known != known_.end()) {
      outcome.ref = {*id, size, known->second};
      outcome.kind = PutKind::kReused;
      return outcome;
    }
    const auto put = repository::put_chunk(store_, *id, content, options_.zstd_level);
    if (!put) {
      outcome.status = std::unexpected(put.error());
      return outcome;
    }
    outcome.ref = put->ref;
    outcome.kind = put->kind;
    return outcome;
  }

  Status account(const Outcome& outcome) {
    FR_CHECK(outcome.status);
    index_.chunks.push_back(outcome.ref);
    progress_.bytes_done += outcome.ref.size;
    if (!outcome.kind) {
      ++progress_.zero_chunks;
      return {};
    }
    // Two equal chunks in one batch both count themselves new; the second is not.
    const bool first_seen = known_.emplace(outcome.ref.id, outcome.ref.stored_size).second;
    if (outcome.kind == PutKind::kReused || !first_seen) {
      ++progress_.reused_chunks;
      return {};
    }
    ++(outcome.kind == PutKind::kNew ? progress_.new_chunks : progress_.repaired_chunks);
    progress_.stored_bytes += outcome.ref.stored_size;
    return {};
  }

  Status publish(ImportResult& result) {
    FR_CHECK(store_.flush());
    const Buffer data = repository::serialize(index_);
    result.tag = {options_.image_name, sha256(data), index_.size_bytes, index_.stored_bytes(),
                  options_.created};
    FR_CHECK(store_.put(repository::index_path(result.tag.index), data));
    FR_CHECK(put_prior(result));
    FR_CHECK(store_.flush());
    FR_CHECK(store_.put(repository::image_path(result.tag.name),
                        as_bytes(repository::serialize(result.tag))));
    return store_.flush();
  }

  // A prediction: without one the image is as good as any other.
  Status put_prior(ImportResult& result) {
    const auto prior = foresee_boot(disk_, index_);
    if (!prior) {
      result.prior_missing = prior.error().message;
      return {};
    }
    result.prior_block_count = prior->sequence->entries.size();
    return store_.put(prior_path(result.tag.index), predict::serialize(*prior->sequence));
  }

  DiskReader& disk_;
  repository::Store& store_;
  const ImportOptions& options_;
  repository::ImageIndex index_;
  std::unordered_map<ChunkId, uint32_t> known_;  // stored sizes of the chunks seen in this import
  ImportProgress progress_;
};

Status check_options(const ImportOptions& options) {
  if (!is_valid_name(options.image_name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name an image", options.image_name));
  }
  if (options.batch_chunks == 0)
    return fail(ErrorCode::kInvalid, "an import works on at least one chunk at a time");
  // What could not be read back is refused before hours of work, not after.
  const repository::ImageTag sample{options.image_name, {}, 1, 0, options.created};
  if (auto tag = repository::parse_tag(repository::serialize(sample)); !tag) {
    return fail(ErrorCode::kInvalid, tag.error().message);
  }
  return {};
}

}  // namespace

Result<ImportResult> import_disk(DiskReader& disk, repository::Store& store,
                                 const ImportOptions& options) {
  FR_CHECK(check_options(options));
  const uint64_t size = disk.size_bytes();
  if (size == 0 || size > repository::kImageSizeMax) {
    return fail(ErrorCode::kInvalid, fmt::format("a disk of {} bytes cannot be imported", size));
  }
  return Importer(disk, store, options).run();
}

}  // namespace forerun::image
