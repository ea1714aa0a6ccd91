// How long composing takes, stage by stage, on a synthetic tree like Debian's: about 25,000 files
// in 3,000 directories of which half are in a base and the rest in five components. With a folder
// as second argument, the merged tree is written there and mke2fs -d makes an image of it, in turns
// with composing.
//   compose_quick [files [empty folder]]
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "core/rng.h"
#include "image/compose_fixture.h"
#include "image/composer.h"
#include "os/process.h"

namespace forerun::image {
namespace {

constexpr int kRounds = 9;

double now_ms() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// Sizes as Debian's: half under 4 KiB, a tail of some MiB; the mean is about 28 KiB.
uint64_t file_size(Rng& rng) {
  const uint64_t magnitude = rng.below(100);
  if (magnitude < 50) return rng.below(4096);
  if (magnitude < 85) return 4096 + rng.below(16'384);
  if (magnitude < 98) return 16'384 + rng.below(100'000);
  return 100'000 + rng.below(2'000'000);
}

// Only the index: composing never reads data, so the chunks are names without content.
ComponentIndex component(const std::string& name, size_t files, uint64_t seed) {
  Rng rng(seed);
  ComponentIndex index;
  index.info.name = name;
  ComponentFixture part;
  std::vector<std::string> folders{""};
  uint64_t data = 0;
  for (size_t i = 0; i < files; ++i) {
    if (i % 8 == 0) {
      std::string folder = folders[rng.below(folders.size())];
      folder += i == 0 ? "/usr" : fmt::format("/{}-folder-{}", name, i);
      part.directory(folder);
      folders.push_back(folder);
    }
    const std::string path =
        folders[rng.below(folders.size())] + fmt::format("/{}-lib-file-{}.so", name, i);
    if (i % 12 == 0) {
      part.symlink(path, "../lib/target-of-this-link.so.1");
      continue;
    }
    TreeInode& file = part.add(path, InodeKind::kRegular);
    file.size = file_size(rng);
    file.content.bytes[0] = static_cast<uint8_t>(i);
    if (file.size == 0) continue;
    if (file.size >= 65536) data = round_up(data, 65536);
    file.extents.push_back({0, data, file.size});
    data += round_up(file.size, 4096);
  }
  index.tree = part.tree();
  index.data.size_bytes = round_up(data, repository::kChunkSize);
  index.data.chunks.resize(repository::chunk_count(index.data.size_bytes));
  return index;
}

struct Set {
  std::vector<ComponentIndex> indexes;
  std::vector<ComposeInput> inputs;
  std::vector<MergeInput> trees;
  std::vector<uint64_t> sizes;
  ComposeOptions options;

  explicit Set(size_t files) {
    indexes.push_back(component("base", files / 2, 1));
    for (uint64_t i = 0; i < 5; ++i) {
      indexes.push_back(component(fmt::format("part{}", i), files / 10, 2 + i));
    }
    for (size_t i = 0; i < indexes.size(); ++i) {
      inputs.push_back({&indexes[i], i == 0, {}, {}});
      trees.push_back({&indexes[i].tree, indexes[i].info.name, i == 0, {}, {}});
      sizes.push_back(indexes[i].data.size_bytes);
    }
    options.file_system.identity = sha256(as_bytes("bench"));
    options.file_system.writable_bytes = 2 * kGiB;
  }
};

// Writes files of the right names and sizes, filled with one byte.
void write_folder(const MergedTree& tree, const std::string& root) {
  const std::string filling(4 * kMiB, 'x');
  for (uint32_t i = 1; i < tree.names.size(); ++i) {
    const TreeInode& inode = *tree.inodes[tree.names[i].inode].source;
    const std::string path = root + tree.path_of(i);
    if (inode.kind == InodeKind::kDirectory) std::filesystem::create_directories(path);
    if (inode.kind == InodeKind::kSymlink) std::filesystem::create_symlink(inode.target, path);
    if (inode.kind != InodeKind::kRegular) continue;
    std::ofstream(path, std::ios::binary)
        .write(filling.data(),
               static_cast<std::streamsize>(std::min<uint64_t>(inode.size, filling.size())));
  }
}

double mke2fs_ms(const std::string& folder, const std::string& image, uint64_t size_bytes) {
  std::filesystem::remove(image);
  const double begin = now_ms();
  const auto run = os::run({"mke2fs", "-q", "-t", "ext4", "-F", "-d", folder, image,
                            fmt::format("{}k", size_bytes / kKiB)},
                           Nanos{300'000'000'000});
  const double end = now_ms();
  if (!run || run->exit_code != 0) fmt::print(stderr, "mke2fs failed\n");
  return end - begin;
}

int measure(size_t files, const std::string& folder) {
  const Set set(files);
  std::vector<double> merge_ms, write_ms, compose_ms, packed_ms, mke2fs;
  const auto tree = merge_trees(set.trees, {});
  if (!folder.empty()) write_folder(*tree, folder + "/tree");
  uint64_t size_bytes = 0;
  ComposeStatistics statistics;
  for (int round = 0; round < kRounds; ++round) {
    const double begin = now_ms();
    const auto merged = merge_trees(set.trees, {});
    const double after_merge = now_ms();
    const auto image = write_ext4(*merged, set.sizes, set.options.file_system);
    const double after_write = now_ms();
    const auto composed = compose(set.inputs, set.options);
    const double end = now_ms();
    if (!image || !composed) {
      fmt::print(stderr, "{}\n", composed ? image.error().message : composed.error().message);
      return 1;
    }
    merge_ms.push_back(after_merge - begin);
    write_ms.push_back(after_write - after_merge);
    compose_ms.push_back(end - after_write);
    packed_ms.push_back(compose_ms.back() - (after_write - begin));
    size_bytes = composed->size_bytes;
    statistics = composed->statistics;
    if (folder.empty() || round >= 3) continue;
    mke2fs.push_back(mke2fs_ms(folder + "/tree", folder + "/image", size_bytes));
  }
  fmt::print(
      "{{\"inodes\": {}, \"directories\": {}, \"disk_bytes\": {}, \"merge_ms\": {:.1f}, "
      "\"write_ms\": {:.1f}, \"pack_ms\": {:.1f}, \"compose_ms\": {:.1f}, \"metadata_bytes\": {}, "
      "\"stored_bytes\": {}",
      statistics.inodes, statistics.directories, size_bytes, median(merge_ms), median(write_ms),
      median(packed_ms), median(compose_ms), statistics.metadata_bytes, statistics.stored_bytes);
  if (!mke2fs.empty()) {
    fmt::print(", \"mke2fs_ms\": {:.0f}, \"ratio\": {:.4f}", median(mke2fs),
               median(compose_ms) / median(mke2fs));
  }
  fmt::print("}}\n");
  return 0;
}

}  // namespace
}  // namespace forerun::image

int main(int argc, char** argv) {
  const size_t files = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 25'000;
  return forerun::image::measure(files, argc > 2 ? argv[2] : "");
}
