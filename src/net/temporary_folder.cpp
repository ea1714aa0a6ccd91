#include "net/temporary_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <random>

#include "net/folder_calls.h"

namespace forerun::net {
namespace {

constexpr mode_t kFolderMode = 0755;
constexpr std::string_view kTemporary = "tmp";

bool is_journal(std::string_view leaf) {
  return leaf == journal_leaf(0) || leaf == journal_leaf(1);
}

Status sync_folder(int folder, const std::string& path) {
  if (fsync(folder) != 0) return fail_errno(fmt::format("make {} durable", path), errno);
  return {};
}

Result<Buffer> read_journal(int folder, const std::string& leaf, const std::string& path) {
  const std::string attempted = fmt::format("read the journal {}", path);
  const os::Fd file(openat(folder, leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.is_open()) return fail_open(attempted, errno);
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return fail_errno(attempted, errno);
  if (!S_ISREG(status.st_mode))
    return fail(ErrorCode::kCorrupt, fmt::format("cannot {}: it is no file", attempted));
  if (static_cast<uint64_t>(status.st_size) > kJournalBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("cannot {}: it has {} bytes, over {}", attempted,
                                                  status.st_size, kJournalBytesMax));
  Buffer data(static_cast<size_t>(status.st_size));
  FR_CHECK(read_fully(file.get(), data, attempted));
  return data;
}

}  // namespace

const std::string& journal_leaf(size_t number) {
  static const std::array<std::string, 2> leaves{"0.journal", "1.journal"};
  return leaves.at(number);
}

TemporaryFolder::~TemporaryFolder() {
  if (!own_.is_open() || is_kept_) return;
  for (const size_t number : {0, 1}) unlinkat(own_.get(), journal_leaf(number).c_str(), 0);
  unlinkat(parent_.get(), leaf_.c_str(), AT_REMOVEDIR);
}

std::string TemporaryFolder::full(std::string_view path) const {
  return fmt::format("{}/{}/{}", name_, kTemporary, path);
}

Result<std::vector<TemporaryFolder::Stale>> TemporaryFolder::lock_stale() const {
  FR_TRY(const std::vector<std::string> leaves,
         names_in(open_folder_to_list(parent_.get(), "."), fmt::format("list {}", full(""))));
  std::vector<Stale> stale;
  for (const std::string& leaf : leaves) {
    os::Fd folder = open_folder_to_list(parent_.get(), leaf.c_str());
    if (folder.is_open() && flock(folder.get(), LOCK_EX | LOCK_NB) == 0)
      stale.push_back({leaf, std::move(folder)});
  }
  return stale;
}

Status TemporaryFolder::read_journals(const Stale& stale, std::vector<Buffer>& files,
                                      std::vector<ParsedJournal>& journals) const {
  FR_TRY(const std::vector<std::string> leaves,
         names_in(open_folder_to_list(stale.folder.get(), "."),
                  fmt::format("list {}", full(stale.leaf))));
  std::vector<ParsedJournal> ours;
  for (const std::string& leaf : leaves) {
    if (!is_journal(leaf)) continue;
    const std::string path = full(stale.leaf + "/" + leaf);
    FR_TRY(files.emplace_back(), read_journal(stale.folder.get(), leaf, path));
    auto parsed = parse_journal(files.back());
    if (!parsed)
      return std::unexpected(std::move(parsed.error())
                                 .within(fmt::format("cannot put back what the journal {} holds; "
                                                     "remove it to do without",
                                                     path)));
    ours.push_back(std::move(*parsed));
  }
  std::ranges::sort(ours, {}, &ParsedJournal::epoch);
  std::ranges::move(ours, std::back_inserter(journals));
  return {};
}

Status TemporaryFolder::recover(const Restore& restore, const std::function<Status()>& sync_all) {
  parent_ = open_folder_to_list(root_, kTemporary.data());
  if (!parent_.is_open() && errno == ENOENT) return {};
  if (!parent_.is_open()) return fail_open(fmt::format("open the folder {}", full("")), errno);
  // One process at a time, so that nobody reads what another is about to put back.
  const os::Fd lock = open_folder_to_list(parent_.get(), ".");
  while (flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(fmt::format("lock {}", full("")), errno);
  }
  FR_TRY(const std::vector<Stale> stale, lock_stale());
  if (stale.empty()) return {};
  std::vector<Buffer> files;
  std::vector<ParsedJournal> journals;
  for (const Stale& each : stale) FR_CHECK(read_journals(each, files, journals));
  for (const ParsedJournal& journal : journals)
    for (const JournalEntry& entry : journal.entries) FR_CHECK(restore(entry));
  FR_CHECK(sync_all());
  for (const Stale& each : stale) {
    if (const auto leaves = names_in(open_folder_to_list(each.folder.get(), "."), ""))
      for (const std::string& leaf : *leaves) unlinkat(each.folder.get(), leaf.c_str(), 0);
    unlinkat(parent_.get(), each.leaf.c_str(), AT_REMOVEDIR);
  }
  return {};
}

Result<int> TemporaryFolder::open() {
  if (own_.is_open()) return own_.get();
  if (mkdirat(root_, kTemporary.data(), kFolderMode) != 0 && errno != EEXIST)
    return fail_errno(fmt::format("make the folder {}", full("")), errno);
  parent_ = open_folder_to_list(root_, kTemporary.data());
  if (!parent_.is_open()) return fail_open(fmt::format("open the folder {}", full("")), errno);
  FR_TRY(own_, make());
  return own_.get();
}

// A folder of our own, held under a lock.
Result<os::Fd> TemporaryFolder::make() {
  std::random_device random;
  for (int attempt = 0; attempt < 8; ++attempt) {
    leaf_ = fmt::format("{:08x}{:08x}", random(), random());
    if (mkdirat(parent_.get(), leaf_.c_str(), kFolderMode) != 0) {
      if (errno == EEXIST) continue;
      return fail_errno(fmt::format("make a folder in {}", full("")), errno);
    }
    os::Fd folder = open_folder_to_list(parent_.get(), leaf_.c_str());
    struct stat status{};
    // Another process may have taken it for stale between the two calls: then it has no links left.
    if (folder.is_open() && flock(folder.get(), LOCK_EX | LOCK_NB) == 0 &&
        fstat(folder.get(), &status) == 0 && status.st_nlink > 0) {
      return folder;
    }
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("cannot make a folder of our own in {}", full("")));
}

Status TemporaryFolder::make_durable() const {
  FR_CHECK(sync_folder(parent_.get(), full("")));
  const os::Fd root = open_folder_to_list(root_, ".");
  return sync_folder(root.get(), name_);
}

}  // namespace forerun::net
