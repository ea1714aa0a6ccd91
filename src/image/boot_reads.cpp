#include "image/boot_reads.h"

#include <fmt/format.h>

#include "image/elf.h"

namespace forerun::image {
namespace {

constexpr uint64_t kProgramBytesMax = 16 * kMiB;
constexpr uint64_t kLargeProgramBytes = 512 * kKiB;
// The loader reads the tables at a library's beginning and relocates the data at its end. Of the
// code between, a boot reads nearly all of programs, of small libraries and of those that a program
// itself names, but half of large ones that only other libraries name (recorded boots of two Debian
// 12 images: 0.9 and 0.5).
constexpr uint64_t kHeadBytes = 192 * kKiB;
constexpr uint64_t kTailBytes = 128 * kKiB;
constexpr float kLargeMiddleShare = 0.92f;
constexpr float kLargeIndirectMiddleShare = 0.5f;
constexpr size_t kFolderFilesMax = 2000;

// Where Debian's loader looks without a cache; others' /lib64 too.
const std::vector<std::string> kLibraryFolders{"/usr/lib/x86_64-linux-gnu",
                                               "/usr/lib/aarch64-linux-gnu",
                                               "/usr/lib64",
                                               "/usr/lib",
                                               "/lib64",
                                               "/lib"};

std::string replace_origin(std::string_view text, std::string_view origin) {
  for (const std::string_view word : {"$ORIGIN", "${ORIGIN}"}) {
    if (const size_t at = text.find(word); at != std::string_view::npos)
      return std::string(text.substr(0, at)) + std::string(origin) +
             std::string(text.substr(at + word.size()));
  }
  return std::string(text);
}

std::string folder_of(std::string_view path) {
  return std::string(path.substr(0, path.rfind('/')));
}

}  // namespace

void BootReads::add_mount(float probability) {
  for (const ByteRange& range : finder_.files().mount_ranges())
    reads_.push_back({range, 0, probability, false});
}

// The record, and with_content the content; again with a higher probability: that one counts.
void BootReads::add_id(FileId file, const Shares& shares, bool with_content) {
  if (added_.size() >= options_.files_max && !added_.contains(file)) return;
  const auto [entry, is_new] = added_.try_emplace(file);
  Added& added = entry->second;
  const auto raise = [&](const std::vector<size_t>& reads, float probability) {
    for (const size_t i : reads)
      reads_[i].probability = std::max(reads_[i].probability, probability);
  };
  raise(added.records, shares.record);
  raise(added.edges, shares.edges);
  raise(added.middle, shares.middle);
  if (is_new) {
    if (const auto record = finder_.files().record_range(file)) {
      added.records.push_back(reads_.size());
      reads_.push_back({*record, file, shares.record, true});
    }
  }
  if (with_content && !added.has_content) add_content(file, shares, added);
}

void BootReads::add_content(FileId file, const Shares& shares, Added& added) {
  added.has_content = true;
  const auto ranges = finder_.files().content_ranges(file);
  if (!ranges) return;
  uint64_t total = 0;
  for (const ByteRange& range : *ranges) total += range.length;
  uint64_t at = 0;  // in the content
  for (const ByteRange& range : *ranges) {
    if (bytes_ + range.length > options_.bytes_max) break;
    bytes_ += range.length;
    const auto append = [&](uint64_t begin, uint64_t end, std::vector<size_t>& to, float share) {
      const ByteRange part = intersect({at, range.length}, {begin, end - begin});
      if (part.empty()) return;
      to.push_back(reads_.size());
      reads_.push_back({{range.offset + part.offset - at, part.length}, file, share, false});
    };
    const uint64_t middle = std::min(total, kHeadBytes);
    const uint64_t tail = std::max(middle, total - std::min(total, kTailBytes));
    append(0, middle, added.edges, shares.edges);
    append(middle, tail, added.middle, shares.middle);
    append(tail, total, added.edges, shares.edges);
    at += range.length;
  }
}

void BootReads::add_found(const PathFinder::Found& found, const Shares& shares,
                          uint64_t bytes_max) {
  const Shares passed{shares.record, shares.record, shares.record};
  for (const FileId on_the_way : found.passed) add_id(on_the_way, passed, true);
  add_id(found.file, shares, found.info.size_bytes <= bytes_max);
}

std::optional<PathFinder::Found> BootReads::add_file(std::string_view path, float probability,
                                                     uint64_t bytes_max) {
  auto found = finder_.find(path);
  if (!found) return std::nullopt;
  add_found(*found, {probability, probability, probability}, bytes_max);
  return std::move(*found);
}

void BootReads::add_parts(std::string_view path, std::span<const ByteRange> parts,
                          float probability) {
  const auto found = add_file(path, probability, 0);
  if (!found) return;
  const auto ranges = finder_.files().content_ranges(found->file);
  if (!ranges) return;
  uint64_t at = 0;  // in the content
  for (const ByteRange& range : *ranges) {
    for (const ByteRange& wanted : parts) {
      const ByteRange part = intersect({at, range.length}, wanted);
      if (part.empty() || bytes_ + part.length > options_.bytes_max) continue;
      bytes_ += part.length;
      reads_.push_back(
          {{range.offset + part.offset - at, part.length}, found->file, probability, false});
    }
    at += range.length;
  }
}

std::optional<std::string> BootReads::text_of(std::string_view path, size_t bytes_max) {
  const auto found = finder_.find(path);
  if (!found || found->info.kind != FileKind::kRegular || found->info.size_bytes > bytes_max)
    return std::nullopt;
  const auto data = finder_.files().read(found->file, 0, bytes_max);
  if (!data) return std::nullopt;
  return std::string(as_text(*data));
}

void BootReads::add_program(std::string_view path, float probability) {
  if (const auto found = finder_.find(path); found && found->info.kind == FileKind::kRegular)
    load(*found, probability);
}

// As ld.so: the program, its interpreter, then the libraries breadth first.
void BootReads::load(const PathFinder::Found& program, float probability) {
  std::deque<Loading> queue{{program, 0}};
  for (; !queue.empty(); queue.pop_front()) {
    const Loading& next = queue.front();
    Shares shares{probability, probability, probability};
    if (next.file.info.size_bytes > kLargeProgramBytes)
      shares.middle *= next.depth < 2 ? kLargeMiddleShare : kLargeIndirectMiddleShare;
    add_found(next.file, shares, kProgramBytesMax);
    Shares& known = loaded_[next.file.file];
    if ((known.edges >= shares.edges && known.middle >= shares.middle) ||
        loaded_.size() > options_.files_max)
      continue;
    known.edges = std::max(known.edges, shares.edges);
    known.middle = std::max(known.middle, shares.middle);
    add_needs(next, probability, queue);
  }
}

void BootReads::add_needs(const Loading& program, float probability, std::deque<Loading>& queue) {
  const ReadAt read = [&](uint64_t offset, size_t bytes) {
    return finder_.files().read(program.file.file, offset, bytes);
  };
  const auto append = [&](std::string_view path) {
    auto found = finder_.find(path);
    if (!found || found->info.kind != FileKind::kRegular) return false;
    queue.push_back({std::move(*found), program.depth + 1});
    return true;
  };
  const auto needs = read_elf_needs(read);
  if (!needs) {
    const auto first = read(0, 256);
    if (!first || !as_text(*first).starts_with("#!")) return;
    std::string_view line = as_text(*first).substr(2);
    line = line.substr(0, line.find('\n'));
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    append(line.substr(0, line.find_first_of(" \t\r")));
    return;
  }
  if (!needs->interpreter.empty() && append(needs->interpreter))
    add_file("/etc/ld.so.cache", probability);
  const std::string origin = folder_of(program.file.path);
  for (const std::string& library : needs->libraries) {
    if (library.find('/') != std::string::npos) {
      append(library);
      continue;
    }
    const auto is_in = [&](const std::string& folder) {
      return append(fmt::format("{}/{}", replace_origin(folder, origin), library));
    };
    if (!std::any_of(needs->search_path.begin(), needs->search_path.end(), is_in))
      std::any_of(kLibraryFolders.begin(), kLibraryFolders.end(), is_in);
  }
}

void BootReads::add_folder(std::string_view path, float probability, int depth) {
  const auto folder = add_file(path, probability, kMiB);
  if (!folder || folder->info.kind != FileKind::kDirectory) return;
  const auto entries = finder_.list(folder->file);
  if (!entries || (*entries)->size() > kFolderFilesMax) return;
  for (const auto& [name, file] : **entries) {
    const std::string inner = fmt::format("{}/{}", path, name);
    const auto found = finder_.find(inner);
    if (!found) continue;
    if (found->info.kind == FileKind::kDirectory) {
      if (depth > 0) add_folder(inner, probability, depth - 1);
    } else {
      add_found(*found, {probability, probability, probability}, options_.plain_bytes_max);
    }
  }
}

void BootReads::add_programs_of(std::string_view path, float probability) {
  const auto folder = add_file(path, probability, kMiB);
  if (!folder || folder->info.kind != FileKind::kDirectory) return;
  const auto entries = finder_.list(folder->file);
  if (!entries || (*entries)->size() > kFolderFilesMax) return;
  for (const auto& [name, file] : **entries)
    add_program(fmt::format("{}/{}", path, name), probability);
}

}  // namespace forerun::image
