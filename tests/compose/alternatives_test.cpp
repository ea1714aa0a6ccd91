// Alternatives merged while composing are what update-alternatives itself makes of the same
// choices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "image/merge_by_kind.h"
#include "image/stored_components.h"
#include "os/process.h"

namespace forerun::image {
namespace {

namespace fs = std::filesystem;

struct Pager {
  std::string name;
  int priority = 0;
  bool has_manual = false;
};

const Pager kMore{"more", 50, true}, kLess{"less", 77, true}, kMost{"most", 60, false},
    kPg{"pg", 80, false};

// A root folder with its own alternatives.
class Root {
 public:
  Root() {
    path_ = (fs::temp_directory_path() / "forerun-alternatives-XXXXXX").string();
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
    for (const char* folder : {"/usr/bin", "/usr/share/man/man1", "/var/lib/dpkg/alternatives",
                               "/etc/alternatives", "/var/log"})
      fs::create_directories(path_ + folder);
  }
  ~Root() { fs::remove_all(path_); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  void install(const Pager& pager) {
    const std::string file = "/usr/bin/" + pager.name;
    const std::string manual = "/usr/share/man/man1/" + pager.name + ".1.gz";
    std::ofstream(path_ + file) << pager.name;
    std::vector<std::string> arguments{"--install", "/usr/bin/pager", "pager", file,
                                       std::to_string(pager.priority)};
    if (pager.has_manual) {
      std::ofstream(path_ + manual) << pager.name;
      arguments.insert(arguments.end(),
                       {"--slave", "/usr/share/man/man1/pager.1.gz", "pager.1.gz", manual});
    }
    run(std::move(arguments));
  }
  void set(const Pager& pager) { run({"--set", "pager", "/usr/bin/" + pager.name}); }

  // Returns all files and links.
  std::vector<StoredEntry> entries() const {
    std::vector<StoredEntry> entries;
    for (const auto& entry : fs::recursive_directory_iterator(path_)) {
      const std::string path = entry.path().string().substr(path_.size());
      if (path.starts_with("/var/log/")) continue;
      if (entry.is_symlink()) {
        entries.push_back({path, fs::read_symlink(entry.path()), 0, 0, 0777, InodeKind::kSymlink});
      } else if (entry.is_regular_file()) {
        std::ifstream in(entry.path());
        entries.push_back({path, std::string(std::istreambuf_iterator<char>(in), {})});
      }
    }
    return entries;
  }

 private:
  void run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"update-alternatives", "--quiet", "--root", path_});
    const auto result = os::run(arguments, Nanos{60'000'000'000});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    ASSERT_EQ(result->exit_code, 0) << result->errors;
  }

  std::string path_;
};

// Returns what stands on the disk: of the last component that has it, or generated.
std::map<std::string, std::string> composed(const std::vector<std::vector<StoredEntry>>& parts) {
  repository::MemoryStore store;
  std::vector<ComponentIndex> indexes;
  std::map<std::string, std::string> disk;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string name = fmt::format("part{}", i);
    put_component(store, {.name = name}, parts[i]);
    indexes.push_back(
        fetch_component_index(store, fetch_component_tag(store, name).value().index).value());
    for (const StoredEntry& entry : parts[i]) disk[entry.path] = entry.content;
  }
  FetchedChunks chunks(store);
  std::vector<ComponentFiles> files;
  for (const ComponentIndex& index : indexes) files.emplace_back(index, chunks);
  const auto merged = merge_by_kind(files);
  if (!merged) return {{"error", merged.error().message}};
  for (const GeneratedFile& file : merged->generated) {
    if (file.inode.kind == InodeKind::kWhiteout)
      disk.erase(file.path);
    else
      disk[file.path] = file.inode.kind == InodeKind::kSymlink ? file.inode.target
                                                               : std::string(as_text(file.content));
  }
  return disk;
}

std::map<std::string, std::string> real(const Root& root) {
  std::map<std::string, std::string> disk;
  for (const StoredEntry& entry : root.entries()) disk[entry.path] = entry.content;
  return disk;
}

class Alternatives : public testing::TestWithParam<std::pair<Pager, Pager>> {};

TEST_P(Alternatives, AreWhatUpdateAlternativesMakes) {
  Root base, one, two, all;
  for (Root* root : {&base, &one, &two, &all}) root->install(kMore);
  one.install(GetParam().first);
  two.install(GetParam().second);
  all.install(GetParam().first);
  all.install(GetParam().second);
  EXPECT_EQ(composed({base.entries(), one.entries(), two.entries()}), real(all));
  EXPECT_EQ(composed({base.entries(), two.entries(), one.entries()}), real(all));
}

TEST_P(Alternatives, WhatOneChoseByHandIsKept) {
  Root base, one, two, all;
  for (Root* root : {&base, &one, &two, &all}) root->install(kMore);
  one.install(GetParam().first);
  one.set(kMore);
  two.install(GetParam().second);
  all.install(GetParam().first);
  all.install(GetParam().second);
  all.set(kMore);
  EXPECT_EQ(composed({base.entries(), one.entries(), two.entries()}), real(all));
  EXPECT_EQ(composed({base.entries(), two.entries(), one.entries()}), real(all));
  two.set(GetParam().second);
  EXPECT_THAT(composed({base.entries(), one.entries(), two.entries()})["error"],
              testing::HasSubstr("part1 chooses /usr/bin/more by hand and part2"));
}

INSTANTIATE_TEST_SUITE_P(Pagers, Alternatives,
                         testing::Values(std::pair(kLess, kMost), std::pair(kMost, kPg),
                                         std::pair(kPg, kLess)));

}  // namespace
}  // namespace forerun::image
