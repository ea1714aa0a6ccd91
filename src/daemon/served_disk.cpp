#include "daemon/served_disk.h"

#include "core/log.h"
#include "daemon/disk_gate.h"

namespace forerun::daemon {

namespace {

// A read or write looks for its chunks this often; more would mean that they vanish while pinned.
constexpr int kAttemptsMax = 4;

disk::DiskWork& thread_work() {
  thread_local disk::DiskWork work;
  work.missing.clear();
  work.touches.clear();
  return work;
}

// Returns what a read touched, missing or not, as runs: a model scores requests, not their parts,
// and the slowest part is what the guest felt.
std::vector<disk::Touch> as_one_read(const disk::DiskWork& work) {
  std::vector<disk::Touch> parts = work.touches;
  for (const disk::Missing& chunk : work.missing)
    parts.push_back({chunk.component, chunk.chunk_index, 1, trace::ServedFrom::kRepository});
  std::sort(parts.begin(), parts.end(), [](const disk::Touch& a, const disk::Touch& b) {
    return std::tie(a.component, a.first_chunk) < std::tie(b.component, b.first_chunk);
  });
  std::vector<disk::Touch> runs;
  for (const disk::Touch& part : parts) {
    if (!runs.empty() && runs.back().component == part.component &&
        runs.back().first_chunk + runs.back().chunk_count == part.first_chunk) {
      runs.back().chunk_count += part.chunk_count;
      runs.back().served_from = std::max(runs.back().served_from, part.served_from);
    } else {
      runs.push_back(part);
    }
  }
  return runs;
}

}  // namespace

Result<std::shared_ptr<ServedDisk>> ServedDisk::open(What what, const Clock& clock,
                                                     tier::Tier& tier, FetchService& fetches,
                                                     Foresight& foresight) {
  const uint64_t image_bytes = what.layout->table.size_bytes();
  const uint64_t size_bytes = what.size_bytes == 0 ? image_bytes : what.size_bytes;
  if (size_bytes < image_bytes ||
      (size_bytes > image_bytes && size_bytes % disk::kOverlayBlockSize != 0))
    return fail(ErrorCode::kInvalid,
                fmt::format("a disk of {} bytes cannot hold the image, which has {}, in blocks of "
                            "{}",
                            size_bytes, image_bytes, disk::kOverlayBlockSize));
  std::unique_ptr<disk::Overlay> overlay;
  if (what.folder) {
    disk::Overlay::Options options;
    options.size_bytes = size_bytes;
    options.base = what.layout->digest;
    options.owner_token = what.owner_token;
    options.boot_token = what.boot_token;
    FR_TRY(overlay, disk::Overlay::open(*what.folder, "overlay", options));
  }
  auto virtual_disk = std::make_unique<disk::VirtualDisk>(what.layout->table.grown(size_bytes),
                                                          std::move(overlay), tier, what.tenant);
  if (what.vm != VmId{}) fetches.set_reader(what.vm, virtual_disk->reader());
  return std::shared_ptr<ServedDisk>(
      new ServedDisk(std::move(what), std::move(virtual_disk), clock, fetches, foresight));
}

ServedDisk::ServedDisk(What what, std::unique_ptr<disk::VirtualDisk> virtual_disk,
                       const Clock& clock, FetchService& fetches, Foresight& foresight)
    : what_(std::move(what)),
      disk_(std::move(virtual_disk)),
      clock_(clock),
      fetches_(fetches),
      foresight_(foresight),
      started_(clock.now()),
      stalls_(started_) {
  if (!is_read_only()) {
    requests_ = std::make_unique<disk::RequestLog>();
    written_ = std::make_unique<disk::WriteTracker>(size_bytes());
  }
  if (pull_id() == 0) return;
  make_pull();
  foresee_pull({});
}

ServedDisk::~ServedDisk() {
  if (const auto recording = recording_.load()) recording->end("the VM stopped");
}

uint64_t ServedDisk::size_bytes() const { return disk_->size_bytes(); }
bool ServedDisk::is_read_only() const { return disk_->is_read_only(); }

void ServedDisk::observe(const std::vector<disk::Touch>& touches, trace::Op op,
                         uint32_t waited_us) {
  if (!what_.is_observed || touches.empty()) return;
  trace::Access access;
  access.at = clock_.now();
  access.vm = what_.vm;
  access.op = op;
  access.waited_us = waited_us;
  for (const disk::Touch& touch : touches) {
    access.component = touch.component;
    access.first_block = touch.first_chunk;
    access.block_count = touch.chunk_count;
    access.served_from = touch.served_from;
    foresight_.observe(access);
  }
}

void ServedDisk::observe_write(uint64_t offset, uint64_t size_bytes) {
  const image::MappingTable& table = what_.layout->table;
  if (!what_.is_observed || size_bytes == 0 || offset >= table.size_bytes()) return;
  const image::Location place = table.locate(offset);
  if (place.component == nullptr) return;
  const uint64_t first = place.component_offset / repository::kChunkSize;
  const uint64_t last =
      (place.component_offset + std::min(size_bytes, place.length) - 1) / repository::kChunkSize;
  foresight_.observe({.at = clock_.now(),
                      .vm = what_.vm,
                      .component = place.component->id,
                      .first_block = first,
                      .block_count = static_cast<uint32_t>(last - first + 1),
                      .op = trace::Op::kWrite});
}

void ServedDisk::record_to(std::shared_ptr<Recording> recording) {
  recording_.store(std::move(recording));
  is_recorded_ = true;
}

void ServedDisk::on_request(bool is_write, ByteRange range) noexcept {
  if (requests_) requests_->note(range, is_write);
  if (PullForesight* const foresight = pull_foresight_.load(std::memory_order_acquire))
    foresight->note(disk::LoggedRequest::of(range, is_write));
  if (!is_recorded_.load(std::memory_order_relaxed)) return;
  const auto recording = recording_.load();
  if (recording == nullptr) return;
  if (recording->is_on()) {
    recording->note(clock_.now(), is_write ? trace::Op::kWrite : trace::Op::kRead, range);
  } else {
    auto ended = recording;
    recording_.compare_exchange_strong(ended, nullptr);
  }
}

Result<bool> ServedDisk::try_read(ByteRange range, disk::ReadSlices& out) {
  disk::DiskWork& work = thread_work();
  FR_TRY(const bool served, disk_->try_read(range, out, work, {nullptr, false, false}));
  if (!served) return false;
  reads_.fetch_add(1, std::memory_order_relaxed);
  read_bytes_.fetch_add(range.length, std::memory_order_relaxed);
  observe(work.touches, trace::Op::kRead, 0);
  return true;
}

Status ServedDisk::wait_for(const disk::DiskWork& work, disk::Pins& pins) {
  // Copied: `work` is used again by what is called.
  const std::vector<ByteRange> remote = work.remote;
  std::vector<repository::ChunkRef> wanted;
  uint64_t bytes = 0;
  for (const disk::Missing& chunk : work.missing) {
    wanted.push_back(chunk.chunk);
    bytes += chunk.chunk.stored_size;
  }
  const Time begin = clock_.now();
  stalls_.on_wait_begin(begin);
  DiskPull* const pull = remote.empty() ? nullptr : pull_.load(std::memory_order_acquire);
  if (pull) pull->ask(remote);
  auto got = fetches_.get(wanted, what_.vm);
  const Status pulled = got && pull ? pull->wait_for(remote) : Status{};
  const Time end = clock_.now();
  stalls_.on_wait_end(end, end - begin);
  if (!got) return std::unexpected(std::move(got.error()).within("cannot read"));
  FR_CHECK(pulled);
  demand_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  for (size_t i = 0; i < got->size(); ++i) pins[wanted[i].id] = std::move((*got)[i]);
  return {};
}

Status ServedDisk::read(ByteRange range, disk::ReadSlices& out) {
  const DiskGate::Purpose purpose(what_.vm, iosched::IoClass::kCritical);  // of the tier's file
  disk::DiskWork& work = thread_work();
  disk::Pins pins;
  bool is_observed = false;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    work.missing.clear();
    work.touches.clear();
    FR_TRY(const bool served, disk_->try_read(range, out, work, {&pins, true, true}));
    if (served) {
      reads_.fetch_add(1, std::memory_order_relaxed);
      read_bytes_.fetch_add(range.length, std::memory_order_relaxed);
      if (!is_observed) observe(work.touches, trace::Op::kRead, 0);
      return {};
    }
    // Said before the wait, not after it: what the models make of it can travel right behind.
    if (!is_observed) observe(as_one_read(work), trace::Op::kRead, 0);
    is_observed = true;
    FR_CHECK(wait_for(work, pins));
  }
  return fail(ErrorCode::kInternal,
              fmt::format("a read at {} finds its chunks missing again and again", range.offset));
}

Status ServedDisk::prepare_write(ByteRange range, disk::Pins& pins) {
  if (is_frozen_.load(std::memory_order_relaxed))
    return fail(ErrorCode::kDenied, "the VM has left this host: its disk takes no more writes");
  disk::DiskWork& work = thread_work();
  while (!disk_->prepare_write(range, pins, work, true)) FR_CHECK(wait_for(work, pins));
  return {};
}

Status ServedDisk::write(uint64_t offset, ByteView data, bool fua) {
  disk::Pins pins;
  FR_CHECK(prepare_write({offset, data.size()}, pins));
  writes_.fetch_add(1, std::memory_order_relaxed);
  written_bytes_.fetch_add(data.size(), std::memory_order_relaxed);
  observe_write(offset, data.size());
  const Status written = disk_->write(offset, data, pins, fua);
  if (written_) written_->note({offset, data.size()});
  return written;
}

Status ServedDisk::write_zeroes(ByteRange range, bool may_punch, bool fua) {
  disk::Pins pins;
  FR_CHECK(prepare_write(range, pins));
  const Status written = disk_->write_zeroes(range, may_punch, pins, fua);
  if (written_) written_->note(range);
  return written;
}

Status ServedDisk::trim(ByteRange range, bool fua) {
  disk::Pins pins;
  FR_CHECK(prepare_write(range, pins));
  const Status trimmed = disk_->trim(range, pins, fua);
  if (written_) written_->note(range);
  return trimmed;
}

Status ServedDisk::flush() {
  if (disk_->is_read_only()) return {};
  return disk_->flush();
}

Status ServedDisk::block_status(ByteRange range, size_t extents_max,
                                std::vector<disk::StatusExtent>& out) {
  disk_->block_status(range, extents_max, out);
  return {};
}

Result<std::shared_ptr<disk::OverlaySource>> ServedDisk::freeze(uint64_t pull_id) {
  if (is_read_only()) return fail(ErrorCode::kUnsupported, "a read-only disk does not move");
  is_frozen_ = true;
  auto frozen = disk::FrozenOverlay::freeze(*disk_->overlay(), pull_id, size_bytes(),
                                            what_.layout->digest, requests_->read());
  if (!frozen) {
    is_frozen_ = false;
    return std::unexpected(std::move(frozen.error()));
  }
  disk::OverlaySource* const source = frozen->release();
  return std::shared_ptr<disk::OverlaySource>(
      source, [disk = shared_from_this()](disk::OverlaySource* each) { delete each; });
}

DiskPull& ServedDisk::make_pull() {
  if (!own_pull_) {
    DiskPull::Options options;
    options.queue.vm = what_.vm;
    own_pull_ = std::make_unique<DiskPull>(options, clock_, *disk_->overlay(), size_bytes());
    pull_.store(own_pull_.get(), std::memory_order_release);
  }
  return *own_pull_;
}

Status ServedDisk::begin_pull(const disk::OverlayContents& contents) {
  if (is_read_only()) return fail(ErrorCode::kUnsupported, "a read-only disk cannot be pulled");
  if (contents.size_bytes != size_bytes() || contents.base != what_.layout->digest)
    return fail(ErrorCode::kInvalid,
                fmt::format("the other host's disk has {} bytes over image {}; this one has {} "
                            "over {}",
                            contents.size_bytes, contents.base.short_hex(), size_bytes(),
                            what_.layout->digest.short_hex()));
  if (contents.pull_id == 0) return fail(ErrorCode::kInvalid, "a pull without an id");
  make_pull();
  FR_CHECK(disk_->overlay()->begin_pull(contents.pull_id, contents.runs));
  foresee_pull(contents.requests);
  return {};
}

void ServedDisk::foresee_pull(std::vector<disk::LoggedRequest> before) {
  if (own_pull_foresight_ || !what_.is_observed) return;
  std::erase_if(before, [this](const disk::LoggedRequest& request) {
    return request.block_count == 0 ||
           !fits({request.first_block * disk::kOverlayBlockSize,
                  uint64_t{request.block_count} * disk::kOverlayBlockSize},
                 size_bytes());
  });
  // They travel on with the VM when it leaves again.
  for (const disk::LoggedRequest& request : before) {
    requests_->note({request.first_block * disk::kOverlayBlockSize,
                     uint64_t{request.block_count} * disk::kOverlayBlockSize},
                    request.is_write);
  }
  own_pull_foresight_ = std::make_unique<PullForesight>(
      PullForesight::Options{}, clock_, *disk_->overlay(), *own_pull_, std::move(before));
  pull_foresight_.store(own_pull_foresight_.get(), std::memory_order_release);
}

void ServedDisk::start_pull(std::shared_ptr<disk::OverlaySource> source,
                            std::function<void()> on_finished) {
  make_pull().start(std::move(source), std::move(on_finished));
}

uint64_t ServedDisk::pull_id() const { return is_read_only() ? 0 : disk_->overlay()->pull_id(); }

std::optional<DiskPull::Progress> ServedDisk::pull_progress() const {
  const DiskPull* const pull = pull_.load(std::memory_order_acquire);
  return pull ? std::optional(pull->progress()) : std::nullopt;
}

void ServedDisk::abandon_pull() {
  if (DiskPull* const pull = pull_.load(std::memory_order_acquire)) pull->abandon();
}

ServedDisk::Figures ServedDisk::figures() const {
  const Time now = clock_.now();
  const StallMeter::Reading stalls = stalls_.read(now);
  Figures figures;
  api::VmStats& stats = figures.stats;
  stats.uptime_seconds = to_seconds(now - started_);
  stats.reads = reads_.load(std::memory_order_relaxed);
  stats.writes = writes_.load(std::memory_order_relaxed);
  stats.read_bytes = read_bytes_.load(std::memory_order_relaxed);
  stats.written_bytes = written_bytes_.load(std::memory_order_relaxed);
  stats.stalled_now = stalls.is_stalled;
  stats.stall_seconds = stalls.stall_seconds;
  stats.stall_bin_seconds = to_seconds(StallMeter::kBin);
  stats.stall_bin_ms = stalls.bin_ms;
  stats.demand_reads = stalls.waits;
  stats.demand_p50_seconds = stalls.p50_seconds;
  stats.demand_p99_seconds = stalls.p99_seconds;
  stats.demand_fetched_bytes = demand_bytes_.load(std::memory_order_relaxed);
  return figures;
}

}  // namespace forerun::daemon
