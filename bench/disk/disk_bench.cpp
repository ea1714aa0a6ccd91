// Nanoseconds of the virtual disk's hot paths. The overlay's cost is the difference to the bare
// file. Run: bench_disk --benchmark_format=json --benchmark_repetitions=5
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>

#include "core/rng.h"
#include "disk/virtual_disk.h"
#include "os/file.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kSize = 64 * kMiB;
constexpr uint64_t kBlocks = kSize / kOverlayBlockSize;

// Writes nowhere: what is left is our own cost.
class NullFile final : public StorageFile {
 public:
  Status read(uint64_t, MutableByteView out) override {
    if (out.size() < kOverlayBlockSize) std::ranges::fill(out, std::byte{0});
    return {};
  }
  Status write(uint64_t, ByteView) override { return {}; }
  Status flush() override { return {}; }
  Status punch(ByteRange) override { return {}; }
  Status resize(uint64_t) override { return {}; }
  Result<uint64_t> size() override { return 0; }
};

// Keeps its small files in `folder`, and its data nowhere.
class NullDataFolder final : public StorageFolder {
 public:
  explicit NullDataFolder(StorageFolder& folder) : folder_(folder) {}
  Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) override {
    if (name == "disk.data") return std::make_unique<NullFile>();
    return folder_.open(name, create);
  }
  bool exists(const std::string& name) override { return folder_.exists(name); }
  Status replace(const std::string& from, const std::string& to) override {
    return folder_.replace(from, to);
  }
  Status remove(const std::string& name) override { return folder_.remove(name); }

 private:
  StorageFolder& folder_;
};

struct Scratch {
  Scratch()
      : path(std::filesystem::temp_directory_path() / fmt::format("bench_disk.{}", ::getpid())) {
    folder = std::move(*os::PosixFolder::open(path.string()));
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
  std::unique_ptr<os::PosixFolder> folder;
};

Status no_base(ByteRange, MutableByteView out) {
  std::ranges::fill(out, std::byte{0});
  return {};
}

std::unique_ptr<Overlay> open_overlay(StorageFolder& folder, uint64_t boot_token = 0) {
  return std::move(*Overlay::open(folder, "disk", {.size_bytes = kSize, .boot_token = boot_token}));
}

void fill(Overlay& overlay) {
  const Buffer data(kMiB, std::byte{1});
  for (uint64_t offset = 0; offset < kSize; offset += kMiB) {
    FR_ASSERT(overlay.write(offset, data, no_base).has_value());
  }
}

void overwrite(benchmark::State& state, Overlay& overlay) {
  const Buffer data(kOverlayBlockSize, std::byte{2});
  const Overlay::ReadBase read_base = no_base;
  Rng rng(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        overlay.write(rng.below(kBlocks) * kOverlayBlockSize, data, read_base));
  }
}

void overlay_overwrite_4k_null_file(benchmark::State& state) {
  const Scratch scratch;
  NullDataFolder folder(*scratch.folder);
  const auto overlay = open_overlay(folder);
  fill(*overlay);
  overwrite(state, *overlay);
}
BENCHMARK(overlay_overwrite_4k_null_file);

void bare_file_overwrite_4k(benchmark::State& state) {
  const Scratch scratch;
  const auto file = std::move(*scratch.folder->open("bare", true));
  FR_ASSERT(file->write(0, Buffer(kSize, std::byte{1})).has_value());
  const Buffer data(kOverlayBlockSize, std::byte{2});
  Rng rng(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(file->write(rng.below(kBlocks) * kOverlayBlockSize, data));
  }
}
BENCHMARK(bare_file_overwrite_4k);

void overlay_overwrite_4k(benchmark::State& state) {
  const Scratch scratch;
  const auto overlay = open_overlay(*scratch.folder);
  fill(*overlay);
  overwrite(state, *overlay);
}
BENCHMARK(overlay_overwrite_4k);

// Each block for the first time: with its note in the live map.
void overlay_first_write_4k(benchmark::State& state) {
  const Scratch scratch;
  NullDataFolder folder(*scratch.folder);
  auto overlay = open_overlay(folder, 1);
  const Buffer data(kOverlayBlockSize, std::byte{2});
  const Overlay::ReadBase read_base = no_base;
  uint64_t block = 0;
  uint64_t boot_token = 1;
  for (auto _ : state) {
    if (block == kBlocks) {
      state.PauseTiming();
      overlay.reset();
      FR_ASSERT(folder.remove("disk.map").has_value() && folder.remove("disk.data").has_value());
      overlay = open_overlay(folder, ++boot_token);
      block = 0;
      state.ResumeTiming();
    }
    benchmark::DoNotOptimize(overlay->write(block++ * kOverlayBlockSize, data, read_base));
  }
}
BENCHMARK(overlay_first_write_4k);

struct WarmDisk {
  explicit WarmDisk(StorageFolder* folder) {
    auto component = std::make_shared<image::Component>();
    component->index.size_bytes = kSize;
    tier = std::move(
        *tier::Tier::open({.memory_bytes_max = 4 * kSize, .file_bytes_max = 0}, nullptr, nullptr));
    Rng rng(2);
    for (uint64_t at = 0; at < kSize; at += repository::kChunkSize) {
      auto chunk = std::make_shared<repository::Chunk>();
      chunk->content.resize(repository::kChunkSize, std::byte{1});
      for (auto& byte : chunk->id.bytes) byte = static_cast<uint8_t>(rng.next());
      component->index.chunks.push_back({chunk->id, repository::kChunkSize, 1000});
      tier->insert(chunk, tier::Admission::kDemand);
    }
    disk =
        std::make_unique<VirtualDisk>(image::MappingTable::whole(std::move(component)),
                                      folder == nullptr ? nullptr : open_overlay(*folder), *tier);
  }
  std::unique_ptr<tier::Tier> tier;
  std::unique_ptr<VirtualDisk> disk;
};

void read_warm(benchmark::State& state, VirtualDisk& disk, uint64_t length) {
  ReadSlices out;
  DiskWork work;
  Rng rng(1);
  for (auto _ : state) {
    out.clear();
    const uint64_t offset = rng.below(kSize / length) * length;
    const auto served = disk.try_read({offset, length}, out, work, {.list_missing = false});
    FR_ASSERT(served && *served);
    benchmark::DoNotOptimize(out.slices.data());
  }
}

void read_4k_warm_read_only(benchmark::State& state) {
  const WarmDisk warm(nullptr);
  read_warm(state, *warm.disk, 4096);
}
BENCHMARK(read_4k_warm_read_only);

void read_4k_warm_with_overlay(benchmark::State& state) {
  const Scratch scratch;
  const WarmDisk warm(scratch.folder.get());
  read_warm(state, *warm.disk, 4096);
}
BENCHMARK(read_4k_warm_with_overlay);

void read_1m_warm_with_overlay(benchmark::State& state) {
  const Scratch scratch;
  const WarmDisk warm(scratch.folder.get());
  read_warm(state, *warm.disk, kMiB);
}
BENCHMARK(read_1m_warm_with_overlay);

// From the overlay's file: one pread, no allocation.
void read_4k_overlay(benchmark::State& state) {
  const Scratch scratch;
  const WarmDisk warm(scratch.folder.get());
  const Buffer data(kMiB, std::byte{1});
  for (uint64_t offset = 0; offset < kSize; offset += kMiB) {
    FR_ASSERT(warm.disk->write(offset, data, {}, false).has_value());
  }
  read_warm(state, *warm.disk, 4096);
}
BENCHMARK(read_4k_overlay);

}  // namespace
}  // namespace forerun::disk
