#include "agent/page_watch.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "agent/counters.h"

namespace forerun::agent {
namespace {

using telemetry::PageNumber;
constexpr uint64_t kSoftDirtyBit = 1ull << 55;

bool write_text(const std::string& path, std::string_view text) {
  const os::Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.is_open() &&
         ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// Returns a descriptor of the page faults of a thread, or a closed one.
os::Fd open_faults(int thread) {
  perf_event_attr attributes{};
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.size = sizeof attributes;
  attributes.config = PERF_COUNT_SW_PAGE_FAULTS;
  attributes.sample_period = 1;
  attributes.sample_type = PERF_SAMPLE_ADDR;
  attributes.exclude_kernel = 1;
  const long fd = ::syscall(SYS_perf_event_open, &attributes, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
  return os::Fd(static_cast<int>(fd));
}

// Returns whether a page that was just written has its soft-dirty bit: kernels without them say 0.
bool has_soft_dirty() {
  void* page =
      ::mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  *static_cast<volatile char*>(page) = 1;
  uint64_t entry = 0;
  const os::Fd fd(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  const auto offset =
      static_cast<off_t>(reinterpret_cast<uintptr_t>(page) / kPageBytes * sizeof entry);
  const bool is_read = fd.is_open() && ::pread(fd.get(), &entry, sizeof entry, offset) ==
                                           static_cast<ssize_t>(sizeof entry);
  ::munmap(page, kPageBytes);
  return is_read && (entry & kSoftDirtyBit) != 0;
}

struct Area {
  uint64_t begin = 0, end = 0;
};

// Returns the writable private areas, the largest first.
std::vector<Area> writable_areas(int pid) {
  std::vector<Area> areas;
  const auto text = read_text(fmt::format("/proc/{}/maps", pid), 1 << 20);
  std::string_view left = text ? std::string_view(*text) : std::string_view();
  while (!left.empty()) {
    const std::string line(left.substr(0, left.find('\n')));
    Area area;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s", &area.begin, &area.end, rights) ==
            3 &&
        rights[1] == 'w' && rights[3] == 'p' && area.end > area.begin)
      areas.push_back(area);
    left.remove_prefix(std::min(left.size(), line.size() + 1));
  }
  std::ranges::sort(areas,
                    [](const Area& a, const Area& b) { return a.end - a.begin > b.end - b.begin; });
  return areas;
}

std::vector<PageNumber> dirty_pages(int pid) {
  std::vector<PageNumber> pages;
  const os::Fd fd(::open(fmt::format("/proc/{}/pagemap", pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return pages;
  std::vector<uint64_t> entries;
  size_t left = PageWatch::kPagemapEntriesMax;
  for (const Area& area : writable_areas(pid)) {
    uint64_t page = area.begin / kPageBytes;
    while (page < area.end / kPageBytes && left > 0) {
      entries.resize(std::min<uint64_t>({area.end / kPageBytes - page, left, 4096}));
      const ssize_t got = ::pread(fd.get(), entries.data(), entries.size() * sizeof(uint64_t),
                                  static_cast<off_t>(page * sizeof(uint64_t)));
      if (got <= 0) break;
      const size_t count = static_cast<size_t>(got) / sizeof(uint64_t);
      for (size_t i = 0; i < count; ++i) {
        if ((entries[i] & kSoftDirtyBit) != 0) pages.push_back(page + i);
      }
      page += count;
      left -= count;
      if (count == 0) break;
    }
  }
  std::ranges::sort(pages);
  return pages;
}

}  // namespace

// The kernel writes samples into it until it is full; more are lost, which is the bound.
struct PageWatch::Ring {
  os::Fd fd;
  void* memory = MAP_FAILED;
  static constexpr size_t kBytes = (1 + kRingPages) * kPageBytes;

  ~Ring() {
    if (memory != MAP_FAILED) ::munmap(memory, kBytes);
  }
  void drain(std::vector<PageNumber>& into) const {
    auto* head_page = static_cast<perf_event_mmap_page*>(memory);
    const auto* data = static_cast<const std::byte*>(memory) + kPageBytes;
    constexpr uint64_t kDataBytes = kRingPages * kPageBytes;
    const uint64_t head = __atomic_load_n(&head_page->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = head_page->data_tail;
    const auto copy = [&](uint64_t from, void* to, size_t size) {
      for (size_t i = 0; i < size; ++i)
        static_cast<std::byte*>(to)[i] = data[(from + i) % kDataBytes];
    };
    while (tail + sizeof(perf_event_header) <= head) {
      perf_event_header header{};
      copy(tail, &header, sizeof header);
      if (header.size < sizeof header || tail + header.size > head) break;
      uint64_t address = 0;
      if (header.type == PERF_RECORD_SAMPLE && header.size >= sizeof header + sizeof address) {
        copy(tail + sizeof header, &address, sizeof address);
        into.push_back(address / kPageBytes);
      }
      tail += header.size;
    }
    __atomic_store_n(&head_page->data_tail, tail, __ATOMIC_RELEASE);
  }
};

std::optional<uint64_t> smaps_bytes(std::string_view text, std::string_view field) {
  const size_t at = text.find(fmt::format("\n{}:", field));
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view value = text.substr(at + field.size() + 2);
  value.remove_prefix(std::min(value.size(), value.find_first_not_of(' ')));
  uint64_t kib = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), kib);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return kib * 1024;
}

PageSources probe_page_sources() {
  PageSources sources;
  sources.referenced =
      os::path_exists("/proc/self/clear_refs") && os::path_exists("/proc/self/smaps_rollup");
  sources.soft_dirty = has_soft_dirty();
  const os::Fd faults = open_faults(0);
  sources.faults = faults.is_open();
  if (!sources.faults) sources.why_not = fmt::format("no page faults: {}", std::strerror(errno));
  if (!sources.soft_dirty) sources.why_not = "this kernel has no soft-dirty bits";
  if (!sources.referenced) sources.why_not = "this kernel has no clear_refs or smaps_rollup";
  return sources;
}

PageWatch::PageWatch(PageSources sources) : sources_(std::move(sources)) {}
PageWatch::~PageWatch() = default;

void PageWatch::open_rings(int pid) {
  const auto threads = os::list_folder(fmt::format("/proc/{}/task", pid));
  if (!threads) return;
  for (const std::string& thread : *threads) {
    if (rings_.size() == kThreadsMax) return;
    auto ring = std::make_unique<Ring>();
    int id = 0;
    std::from_chars(thread.data(), thread.data() + thread.size(), id);
    ring->fd = open_faults(id);
    if (!ring->fd.is_open()) continue;
    ring->memory =
        ::mmap(nullptr, Ring::kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd.get(), 0);
    if (ring->memory != MAP_FAILED) rings_.push_back(std::move(ring));
  }
}

Time PageWatch::last_watched(const Target& target) const {
  for (const auto& past : pasts_) {
    if (past->pid == target.pid && past->start_ticks == target.start_ticks) return past->begun;
  }
  return Time{};
}

// Returns what is known of the process; the one not watched for longest gives way to a new one.
PageWatch::Past& PageWatch::past_of(const Target& target) {
  size_t oldest = 0;
  for (size_t i = 0; i < pasts_.size(); ++i) {
    if (pasts_[i]->pid == target.pid && pasts_[i]->start_ticks == target.start_ticks)
      return *pasts_[i];
    if (pasts_[i]->begun < pasts_[oldest]->begun) oldest = i;
  }
  auto fresh = std::make_unique<Past>();
  fresh->pid = target.pid;
  fresh->start_ticks = target.start_ticks;
  if (pasts_.size() < kPastsMax) {
    pasts_.push_back(std::move(fresh));
    return *pasts_.back();
  }
  pasts_[oldest] = std::move(fresh);
  return *pasts_[oldest];
}

void PageWatch::begin(const Target& target, Time now) {
  const std::string clear = fmt::format("/proc/{}/clear_refs", target.pid);
  if (!sources_.referenced || !write_text(clear, "1")) return;
  if (sources_.soft_dirty) {
    if (sources_.faults) open_rings(target.pid);
    [[maybe_unused]] const bool cleared = write_text(clear, "4");
  }
  past_ = &past_of(target);
  past_->begun = now;
  target_ = target;
  begun_ = now;
}

void PageWatch::add_working_set(double window_s, uint64_t dirty, telemetry::Profile& profile) {
  const auto text = read_text(fmt::format("/proc/{}/smaps_rollup", target_->pid), 8192);
  const auto referenced = text ? smaps_bytes(*text, "Referenced") : std::nullopt;
  if (!referenced) return;
  telemetry::WorkingSetProfile set;
  set.pid = static_cast<uint64_t>(target_->pid);
  set.name = target_->name;
  set.window_s = window_s;
  set.referenced_bytes = *referenced;
  set.dirty_bytes = dirty * kPageBytes;
  if (past_->referenced_bytes) {
    const auto now = static_cast<double>(*referenced);
    const auto past = static_cast<double>(*past_->referenced_bytes);
    if (now + past > 0) set.change_ratio = (now - past) / std::max(now, past);
  }
  past_->referenced_bytes = *referenced;
  profile.working_set = set;
}

void PageWatch::add_pattern(const std::vector<PageNumber>& faults,
                            const std::vector<PageNumber>& dirty, telemetry::Profile& profile) {
  telemetry::PatternProfile pattern;
  pattern.pid = static_cast<uint64_t>(target_->pid);
  if (sources_.faults) {
    pattern.source = "faults";
    const auto reading = past_->observer.observe(faults);
    pattern.samples = faults.size();
    pattern.features = reading.features;
    pattern.shares = reading.shares;
  } else {
    pattern.source = "dirty";
    pattern.samples = dirty.size();
    const double jaccard = past_->observer.observe(dirty).features.jaccard_ratio;
    pattern.features = telemetry::set_features(dirty);
    pattern.features.jaccard_ratio = jaccard;
  }
  profile.pattern = pattern;
}

Nanos PageWatch::end(Time now, telemetry::Profile& profile) {
  if (!target_) return Nanos{};
  std::vector<PageNumber> faults;
  for (const auto& ring : rings_) ring->drain(faults);
  rings_.clear();
  Nanos cost{};
  const auto text = read_text(fmt::format("/proc/{}/stat", target_->pid), 1024);
  const auto process = text ? parse_process(*text) : std::nullopt;
  if (process && process->start_ticks == target_->start_ticks) {
    std::vector<PageNumber> dirty;
    if (sources_.soft_dirty) {
      dirty = dirty_pages(target_->pid);
      add_pattern(faults, dirty, profile);
      const uint64_t more =
          process->minor_faults - std::min(process->minor_faults, target_->minor_faults);
      cost = kFaultCost * static_cast<int64_t>(more);
    }
    add_working_set(to_seconds(now - begun_), dirty.size(), profile);
  }
  target_.reset();
  return cost;
}

}  // namespace forerun::agent
