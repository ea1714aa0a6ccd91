#include "daemon/launches.h"

#include <set>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr size_t kInboxMax = 1 << 16;  // beyond, reads are not followed
constexpr Nanos kRound = 1s;           // when nothing happens
constexpr Nanos kReadsRound = 100ms;   // when reads may settle chunks
constexpr size_t kNameBytesMax = 64;
constexpr size_t kLastMax = 1024, kLastBytesMax = 1 << 20;
constexpr std::string_view kComposedForVm = "vm.";  // see vm_composer.h
// Of the tier's larger level, at most: chunks grow when they are decompressed, and a quarter of a
// level is all that the tier keeps of what was not used yet.
constexpr double kTierShare = 0.1;

LaunchLoop::Options options_of(const Config& config) {
  LaunchLoop::Options options;
  options.acts = config.launches == PrefetchPolicy::kOn;
  options.period_s = config.launch_period_s;
  options.horizon_s = config.launch_horizon_s;
  options.probability_min = static_cast<float>(config.launch_probability_min);
  const uint64_t level = std::max(config.tier_memory_bytes, config.tier_file_bytes);
  options.budget_bytes = std::min(config.launch_budget_bytes,
                                  static_cast<uint64_t>(static_cast<double>(level) * kTierShare));
  if (const auto name = os::read_file("/proc/sys/kernel/hostname", 256)) {
    options.host = as_text(*name).substr(0, as_text(*name).find('\n'));
    options.host.resize(std::min(options.host.size(), kNameBytesMax));
  }
  if (!trace::is_launch_name(options.host)) options.host = "local";
  return options;
}

// Returns the names of the disk's components, sorted.
std::vector<std::string> components_of(const ImageCatalog::Layout& layout) {
  std::set<std::string> names;
  for (const auto& [id, part] : layout.parts)
    if (part.is_component) names.insert(part.name);
  return {names.begin(), names.end()};
}

}  // namespace

std::string launch_name(const std::string& image, const ImageCatalog::Layout& layout) {
  std::vector<std::string> names;
  if (image.starts_with(kComposedForVm)) names = components_of(layout);
  std::string name = names.empty() ? image : fmt::format("{}", fmt::join(names, "+"));
  if (name.size() > kNameBytesMax || !trace::is_launch_name(name)) {
    const std::string digest = sha256(as_bytes(name)).short_hex();
    std::erase_if(name, [](char c) { return !trace::is_launch_name({&c, 1}); });
    name = fmt::format("{}.{}", name.substr(0, kNameBytesMax - digest.size() - 1), digest);
  }
  return name;
}

Launches::Launches(Parts parts)
    : parts_(std::move(parts)), report_(std::make_shared<const api::LaunchReport>()) {}

Launches::~Launches() { stop(); }

void Launches::start(FetchService& fetches) {
  if (parts_.config.launches == PrefetchPolicy::kOff) return;
  fetches_ = &fetches;
  open();
  if (!loop_) return;
  thread_ = std::jthread([this] { run(); });
}

void Launches::open() {
  LaunchLoop::Options options = options_of(parts_.config);
  options.need = [this](const ChunkId& id, float probability, Time until) {
    [[maybe_unused]] const bool is_here = parts_.tier.need(id, probability, until);
  };
  auto history = LaunchHistory::open(file("launches"), second_now(), options.history);
  if (!history) {
    log::error("launches are not foreseen: {}", history.error().message);
    return;
  }
  load_last();
  loop_ = std::make_unique<LaunchLoop>(
      options, std::move(*history), [this](const std::string& image) { return look(image); },
      [this](const ChunkId& id) { return parts_.tier.where(id) != tier::Level::kNone; });
  api::LaunchReport report = loop_->report();
  report.state = "learning";
  report_ = std::make_shared<const api::LaunchReport>(std::move(report));
}

void Launches::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_up_.notify_all();
  if (thread_.joinable()) thread_.join();
  const std::lock_guard lock(mutex_);
  for (Note& note : inbox_)
    if (auto* import = std::get_if<Import>(&note))
      import->done.set_value(fail(ErrorCode::kUnavailable, "the daemon is stopping"));
  inbox_.clear();
}

void Launches::put(Note note, bool is_urgent) {
  {
    const std::lock_guard lock(mutex_);
    const bool is_read = std::holds_alternative<trace::Access>(note);
    if (is_stopping_ || (is_read && inbox_.size() >= kInboxMax)) return;
    inbox_.push_back(std::move(note));
    is_urgent_ = is_urgent_ || is_urgent;
  }
  if (is_urgent) wake_up_.notify_one();
}

void Launches::on_launch(const std::string& image, const std::string& tenant,
                         const ImageCatalog::Layout& layout) {
  if (loop_)
    put(Started{launch_name(image, layout), tenant, components_of(layout), layout.digest, false,
                second_now()},
        true);
}

void Launches::on_stop(const std::string& image, const ImageCatalog::Layout& layout) {
  if (loop_)
    put(Started{launch_name(image, layout),
                {},
                components_of(layout),
                layout.digest,
                true,
                second_now()},
        true);
}

void Launches::on_fetch_end(const prefetch::FetchEnd& end) {
  if (!cares_.load(std::memory_order_acquire)) return;
  put(Ended{end.ref.id, end.chunk ? Ended::Kind::kArrived : Ended::Kind::kFailed}, true);
}

void Launches::on_evicted_unused(const ChunkId& id) {
  if (cares_.load(std::memory_order_acquire)) put(Ended{id, Ended::Kind::kEvicted}, false);
}

void Launches::on_access(const trace::Access& access) {
  if (access.op == trace::Op::kRead && cares_.load(std::memory_order_acquire)) put(access, false);
}

api::LaunchReport Launches::report() const {
  const std::lock_guard lock(mutex_);
  return *report_;
}

Result<api::LaunchImportInfo> Launches::import(const std::string& path) {
  if (!loop_)
    return fail(ErrorCode::kUnsupported,
                "launches are not foreseen here: see launches.mode, or the daemon's log");
  Import job{path, {}};
  auto done = job.done.get_future();
  {
    const std::lock_guard lock(mutex_);
    if (is_stopping_) return fail(ErrorCode::kUnavailable, "the daemon is stopping");
    inbox_.emplace_back(std::move(job));
    is_urgent_ = true;
  }
  wake_up_.notify_one();
  FR_TRY(const auto reading, done.get());
  return api::LaunchImportInfo{reading.lines, reading.known};
}

void Launches::run() {
  for (const std::string& path : parts_.config.launch_history)
    if (const auto read = loop_->import(path, second_now()); !read)
      log::warn("launches.history: {} is not learned from: {}", path, read.error().message);
  loop_->learn(second_now());
  publish();
  Time published = parts_.clock.now();
  std::vector<Note> notes;
  for (;;) {
    notes.clear();
    {
      std::unique_lock lock(mutex_);
      const Nanos pause = cares_.load(std::memory_order_relaxed) ? kReadsRound : kRound;
      wake_up_.wait_for(lock, pause, [&] { return is_stopping_ || is_urgent_; });
      if (is_stopping_) return;
      notes.swap(inbox_);
      is_urgent_ = false;
    }
    bool has_news = false;
    for (Note& note : notes) {
      take(note);
      has_news = has_news || std::holds_alternative<Started>(note);
    }
    has_news = loop_->advance(second_now(), link(), parts_.clock.now()) || has_news;
    act();
    if (const Time now = parts_.clock.now(); has_news || now - published >= kRound) {
      publish();
      published = now;
    }
  }
}

void Launches::take(Note& note) {
  const Time now = parts_.clock.now();
  if (const auto* started = std::get_if<Started>(&note)) {
    // Of a stop nobody says for whom it was.
    remember(started->image,
             {started->digest, started->is_stop ? tenant_of(started->image) : started->tenant});
    loop_->set_components(started->image, started->components);
    if (started->is_stop)
      loop_->on_stop(started->image, started->second);
    else
      loop_->on_launch(started->image, started->tenant, started->second, now);
  } else if (const auto* ended = std::get_if<Ended>(&note)) {
    if (ended->kind == Ended::Kind::kEvicted)
      loop_->fetcher().on_evicted_unused(ended->chunk, now);
    else
      loop_->fetcher().on_fetched(ended->chunk, ended->kind == Ended::Kind::kArrived, now);
  } else if (const auto* access = std::get_if<trace::Access>(&note)) {
    const bool has_waited = access->served_from == trace::ServedFrom::kRepository;
    for (uint32_t i = 0; i < access->block_count; ++i) {
      const auto chunk = parts_.catalog.resolve(access->component, access->first_block + i);
      if (!chunk.is_zero()) loop_->fetcher().on_read(chunk.id, has_waited, now);
    }
  } else if (auto* import = std::get_if<Import>(&note)) {
    import->done.set_value(loop_->import(import->path, second_now()));
    publish();
  }
}

void Launches::act() {
  std::vector<prefetch::PrefetchCommand> commands;
  loop_->fetcher().pull(parts_.clock.now(), commands);
  // Before any of them can end.
  cares_.store(loop_->fetcher().undecided_chunks() > 0, std::memory_order_release);
  for (const auto& command : commands)
    if (!fetches_->fetch_in_background(command.chunk, command.due))
      loop_->fetcher().on_cancelled(command.chunk.id, parts_.clock.now());
  loop_->settle(second_now());
}

void Launches::publish() {
  auto report = std::make_shared<const api::LaunchReport>(loop_->report());
  const std::lock_guard lock(mutex_);
  report_ = std::move(report);
}

prefetch::LinkCost Launches::link() const {
  const auto reading = fetches_->read_link();
  return {reading.link.rate_bytes_per_s, reading.link.round_trip};
}

Result<ImageCatalog::LayoutPtr> Launches::layout_of(const std::string& image) {
  const auto known = last_.find(image);
  if (is_valid_name(image)) {
    auto found = parts_.catalog.open(image);
    if (found) return found->layout;
    if (known == last_.end() || found.error().code != ErrorCode::kNotFound)
      return std::unexpected(std::move(found.error()));
  }
  if (known == last_.end()) return fail(ErrorCode::kNotFound, "never launched here");
  return parts_.catalog.open_digest(known->second.digest);
}

Result<LaunchLoop::Chunks> Launches::look(const std::string& image) {
  FR_TRY(const auto layout, layout_of(image));
  loop_->set_components(image, components_of(*layout));
  struct Foreseen {
    float time_s;
    prefetch::LaunchWish::Chunk chunk;
  };
  std::vector<Foreseen> all;
  std::set<ChunkId> seen;
  const auto disk = layout->components();
  const auto priors = layout->priors();
  const std::string tenant = tenant_of(image);
  for (const ComponentId component : disk) {
    parts_.histories.load(component, tenant);
    const auto known = priors.find(component);
    const auto prior = known == priors.end() ? nullptr : known->second;
    auto sequence = parts_.histories.replay(tenant)->foresee(component, disk, prior.get());
    if (!sequence) sequence = prior;
    if (!sequence) continue;
    for (const predict::SequenceEntry& entry : sequence->entries) {
      const auto chunk = parts_.catalog.resolve(component, entry.block);
      if (chunk.is_zero() || !seen.insert(chunk.id).second) continue;
      all.push_back({entry.time_s, {component, entry.block, chunk, entry.support}});
    }
  }
  std::sort(all.begin(), all.end(), [](const Foreseen& a, const Foreseen& b) {
    return std::tie(a.time_s, a.chunk.component, a.chunk.block) <
           std::tie(b.time_s, b.chunk.component, b.chunk.block);
  });
  LaunchLoop::Chunks chunks;
  for (const Foreseen& one : all) chunks.push_back(one.chunk);
  return chunks;
}

std::string Launches::tenant_of(const std::string& image) const {
  const auto last = last_.find(image);
  return last == last_.end() ? std::string() : last->second.tenant;
}

// A composed disk is found again by its digest: its image may have gone with its VM.
void Launches::remember(const std::string& image, const Last& last) {
  const auto known = last_.find(image);
  if (known != last_.end() && known->second == last) return;
  if (known == last_.end() && last_.size() >= kLastMax) last_.erase(last_.begin());
  last_[image] = last;
  std::string text;
  for (const auto& [name, one] : last_)
    text += fmt::format("{} {}{}{}\n", one.digest.hex(), name, one.tenant.empty() ? "" : " %",
                        one.tenant);
  if (const auto kept = os::write_file_atomic(file("launches.images"), as_bytes(text)); !kept)
    log::warn("the images of launches cannot be kept: {}", kept.error().message);
}

void Launches::load_last() {
  if (!os::path_exists(file("launches.images"))) return;
  const auto text = os::read_file(file("launches.images"), kLastBytesMax);
  if (!text) return log::warn("the images of launches: {}", text.error().message);
  std::string_view rest = as_text(*text);
  while (!rest.empty() && last_.size() < kLastMax) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t blank = std::min(line.find(' '), line.size());
    const auto digest = parse_digest(line.substr(0, blank));
    const std::string_view words = line.substr(std::min(blank + 1, line.size()));
    const size_t end_of_name = std::min(words.find(" %"), words.size());
    const std::string_view name = words.substr(0, end_of_name);
    const std::string_view tenant = words.substr(std::min(end_of_name + 2, words.size()));
    if (digest && trace::is_launch_name(name) && (tenant.empty() || trace::is_launch_name(tenant)))
      last_[std::string(name)] = {*digest, std::string(tenant)};
    else
      log::warn("{}: a line is of no use and left out", file("launches.images"));
  }
}

}  // namespace forerun::daemon
