// Launches of this host, foreseen: the loop of launch_loop.h on a thread of its own, with what the
// daemon knows of images and the fetch service to act. Callers never wait for it, an import aside.
#pragma once

#include <atomic>
#include <condition_variable>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "api/service.h"
#include "core/time.h"
#include "daemon/config.h"
#include "daemon/fetch_service.h"
#include "daemon/histories.h"
#include "daemon/image_catalog.h"
#include "daemon/launch_loop.h"
#include "tier/tier.h"
#include "trace/access.h"

namespace forerun::daemon {

// Thread-safe.
class Launches {
 public:
  struct Parts {
    const Config& config;
    const Clock& clock;
    ImageCatalog& catalog;
    Histories& histories;
    tier::Tier& tier;
    std::function<int64_t()> unix_seconds;
  };
  explicit Launches(Parts parts);
  ~Launches();

  // Opens the history in the state folder, and begins to act. A history that cannot be read is said
  // so and left alone: launches are not foreseen then. REQUIRES: called once; `fetches` outlives
  // this object's thread (see stop()).
  void start(FetchService& fetches);
  void stop();

  // A VM of this image was started here for `tenant` (empty: nobody said), or stopped. What counts
  // as one image: see launch_name.
  void on_launch(const std::string& image, const std::string& tenant,
                 const ImageCatalog::Layout& layout);
  void on_stop(const std::string& image, const ImageCatalog::Layout& layout);
  // From the fetch service, the tier and foresight; cheap.
  void on_fetch_end(const prefetch::FetchEnd& end);
  void on_evicted_unused(const ChunkId& id);
  void on_access(const trace::Access& access);

  api::LaunchReport report() const;
  Result<api::LaunchImportInfo> import(const std::string& path);

 private:
  struct Started {
    std::string image, tenant;
    std::vector<std::string> components;
    Digest digest;
    bool is_stop = false;
    uint64_t second = 0;
  };
  struct Ended {
    ChunkId chunk;
    enum class Kind : uint8_t { kArrived, kFailed, kEvicted } kind;
  };
  struct Import {
    std::string path;
    std::promise<Result<LaunchHistory::Reading>> done;
  };
  // What an image was, and whose VM it was for: what that tenant's VMs taught tells what is
  // fetched.
  struct Last {
    Digest digest;
    std::string tenant;
    bool operator==(const Last&) const = default;
  };
  using Note = std::variant<Started, Ended, trace::Access, Import>;

  uint64_t second_now() const { return static_cast<uint64_t>(parts_.unix_seconds()); }
  void put(Note note, bool is_urgent);
  void run();
  void take(Note& note);
  void act();
  void publish();
  void open();
  Result<LaunchLoop::Chunks> look(const std::string& image);
  Result<ImageCatalog::LayoutPtr> layout_of(const std::string& image);
  std::string tenant_of(const std::string& image) const;  // for whom it was launched last
  void remember(const std::string& image, const Last& last);
  void load_last();
  prefetch::LinkCost link() const;
  std::string file(std::string_view name) const {
    return fmt::format("{}/{}", parts_.config.state_dir, name);
  }

  const Parts parts_;
  FetchService* fetches_ = nullptr;
  std::unique_ptr<LaunchLoop> loop_;  // its thread's; null: launches are not foreseen
  std::map<std::string, Last> last_;  // its thread's: by image, of its last launch

  std::atomic<bool> cares_{false};  // chunks it fetched are undecided
  mutable std::mutex mutex_;        // guards all below but thread_
  std::condition_variable wake_up_;
  std::vector<Note> inbox_;
  bool is_urgent_ = false;
  bool is_stopping_ = false;
  std::shared_ptr<const api::LaunchReport> report_;
  std::jthread thread_;
};

// Returns what a launch counts as: the image's name; for a disk composed for one VM the names of
// its components, so that VMs alike are one, whatever they are called. At most 64 bytes.
std::string launch_name(const std::string& image, const ImageCatalog::Layout& layout);

}  // namespace forerun::daemon
