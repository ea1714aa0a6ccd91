// For tests: a folder in memory whose files lose what was not flushed at a power cut, or keep any
// part of it, torn at 512 bytes; and a wrapper that skips or fails calls, to plant the bugs that a
// power-cut test must find.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/storage_file.h"

namespace forerun::disk {

inline constexpr uint64_t kCrashSector = 512;

// What one file holds, now and after a power cut. Thread-safe.
class CrashableContent {
 public:
  void read(uint64_t offset, MutableByteView out) {
    const std::lock_guard lock(mutex_);
    std::fill(out.begin(), out.end(), std::byte{0});
    if (offset >= current_.size()) return;
    const size_t length = std::min<uint64_t>(out.size(), current_.size() - offset);
    std::copy_n(current_.begin() + static_cast<ptrdiff_t>(offset), length, out.begin());
  }
  void write(uint64_t offset, ByteView data) {
    const std::lock_guard lock(mutex_);
    if (current_.size() < offset + data.size()) current_.resize(offset + data.size());
    std::ranges::copy(data, current_.begin() + static_cast<ptrdiff_t>(offset));
    note(offset, data.size());
  }
  void punch(ByteRange range) {
    const std::lock_guard lock(mutex_);
    range = intersect(range, {0, current_.size()});
    const auto begin = current_.begin() + static_cast<ptrdiff_t>(range.offset);
    std::fill(begin, begin + static_cast<ptrdiff_t>(range.length), std::byte{0});
    note(range.offset, range.length);
  }
  void resize(uint64_t size) {
    const std::lock_guard lock(mutex_);
    current_.resize(size);
    pending_.push_back({.is_resize = true, .offset = size, .bytes = {}});
  }
  uint64_t size() {
    const std::lock_guard lock(mutex_);
    return current_.size();
  }
  void flush() {
    const std::lock_guard lock(mutex_);
    for (const Change& change : pending_) apply(change, [] { return true; });
    pending_.clear();
  }
  // A flush that fails as Linux does: each sector reaches the disk with probability `kept`, and
  // the others count as flushed all the same; reads go on showing them.
  void fail_flush(Rng& rng, double kept) {
    const std::lock_guard lock(mutex_);
    for (const Change& change : pending_) apply(change, [&] { return rng.chance(kept); });
    pending_.clear();
  }
  // Each sector of each un-flushed change survives with probability `kept`.
  void cut_power(Rng& rng, double kept) {
    const std::lock_guard lock(mutex_);
    for (const Change& change : pending_) apply(change, [&] { return rng.chance(kept); });
    pending_.clear();
    current_ = durable_;
  }
  Buffer& bytes() { return current_; }  // to damage it
  // Makes damage as durable as the rest.
  void settle() {
    durable_ = current_;
    pending_.clear();
  }

 private:
  struct Change {
    bool is_resize = false;
    uint64_t offset = 0;  // of the first sector; the new size of a resize
    Buffer bytes;         // whole sectors as they then were, but for the file's last
  };
  void note(uint64_t offset, uint64_t length) {
    if (length == 0) return;
    const uint64_t begin = round_down(offset, kCrashSector);
    const uint64_t end =
        std::min<uint64_t>(round_up(offset + length, kCrashSector), current_.size());
    pending_.push_back({.offset = begin,
                        .bytes = Buffer(current_.begin() + static_cast<ptrdiff_t>(begin),
                                        current_.begin() + static_cast<ptrdiff_t>(end))});
  }
  template <typename Keep>
  void apply(const Change& change, Keep keep) {
    if (change.is_resize) {
      if (keep()) durable_.resize(change.offset);
      return;
    }
    for (uint64_t at = 0; at < change.bytes.size(); at += kCrashSector) {
      if (!keep()) continue;
      const uint64_t length = std::min<uint64_t>(kCrashSector, change.bytes.size() - at);
      const uint64_t end = change.offset + at + length;
      if (durable_.size() < end) durable_.resize(end);
      std::copy_n(change.bytes.begin() + static_cast<ptrdiff_t>(at), length,
                  durable_.begin() + static_cast<ptrdiff_t>(change.offset + at));
    }
  }

  std::mutex mutex_;
  Buffer current_, durable_;
  std::vector<Change> pending_;
};

class CrashableFile final : public StorageFile {
 public:
  CrashableFile(std::shared_ptr<CrashableContent> content, std::function<void()> on_flush)
      : content_(std::move(content)), on_flush_(std::move(on_flush)) {}
  Status read(uint64_t offset, MutableByteView out) override {
    content_->read(offset, out);
    return {};
  }
  Status write(uint64_t offset, ByteView data) override {
    content_->write(offset, data);
    return {};
  }
  Status flush() override {
    content_->flush();
    on_flush_();
    return {};
  }
  Status punch(ByteRange range) override {
    content_->punch(range);
    return {};
  }
  Status resize(uint64_t size) override {
    content_->resize(size);
    return {};
  }
  Result<uint64_t> size() override { return content_->size(); }

 private:
  std::shared_ptr<CrashableContent> content_;
  std::function<void()> on_flush_;
};

// A name is durable once its file was flushed, or replace() gave it; before that a cut may take it.
// Thread-safe.
class CrashableFolder final : public StorageFolder {
 public:
  explicit CrashableFolder(uint64_t seed) : rng_(seed) {}

  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override {
    const std::lock_guard lock(mutex_);
    if (!files_.contains(name)) {
      if (!create) return fail(ErrorCode::kNotFound, "cannot open " + name + ": no such file");
      files_[name] = std::make_shared<CrashableContent>();
    }
    const auto content = files_[name];
    return std::make_unique<CrashableFile>(content, [this, content] { make_durable(content); });
  }
  bool exists(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    return files_.contains(name);
  }
  Status replace(const std::string& from, const std::string& to) override {
    const std::lock_guard lock(mutex_);
    files_[to] = files_.at(from);
    files_.erase(from);
    durable_[to] = files_[to];
    durable_.erase(from);
    return {};
  }
  Status remove(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    files_.erase(name);
    durable_.erase(name);
    return {};
  }

  // Loses a random part of what was not flushed. REQUIRES: nobody uses a file that was opened
  // before.
  void cut_power() {
    const uint64_t kind = rng_.below(4);
    cut_power(kind == 0 ? 0.0 : kind == 1 ? 1.0 : rng_.unit());
  }
  void cut_power(double kept) {
    const std::lock_guard lock(mutex_);
    std::erase_if(files_, [&](const auto& entry) {
      return !durable_.contains(entry.first) && !rng_.chance(kept);
    });
    for (auto& [name, content] : files_) content->cut_power(rng_, kept);
    durable_ = files_;
  }
  CrashableContent& content(const std::string& name) { return *files_.at(name); }

 private:
  void make_durable(const std::shared_ptr<CrashableContent>& content) {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, each] : files_) {
      if (each == content) durable_[name] = content;
    }
  }

  std::mutex mutex_;
  Rng rng_;
  std::map<std::string, std::shared_ptr<CrashableContent>> files_, durable_;
};

// What a FaultyFolder asks before each call, with the name that the file was opened by. Unset: no
// faults.
struct Faults {
  std::function<bool(const std::string& name)> skips_flush;
  std::function<Status(const std::string& name)>
      on_flush;  // an error is returned instead of flushing
  std::function<Status(const std::string& name)> on_write;
};

class FaultyFile final : public StorageFile {
 public:
  FaultyFile(std::unique_ptr<StorageFile> file, std::string name, const Faults& faults)
      : file_(std::move(file)), name_(std::move(name)), faults_(faults) {}
  Status read(uint64_t offset, MutableByteView out) override { return file_->read(offset, out); }
  Status write(uint64_t offset, ByteView data) override {
    if (faults_.on_write) FR_CHECK(faults_.on_write(name_));
    return file_->write(offset, data);
  }
  Status flush() override {
    if (faults_.on_flush) FR_CHECK(faults_.on_flush(name_));
    if (faults_.skips_flush && faults_.skips_flush(name_)) return {};
    return file_->flush();
  }
  Status punch(ByteRange range) override { return file_->punch(range); }
  Status resize(uint64_t size) override { return file_->resize(size); }
  Result<uint64_t> size() override { return file_->size(); }

 private:
  std::unique_ptr<StorageFile> file_;
  const std::string name_;
  const Faults& faults_;
};

// Passes everything on to `folder`, but for the faults. Both outlive it.
class FaultyFolder final : public StorageFolder {
 public:
  FaultyFolder(StorageFolder& folder, const Faults& faults) : folder_(folder), faults_(faults) {}
  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override {
    FR_TRY(auto file, folder_.open(name, create));
    return std::make_unique<FaultyFile>(std::move(file), name, faults_);
  }
  bool exists(const std::string& name) override { return folder_.exists(name); }
  Status replace(const std::string& from, const std::string& to) override {
    return folder_.replace(from, to);
  }
  Status remove(const std::string& name) override { return folder_.remove(name); }

 private:
  StorageFolder& folder_;
  const Faults& faults_;
};

}  // namespace forerun::disk
