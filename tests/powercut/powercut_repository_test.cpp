// A repository in a folder over a real write cache that loses power: what a flush acknowledged is
// there after the next opening for writing, and no tag names what is not; the same run without the
// journals must lose something, or the test proves nothing.
//
// usage: powercut_repository_test VOLATILE_FS_PROGRAM [CUTS]; exits 77, with the reason, where FUSE
// cannot be used.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/log.h"
#include "core/rng.h"
#include "net/directory_store.h"
#include "volatile_mount.h"

namespace forerun {
namespace {

namespace fs = std::filesystem;

constexpr int kSkipped = 77;
constexpr size_t kObjectSizeMax = 20'000;
constexpr size_t kTagSizeMax = 100'000;

// What outlives a writer: lines of what it did, outside of the file system that loses power.
//   "object PATH": acknowledged. "put TAG": begun. "tag TAG DIGEST": acknowledged.
struct Known {
  std::set<std::string> objects;
  std::map<std::string, std::string> tags;  // the digest of the content; empty: it was put over
};

Known read_known(const std::string& log) {
  Known known;
  std::ifstream in(log);
  for (std::string what, path; in >> what >> path;) {
    if (what == "object") known.objects.insert(path);
    if (what == "put") known.tags[path].clear();
    if (what == "tag") in >> known.tags[path];
  }
  return known;
}

// The digest of an object's content ends its path, that of a tag's paths ends the tag.
bool is_whole(net::DirectoryStore& store, const std::string& path) {
  const auto content = store.fetch(path, kObjectSizeMax);
  return content && path.ends_with(sha256(*content).hex());
}

std::string tag_of(const std::vector<std::string>& paths) {
  const std::string text = fmt::format("{}\n", fmt::join(paths, "\n"));
  return text + sha256(as_bytes(text)).hex();
}

// Returns the paths in a tag; nothing if it is torn.
std::optional<std::vector<std::string>> paths_in(std::string_view tag) {
  const size_t end = tag.rfind('\n') + 1;
  if (sha256(as_bytes(tag.substr(0, end))).hex() != tag.substr(end)) return std::nullopt;
  std::vector<std::string> paths;
  std::istringstream lines{std::string(tag.substr(0, end))};
  for (std::string line; std::getline(lines, line);) paths.push_back(line);
  return paths;
}

// One process: opens what the last one left, looks it through, and writes until it is killed.
class Writer {
 public:
  Writer(std::string log, uint64_t seed) : log_(log, std::ios::app), rng_(seed) {
    known_ = read_known(log);
  }

  // Returns what is wrong; nothing if all is well.
  std::string run(const std::string& folder) {
    auto opened = net::DirectoryStore::open(folder, net::DirectoryStore::Mode::kReadWrite);
    if (!opened) return opened.error().message;
    store_ = opened->release();  // a killed process closes nothing
    if (std::string problem = verify(); !problem.empty()) return problem;
    for (uint64_t rounds = rng_.between(1, 4); rounds > 0; --rounds)
      if (std::string problem = write_round(); !problem.empty()) return problem;
    return {};
  }

 private:
  std::string verify() const {
    for (const std::string& path : known_.objects)
      if (!is_whole(*store_, path)) return path + " was acknowledged and is lost";
    for (const auto& [path, digest] : known_.tags) {
      const auto tag = store_->fetch(path, kTagSizeMax);
      if (!digest.empty() && (!tag || sha256(*tag).hex() != digest))
        return path + " was acknowledged and is lost";
      const auto named = tag ? paths_in(as_text(*tag)) : std::nullopt;
      if (!named) continue;
      for (const std::string& object : *named)
        if (!is_whole(*store_, object))
          return fmt::format("{} names {}, which is lost", path, object);
    }
    return {};
  }

  std::string put_object(std::vector<std::string>& paths) {
    Buffer content(rng_.between(1, kObjectSizeMax));
    for (std::byte& each : content) each = static_cast<std::byte>(rng_.next());
    const std::string digest = sha256(content).hex();
    paths.push_back(rng_.chance(0.7) ? "chunks/" + digest.substr(0, 2) + "/" + digest
                                     : "indexes/" + digest);
    const Status put = store_->put(paths.back(), content);
    return put ? "" : put.error().message;
  }

  // As an importer that finds what another left, flushed or not.
  void rely_on_another(std::vector<std::string>& paths) {
    std::vector<std::string> found;
    const Status listed = store_->list("chunks", [&](const repository::ObjectInfo& object) {
      found.push_back(object.path);
      return Status();
    });
    if (!listed || found.empty()) return;
    const std::string& path = found[rng_.below(found.size())];
    if (store_->renew(path) && is_whole(*store_, path)) paths.push_back(path);
  }

  std::string write_round() {
    std::vector<std::string> paths;
    for (uint64_t count = rng_.between(1, 8); count > 0; --count)
      if (std::string problem = put_object(paths); !problem.empty()) return problem;
    for (uint64_t count = rng_.below(4); count > 0; --count) rely_on_another(paths);
    if (rng_.chance(0.1)) return {};
    if (const Status flushed = store_->flush(); !flushed) return flushed.error().message;
    for (const std::string& path : paths) log_ << "object " << path << '\n';
    if (rng_.chance(0.2)) {
      if (const Status settled = store_->settle(); !settled) return settled.error().message;
    }
    const std::string tag = fmt::format("images/{}.json", rng_.below(4));
    const std::string content = tag_of(paths);
    log_ << "put " << tag << '\n';
    if (const Status put = store_->put(tag, as_bytes(content)); !put) return put.error().message;
    if (rng_.chance(0.3)) return {};
    if (const Status flushed = store_->flush(); !flushed) return flushed.error().message;
    log_ << "tag " << tag << ' ' << sha256(as_bytes(content)).hex() << '\n';
    return {};
  }

  std::ofstream log_;
  Rng rng_;
  Known known_;
  net::DirectoryStore* store_ = nullptr;
};

// Returns whether the writer found all well and was killed.
bool run_writer(const std::string& folder, const std::string& log, uint64_t seed) {
  std::fflush(stdout);  // or the child says it again
  const pid_t pid = ::fork();
  if (pid == 0) {
    std::string problem;
    {
      Writer writer(log, seed);
      problem = writer.run(folder);
    }
    if (!problem.empty()) fmt::print("  {}\n", problem);
    std::fflush(stdout);
    ::_exit(problem.empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void remove_journals(const std::string& folder) {
  std::vector<fs::path> journals;
  for (const auto& entry : fs::recursive_directory_iterator(folder + "/tmp"))
    if (entry.path().extension() == ".journal") journals.push_back(entry.path());
  for (const fs::path& journal : journals) fs::remove(journal);
}

// Returns the number of power cuts before a writer found a loss; `cuts_max` + 1 if none did.
int run(const VolatileMount& mount, const std::string& name, uint64_t seed, int cuts_max,
        bool has_journals) {
  const std::string folder = mount.path() + "/" + name;
  const std::string log = fs::path(mount.path()).parent_path() / (name + ".log");
  Rng rng(seed ^ 0xc07);
  for (int cuts = 0; cuts <= cuts_max; ++cuts) {
    if (!run_writer(folder, log, rng.next())) return cuts;
    const std::string how = rng.chance(0.3) ? "drop" : fmt::format("subset {}", rng.next() >> 1);
    if (rng.chance(0.8) && !mount.cut_power(how)) return cuts;  // otherwise it was only killed
    if (!has_journals) remove_journals(folder);
  }
  return cuts_max + 1;
}

int run_all(const std::string& program, int cuts) {
  const VolatileMount mount(program);
  if (!mount.is_mounted()) {
    fmt::print("skipped: {}\n", mount.problem());
    return kSkipped;
  }
  log::set_level(log::Level::kError);
  if (const int lost = run(mount, "repository", 1, cuts, true); lost <= cuts) {
    fmt::print("FAILED: lost after {} power cuts\n", lost);
    return 1;
  }
  fmt::print("{} power cuts: nothing lost\n", cuts);
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const int lost = run(mount, fmt::format("control-{}", seed), seed, 10, false);
    if (lost > 10) {
      fmt::print("FAILED: control {}: nothing lost without journals\n", seed);
      return 1;
    }
    fmt::print("control {}: loss found after {} power cuts\n", seed, lost);
  }
  return 0;
}

}  // namespace
}  // namespace forerun

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: powercut_repository_test VOLATILE_FS_PROGRAM [CUTS]\n");
    return 2;
  }
  return forerun::run_all(argv[1], argc > 2 ? std::atoi(argv[2]) : 60);
}
