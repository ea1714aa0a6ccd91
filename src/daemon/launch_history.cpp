#include "daemon/launch_history.h"

#include "core/log.h"

namespace forerun::daemon {
namespace {

using trace::LaunchBatch;
using trace::LaunchBin;

constexpr size_t kRefusalsLogged = 5;
constexpr size_t kFileBytesMax = 64 << 20;
constexpr uint64_t kQuietEvery = 1800;
constexpr uint64_t kClockBelieved = 1'577'836'800;  // 2020

trace::LaunchTraceReader::Limits limits_at(uint64_t now, uint64_t future_seconds) {
  trace::LaunchTraceReader::Limits limits;
  // A host that has no idea of the time yet must not take its whole past for the future.
  if (now > kClockBelieved) limits.second_max = now + future_seconds;
  limits.text_bytes_max = kFileBytesMax;
  return limits;
}

// Returns the names that still stand in `bins`, and renumbers `bins` by them.
trace::LaunchNames renumbered(std::vector<LaunchBin>& bins, const trace::LaunchNames& old) {
  trace::LaunchNames names;
  const auto rename = [&](std::vector<LaunchBatch::Part>& parts) {
    for (auto& part : parts) part.manifest = names.number_of(old.name_of(part.manifest));
    std::sort(parts.begin(), parts.end(),
              [](const auto& a, const auto& b) { return a.manifest < b.manifest; });
  };
  for (LaunchBin& bin : bins)
    for (LaunchBatch& batch : bin.batches) {
      rename(batch.parts);
      rename(batch.stops);
    }
  return names;
}

// Adds quiet lines where `bins` have gaps, unless some line is quiet already: then the gaps are
// times at which nobody watched. At most `lines_max`: a file with more has other time than ours.
void fill_gaps(std::vector<LaunchBin>& bins, size_t lines_max) {
  const auto is_quiet = [](const LaunchBin& bin) { return bin.batches.empty(); };
  if (bins.empty() || std::any_of(bins.begin(), bins.end(), is_quiet)) return;
  if ((bins.back().second - bins.front().second) / kQuietEvery > lines_max) return;
  std::vector<LaunchBin> filled;
  for (LaunchBin& bin : bins) {
    for (; !filled.empty() && filled.back().second + kQuietEvery < bin.second;)
      filled.push_back({filled.back().second + kQuietEvery, {}});
    filled.push_back(std::move(bin));
  }
  bins = std::move(filled);
}

}  // namespace

Result<std::unique_ptr<LaunchHistory>> LaunchHistory::open(std::string path, uint64_t now,
                                                           Options options) {
  auto history = std::unique_ptr<LaunchHistory>(new LaunchHistory(std::move(path), options));
  FR_TRY(history->file_, os::PosixFile::open(history->path_, os::PosixFile::Mode::kCreate));
  FR_CHECK(history->cut_torn_line());
  FR_CHECK(history->read_own(now));
  return history;
}

Status LaunchHistory::cut_torn_line() {
  FR_TRY(const uint64_t size, file_->size());
  size_ = size;
  Buffer piece;
  while (size_ > 0) {
    piece.resize(static_cast<size_t>(std::min<uint64_t>(size_, 4096)));
    FR_CHECK(file_->read(size_ - piece.size(), piece));
    const size_t end = as_text(piece).rfind('\n');
    if (end != std::string_view::npos) {
      size_ -= piece.size() - end - 1;
      break;
    }
    size_ -= piece.size();
  }
  if (size_ == size) return {};
  log::info("launches: the last line of {} was cut off: {} bytes left out", path_, size - size_);
  FR_CHECK(file_->resize(size_));
  return file_->flush();
}

Status LaunchHistory::read_own(uint64_t now) {
  trace::LaunchTraceReader reader(*file_, path_, *names_, limits_at(now, options_.future_seconds));
  for (;;) {
    LaunchBin bin;
    auto more = reader.next(bin);
    if (more && !*more) break;
    if (more) {
      ++opened_.lines;
      bins_.push_back(std::move(bin));
      continue;
    }
    if (opened_.refused++ == 0) opened_.first_refusal = more.error().message;
    if (opened_.refused <= kRefusalsLogged) log::warn("left out: {}", more.error().message);
    if (!reader.can_go_on()) break;
  }
  const bool was_shrunk = shrink();
  if (opened_.refused > 0) {
    log::warn("launches: {} lines of {} were left out, {} read; the file as it was is {}.damaged",
              opened_.refused, path_, opened_.lines, path_);
    const auto whole = os::read_file(path_, kFileBytesMax);
    const Status kept = whole ? os::write_file_atomic(path_ + ".damaged", *whole)
                              : Status(std::unexpected(whole.error()));
    if (!kept) log::warn("launches: the damaged file cannot be kept: {}", kept.error().message);
  }
  return opened_.refused > 0 || was_shrunk ? rewrite() : Status();
}

Status LaunchHistory::rewrite() {
  std::string text;
  for (const LaunchBin& bin : bins_) text += launch_line(bin, *names_);
  FR_CHECK(os::write_file_atomic(path_, as_bytes(text)));
  FR_TRY(file_, os::PosixFile::open(path_, os::PosixFile::Mode::kReadWrite));
  size_ = text.size();
  return {};
}

bool LaunchHistory::shrink() {
  if (bins_.size() <= options_.lines_max && names_->size() <= options_.names_max) return false;
  do {
    bins_.erase(bins_.begin(), bins_.begin() + static_cast<std::ptrdiff_t>((bins_.size() + 1) / 2));
    *names_ = renumbered(bins_, *names_);
  } while (names_->size() > options_.names_max);
  ++epoch_;
  return true;
}

Status LaunchHistory::append(uint64_t now, std::vector<LaunchBatch> batches) {
  LaunchBin bin{now, std::move(batches)};
  if (!bins_.empty()) bin.second = std::max(now, bins_.back().second);
  const std::string line = launch_line(bin, *names_);
  bins_.push_back(std::move(bin));
  if (shrink()) return rewrite();
  Status written = file_->write(size_, as_bytes(line));
  if (written) written = file_->flush();
  if (written) {
    size_ += line.size();
  } else {
    [[maybe_unused]] const Status cut = file_->resize(size_);  // no half line is left, if possible
  }
  return written;
}

bool LaunchHistory::knows(const LaunchBin& bin) const {
  const auto [low, high] =
      std::equal_range(bins_.begin(), bins_.end(), bin,
                       [](const LaunchBin& a, const LaunchBin& b) { return a.second < b.second; });
  return std::find(low, high, bin) != high;
}

Result<LaunchHistory::Reading> LaunchHistory::import(const std::string& path, uint64_t now) {
  FR_TRY(const auto file, os::PosixFile::open(path, os::PosixFile::Mode::kReadOnly));
  auto names = std::make_unique<trace::LaunchNames>(*names_);
  trace::LaunchTraceReader reader(*file, path, *names, limits_at(now, 0));
  std::vector<LaunchBin> read;
  bool holds_any = false;
  for (LaunchBin bin;;) {
    FR_TRY(const bool more, reader.next(bin));
    if (!more) break;
    holds_any = holds_any || !bin.batches.empty();
    read.push_back(bin);
  }
  if (!holds_any)
    return fail(ErrorCode::kInvalid, fmt::format("cannot import {}: it holds no launch", path));
  names_ = std::move(names);
  fill_gaps(read, options_.lines_max / 2);
  Reading reading;
  std::vector<LaunchBin> added;
  for (LaunchBin& bin : read) {
    const bool is_known = knows(bin);
    if (!bin.batches.empty()) ++(is_known ? reading.known : reading.lines);
    if (!is_known) added.push_back(std::move(bin));
  }
  if (added.empty()) return reading;
  std::vector<LaunchBin> merged;
  std::merge(std::make_move_iterator(bins_.begin()), std::make_move_iterator(bins_.end()),
             std::make_move_iterator(added.begin()), std::make_move_iterator(added.end()),
             std::back_inserter(merged),
             [](const LaunchBin& a, const LaunchBin& b) { return a.second < b.second; });
  bins_ = std::move(merged);
  ++epoch_;
  shrink();
  FR_CHECK(rewrite());
  return reading;
}

}  // namespace forerun::daemon
