#include "migrate/memory_sender.h"

#include <algorithm>

#include "migrate/link_rate.h"
#include "migrate/stream_writer.h"

namespace forerun::migrate {
namespace {

constexpr size_t kFaultLogMax = 65536;
constexpr size_t kRankedMax = 1 << 20;
// Pages that were held back and are still good at the switch go out so many at a time, so that a
// fault does not wait behind all of them.
constexpr size_t kHeldAtOnce = 16;
// Differences that save less than this are not worth their page's first copy.
constexpr double kDeltaRatioMax = 0.7;
constexpr uint64_t kDeltaSamplesMin = 16;
constexpr size_t kPackedStreamMin = 256;

}  // namespace

HotPages hot_pages_for(const MemoryProfile& profile) {
  return profile.delta_samples >= kDeltaSamplesMin && profile.delta_ratio > kDeltaRatioMax
             ? HotPages::kHold
             : HotPages::kKeep;
}

struct MemorySender::Impl final : StreamVisitor, ReturnPathVisitor {
  Impl(Options its_options, MemoryProfile its_profile, const Clock& its_clock)
      : options(its_options),
        profile(std::move(its_profile)),
        clock(its_clock),
        reader(std::make_unique<StreamReader>(StreamReader::Options{}, *this)),
        return_path(std::make_unique<ReturnPathReader>(*this)),
        encoder(options.tables),
        held(options.switches || options.hot == HotPages::kHold ? options.held_pages_max : 0),
        late(options.switches ? options.held_pages_max : 0),
        injector(options.injector),
        known(options.known),
        has_references(!options.known.empty()) {
    link.set(options.link_bytes_per_s);
  }

  // The forward stream.
  Status on_command(Command command, ByteView data) override;
  Status on_blocks(const std::vector<RamBlock>& its_blocks) override;
  Status on_page(const PageRecord& page) override;
  Status on_discard(uint32_t block, const ByteRange& range) override;
  Status on_memory_end() override;
  Status on_bytes(Piece piece, ByteView bytes) override;
  // The return path.
  // A QEMU that hears that the target failed closes its stream for good: it is not told.
  Status on_shut(uint32_t status) override {
    if (status == 0) return {};
    return fail(ErrorCode::kIo, fmt::format("the target's QEMU gave up ({})", status));
  }
  Status on_request(const PageRequest& request) override;
  Status on_known(uint32_t taken, const std::vector<uint32_t>& failed) override;
  Status on_bytes(ReturnMessage message, ByteView bytes) override;

  void count_round(PageKey key);
  bool is_to_keep(PageKey key) const;
  void discard_late();
  bool hold(PageKey key, ByteView data, bool is_new);
  // Tells the page by reference, if the target says that it has it. REQUIRES: it has nothing of it
  // yet: so a reference that fails leaves no page there that is too old.
  bool refer(PageKey key, const PageRecord& page);
  bool first_pass_is_done() const {
    return stats.pages_total > 0 &&
           (stats.pages_seen == stats.pages_total || !stats.rounds.empty());
  }
  Status check_settled() const;
  void send(const PageRecord& page, bool keep);
  void count(const PageEncoder::Told& told);
  void send_held(PageStore& from, size_t pages_max);
  void flush() {
    flush_stream();
    flush_pages();
  }
  void flush_if_full();
  void flush_stream();
  void flush_pages();
  void inject();
  bool may_send_pages() const { return opaque_left == 0 && stats.phase == Phase::kPostCopy; }

  using Phase = SenderStats::Phase;
  const Options options;
  const MemoryProfile profile;
  const Clock& clock;
  std::unique_ptr<StreamReader> reader;
  std::unique_ptr<ReturnPathReader> return_path;
  std::vector<RamBlock> blocks;
  PageEncoder encoder;
  PageStore held;  // that the target has nothing of
  PageStore late;  // that it has an earlier content of
  PageInjector injector;
  KnownReferences known;
  bool has_references;  // there may be more
  WorkingSet working_set;
  CodecChooser chooser;
  BatchPacker packer;
  LinkRate link;
  std::vector<std::vector<bool>> in_round;  // by block and page
  std::unordered_set<PageKey> wanted;       // that the guest waits for
  std::vector<PageKey> fault_log;
  SenderOutput* out = nullptr;  // of the call that is under way
  SenderRound round;
  Time round_began{};
  uint64_t opaque_left = 0;  // of the package, which nothing may interrupt
  uint64_t hot_kept = 0;
  Buffer stream;  // to go before the pages of the encoder's batch; one of both is empty
  Buffer packed;
  SenderStats stats;
};

Status MemorySender::Impl::on_blocks(const std::vector<RamBlock>& its_blocks) {
  blocks = its_blocks;
  injector.set_blocks(blocks);
  working_set.set_blocks(blocks);
  working_set.add_profile(profile);
  return_path->set_blocks(blocks);
  in_round.clear();
  for (const RamBlock& block : blocks) {
    in_round.emplace_back(block.used_bytes / kPageBytes, false);
    stats.pages_total += block.used_bytes / kPageBytes;
  }
  stats.phase = Phase::kPreCopy;
  round_began = clock.now();
  return {};
}

Status MemorySender::Impl::on_command(Command command, ByteView data) {
  if (command != Command::kPackaged) return {};
  FR_CHECK(check_settled());
  has_references = false;
  discard_late();
  opaque_left = BigEndianReader(data).u32();
  stats.phase = Phase::kPostCopy;
  if (options.inject) injector.start(working_set.ranked(kRankedMax));
  return {};
}

// The guest stands still now. So what the target has an earlier content of is not sent, but dropped
// there, and sent after the switch as what was held back all along.
void MemorySender::Impl::discard_late() {
  std::vector<std::vector<ByteRange>> ranges(blocks.size());
  for (const PageKey key : late.keys()) {
    if (!held.take_from(late, key)) continue;
    auto& of_block = ranges[key.block()];
    if (!of_block.empty() && of_block.back().end() == key.offset())
      of_block.back().length += kPageBytes;
    else
      of_block.push_back({key.offset(), kPageBytes});
  }
  send_held(late, SIZE_MAX);  // those there was no room for
  flush_pages();
  BigEndianWriter commands;
  for (size_t i = 0; i < blocks.size(); ++i) write_discard(blocks[i], ranges[i], commands);
  stream.insert(stream.end(), commands.view().begin(), commands.view().end());
}

void MemorySender::Impl::count_round(PageKey key) {
  const uint64_t number = key.offset() / kPageBytes;
  if (in_round[key.block()][number]) {
    round.took = clock.now() - round_began;
    if (stats.rounds.size() < SenderStats::kRoundsMax) stats.rounds.push_back(round);
    round = {};
    round_began = clock.now();
    for (auto& pages : in_round) pages.assign(pages.size(), false);
  }
  in_round[key.block()][number] = true;
  ++round.pages;
}

// Hot pages first; others as long as there is room that no hot page will need.
bool MemorySender::Impl::is_to_keep(PageKey key) const {
  if (options.hot != HotPages::kKeep || stats.phase != Phase::kPreCopy) return false;
  const uint64_t hot_to_come =
      working_set.hot_pages() - std::min(working_set.hot_pages(), hot_kept);
  return working_set.is_hot(key) || encoder.kept_pages() + hot_to_come < options.tables.kept_pages;
}

// Returns whether the page was held back: with those the target has nothing of, or, once it has an
// earlier content, with those that it must drop before the switch. After it, a page that is there
// already would end the migration.
bool MemorySender::Impl::hold(PageKey key, ByteView data, bool is_new) {
  if (stats.phase != Phase::kPreCopy) return false;
  if (held.find(key) != nullptr ||
      (is_new && options.hot == HotPages::kHold && working_set.is_hot(key)))
    return held.set(key, data);
  return !is_new && options.switches && late.set(key, data);
}

Status MemorySender::Impl::on_page(const PageRecord& page) {
  const PageKey key = PageKey::of(page.block, page.offset);
  ++stats.pages;
  const bool is_new = !injector.was_sent(key);
  if (stats.phase == Phase::kPreCopy) {
    count_round(key);
    if (!is_new) working_set.on_written(key);
    stats.pages_seen += is_new ? 1 : 0;
  }
  injector.on_sent(key);
  PageRecord sent = page;
  if (!page.data.empty() && all_zero(page.data)) sent.data = {};
  if (is_new && refer(key, sent)) return {};
  if (!is_new) known.forget(key);
  if (!sent.data.empty() && hold(key, page.data, is_new)) return {};
  held.erase(key);
  late.erase(key);
  const bool keep = is_to_keep(key);
  hot_kept += keep && is_new && working_set.is_hot(key) ? 1 : 0;
  send(sent, keep);
  if (wanted.erase(key) > 0) flush();
  return {};
}

bool MemorySender::Impl::refer(PageKey key, const PageRecord& page) {
  if (!has_references || page.data.empty() || first_pass_is_done()) return false;
  const auto number = known.find(page.data);
  if (!number) return false;
  flush_stream();
  const bool keep = is_to_keep(key);
  hot_kept += keep && working_set.is_hot(key) ? 1 : 0;
  known.add(key, page.data);
  count(encoder.add_known(page, *number, keep));
  flush_if_full();
  return true;
}

// As places among those that are not settled yet, oldest first.
Status MemorySender::Impl::on_known(uint32_t taken, const std::vector<uint32_t>& failed) {
  if (taken > known.unsettled())
    return fail(ErrorCode::kCorrupt, "the target speaks of pages that were not told by reference");
  auto next = failed.begin();
  for (uint32_t place = 0; place < taken; ++place) {
    const bool is_there = next == failed.end() || *next != place;
    const auto settled = known.settle(is_there);
    encoder.settle(settled.key, is_there);
    if (is_there) continue;
    ++next;
    ++stats.known_failed;
    if (settled.page)
      send({.block = settled.key.block(), .offset = settled.key.offset(), .data = *settled.page},
           is_to_keep(settled.key));
  }
  flush();
  return {};
}

// Who drives QEMU waits for it; else a page could be missing where the guest goes on.
Status MemorySender::Impl::check_settled() const {
  if (known.unsettled() == 0) return {};
  return fail(ErrorCode::kUnavailable,
              fmt::format("the guest goes over, but of {} pages nobody knows whether the target "
                          "has them",
                          known.unsettled()));
}

void MemorySender::Impl::send(const PageRecord& page, bool keep) {
  flush_stream();
  count(encoder.add(page, keep));
  flush_if_full();
}

void MemorySender::Impl::count(const PageEncoder::Told& told) {
  switch (told.form) {
    case PageForm::kFill:
      ++stats.filled;
      break;
    case PageForm::kRecent:
      ++stats.recent;
      break;
    case PageForm::kDelta:
      ++stats.deltas;
      stats.delta_bytes += told.bytes;
      break;
    case PageForm::kWhole:
      ++stats.whole;
      break;
    case PageForm::kKnown:
      ++stats.known;
      break;
  }
}

void MemorySender::Impl::flush_if_full() {
  // In post-copy a guest may wait for the page behind the batch.
  const size_t batch_max =
      stats.phase == Phase::kPostCopy ? kBatchPlainMax / 8 : kBatchPlainMax / 2;
  if (encoder.batch().size() + kPageTellingMax > batch_max ||
      encoder.batch_pages() == kBatchPagesMax || encoder.batch_known() == kKnownAtOnce)
    flush();
}

// What QEMU says between pages is small, but at the switch a guest waits for it: the pages to drop
// are told by 16 bytes each, which pack well.
void MemorySender::Impl::flush_stream() {
  if (stream.empty()) return;
  packed.clear();
  if (options.compress && stream.size() >= kPackedStreamMin && stream.size() <= kBatchPlainMax) {
    const BatchCodec codec = packer.pack(stream, BatchCodec::kFast, packed);
    write_packed(FrameType::kPackedStream, static_cast<uint8_t>(codec), stream.size(), packed,
                 out->to_peer);
  } else {
    write_stream(stream, out->to_peer);
  }
  stream.clear();
}

void MemorySender::Impl::flush_pages() {
  const ByteView plain = encoder.batch();
  if (plain.empty()) return;
  const auto wanted_codec = options.compress ? chooser.choose(link.get()) : BatchCodec::kNone;
  packed.clear();
  const Time before = clock.now();
  const BatchCodec codec = packer.pack(plain, wanted_codec, packed);
  chooser.learn(wanted_codec, plain.size(), packed.size(), clock.now() - before);
  write_packed(FrameType::kPages, static_cast<uint8_t>(codec), plain.size(), packed, out->to_peer);
  ++stats.batches;
  ++stats.batches_by_codec[static_cast<size_t>(codec)];
  stats.plain_bytes += plain.size();
  stats.packed_bytes += packed.size();
  encoder.clear_batch();
}

void MemorySender::Impl::send_held(PageStore& from, size_t pages_max) {
  while (pages_max-- > 0 && from.take_any([&](PageKey key, const PageBytes& data) {
    wanted.erase(key);
    send({.block = key.block(), .offset = key.offset(), .data = data}, false);
  })) {
  }
}

Status MemorySender::Impl::on_discard(uint32_t block, const ByteRange& range) {
  stats.held_stale += held.erase_range(block, range) + late.erase_range(block, range);
  // In a post-copy that began at once nearly all pages are named here that were never sent.
  for (uint64_t at = range.offset; at < range.end(); at += kPageBytes) {
    const PageKey key = PageKey::of(block, at);
    if (injector.was_sent(key)) working_set.on_written(key);
  }
  injector.on_discard(block, range);
  return {};
}

Status MemorySender::Impl::on_memory_end() {
  FR_CHECK(check_settled());
  send_held(late, SIZE_MAX);
  send_held(held, SIZE_MAX);
  flush();
  BigEndianWriter end;
  write_memory_end(reader->section(), end);
  stream.insert(stream.end(), end.view().begin(), end.view().end());
  return {};
}

Status MemorySender::Impl::on_bytes(Piece piece, ByteView bytes) {
  // Pages, and what frames them, go in frames of our own.
  if (piece == Piece::kPage || piece == Piece::kFrame) return {};
  flush_pages();
  stream.insert(stream.end(), bytes.begin(), bytes.end());
  if (stream.size() > kBatchPlainMax / 2) flush_stream();
  if (piece == Piece::kOpaque) opaque_left -= std::min<uint64_t>(opaque_left, bytes.size());
  if (piece == Piece::kEnd) stats.phase = Phase::kEnded;
  return {};
}

Status MemorySender::Impl::on_request(const PageRequest& request) {
  injector.on_request(clock.now(), request);
  for (uint64_t at = 0; at < request.range.length; at += kPageBytes) {
    const PageKey key = PageKey::of(request.block, request.range.offset + at);
    if (fault_log.size() < kFaultLogMax) fault_log.push_back(key);
    if (const PageBytes* page = held.find(key); page != nullptr && may_send_pages()) {
      // QEMU thinks that it was sent, and will not send it.
      send({.block = key.block(), .offset = key.offset(), .data = *page}, false);
      held.erase(key);
      flush();
    } else if (!injector.was_sent(key) && wanted.size() < kFaultLogMax) {
      wanted.insert(key);
    }
  }
  BigEndianWriter named;
  encode(request, blocks, named);
  out->to_qemu.insert(out->to_qemu.end(), named.view().begin(), named.view().end());
  return {};
}

Status MemorySender::Impl::on_bytes(ReturnMessage message, ByteView bytes) {
  const bool is_request =
      message == ReturnMessage::kRequestPages || message == ReturnMessage::kRequestPagesOfBlock;
  if (!is_request && message != ReturnMessage::kKnownTaken)
    out->to_qemu.insert(out->to_qemu.end(), bytes.begin(), bytes.end());
  return {};
}

void MemorySender::Impl::inject() {
  if (stats.phase != Phase::kPostCopy) return;
  std::vector<PageRequest> requests;
  injector.pull(link.get(), requests);
  BigEndianWriter named;
  for (const PageRequest& request : requests) encode(request, blocks, named);
  out->to_qemu.insert(out->to_qemu.end(), named.view().begin(), named.view().end());
}

MemorySender::MemorySender(Options options, MemoryProfile profile, const Clock& clock)
    : impl_(std::make_unique<Impl>(options, std::move(profile), clock)) {}
MemorySender::~MemorySender() = default;

void MemorySender::begin(SenderOutput& out) { write_hello(impl_->options.tables, out.to_peer); }

Status MemorySender::from_qemu(ByteView stream, SenderOutput& out) {
  const size_t before = out.to_peer.size();
  impl_->out = &out;
  FR_CHECK(impl_->reader->feed(stream));
  if (impl_->may_send_pages()) impl_->send_held(impl_->held, kHeldAtOnce);
  impl_->flush();
  impl_->inject();
  const uint64_t put_out = out.to_peer.size() - before;
  impl_->stats.qemu_bytes += stream.size();
  impl_->stats.peer_bytes += put_out;
  impl_->round.peer_bytes += put_out;
  impl_->link.on_output(impl_->clock.now(), put_out);
  return {};
}

Status MemorySender::from_peer(ByteView return_path, SenderOutput& out) {
  const size_t before = out.to_peer.size();
  impl_->out = &out;
  FR_CHECK(impl_->return_path->feed(return_path));
  impl_->inject();
  impl_->stats.peer_bytes += out.to_peer.size() - before;
  return {};
}

Status MemorySender::tick(SenderOutput& out) {
  const size_t before = out.to_peer.size();
  impl_->out = &out;
  if (impl_->may_send_pages()) {
    impl_->send_held(impl_->held, kHeldAtOnce);
    impl_->flush();
  }
  impl_->inject();
  impl_->stats.peer_bytes += out.to_peer.size() - before;
  return {};
}

Status MemorySender::finish() const { return impl_->reader->finish(); }

Status MemorySender::resume(SenderOutput& out) {
  if (impl_->stats.phase != SenderStats::Phase::kPostCopy)
    return fail(ErrorCode::kInvalid, "a migration can be resumed only after the switch");
  impl_->reader = std::make_unique<StreamReader>(StreamReader::Options{}, *impl_, impl_->blocks,
                                                 impl_->reader->section());
  impl_->return_path = std::make_unique<ReturnPathReader>(*impl_);
  impl_->return_path->set_blocks(impl_->blocks);
  impl_->encoder.reset();
  impl_->stream.clear();
  // The target says itself what it has, and QEMU sends all else: also what was held back.
  impl_->held.clear();
  impl_->late.clear();
  impl_->wanted.clear();
  impl_->injector.reset();
  impl_->opaque_left = 0;
  write_hello(impl_->options.tables, out.to_peer);
  write_frame_head(FrameType::kResume, 0, out.to_peer);
  return {};
}

void MemorySender::set_link_rate(double bytes_per_s) { impl_->link.set(bytes_per_s); }

bool MemorySender::first_pass_is_done() const {
  return impl_->first_pass_is_done() && impl_->known.unsettled() == 0;
}

void MemorySender::stop_references() { impl_->has_references = false; }

bool MemorySender::is_settled() const {
  return (!impl_->has_references || impl_->first_pass_is_done()) && impl_->known.unsettled() == 0;
}

bool MemorySender::is_postcopy() const {
  return impl_->stats.phase >= SenderStats::Phase::kPostCopy;
}

SenderStats MemorySender::stats() const {
  SenderStats stats = impl_->stats;
  stats.held = impl_->held.size() + impl_->late.size();
  stats.kept = impl_->encoder.kept_pages();
  stats.link_bytes_per_s = impl_->link.get();
  stats.injector = impl_->injector.stats();
  return stats;
}

const std::vector<PageKey>& MemorySender::fault_log() const { return impl_->fault_log; }
const std::vector<RamBlock>& MemorySender::blocks() const { return impl_->blocks; }

}  // namespace forerun::migrate
