#include "daemon/peer_overlay.h"

#include "core/big_endian.h"
#include "daemon/disk_gate.h"

namespace forerun::daemon {
namespace {

using iosched::IoClass;
using net::PeerChannel;

// A request: 8 bytes id, 1 kind, 1 class, 8 offset, 4 length. An answer: 8 id, 1 how, 8 checksum,
// 4 length, and so many bytes.
enum Kind : uint8_t { kContents = 1, kRead = 2, kDigests = 3 };
constexpr size_t kRequestBytes = 8 + 1 + 1 + 8 + 4;
constexpr size_t kAnswerBytes = 8 + 1 + 8 + 4;
constexpr size_t kContentsBytesMax = 256 << 20;
constexpr size_t kRequestsMax = 256;  // not answered yet, of each class

// How a request ended, as the wire has it; 0: well.
constexpr std::array kCodes{ErrorCode::kUnavailable, ErrorCode::kInvalid, ErrorCode::kDenied,
                            ErrorCode::kIo, ErrorCode::kCorrupt};

uint8_t code_number(ErrorCode code) {
  const auto* found = std::find(kCodes.begin(), kCodes.end(), code);
  return found == kCodes.end() ? 1 : static_cast<uint8_t>(found - kCodes.begin() + 1);
}

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the other host sent {} of a disk", what));
}

}  // namespace

PeerOverlay::PeerOverlay(std::shared_ptr<net::PeerConnection> connection)
    : connection_(std::move(connection)) {
  urgent_reader_ = std::jthread([this] { receive(PeerChannel::kDisk); });
  bulk_reader_ = std::jthread([this] { receive(PeerChannel::kDiskBulk); });
}

PeerOverlay::~PeerOverlay() {
  stop();
  connection_->cut({ErrorCode::kUnavailable, "the pull has ended"});
}

void PeerOverlay::end_all(const Error& why) {
  const std::lock_guard lock(mutex_);
  if (!failure_) failure_ = why;
  for (auto& [id, waiting] : waiting_)
    if (!waiting->end) waiting->end = std::unexpected(why);
  answered_.notify_all();
}

Status PeerOverlay::ask(uint8_t kind, ByteRange range, IoClass io_class, Waiting& waiting) {
  BigEndianWriter request;
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (failure_) return std::unexpected(*failure_);
    id = next_id_++;
    waiting_[id] = &waiting;
  }
  request.u64(id);
  request.u8(kind);
  request.u8(io_class == IoClass::kCritical ? 0 : 1);
  request.u64(range.offset);
  request.u32(static_cast<uint32_t>(range.length));
  Status written;
  {
    const std::lock_guard lock(write_mutex_);
    written = connection_->write(PeerChannel::kDisk, request.view());
  }
  std::unique_lock lock(mutex_);
  if (!written && !waiting.end) waiting.end = std::unexpected(written.error());
  answered_.wait(lock, [&] { return waiting.end.has_value(); });
  waiting_.erase(id);
  return std::move(*waiting.end);
}

Result<disk::OverlayContents> PeerOverlay::contents() {
  Buffer bytes;
  Waiting waiting;
  waiting.whole = &bytes;
  FR_CHECK(ask(kContents, {}, IoClass::kCritical, waiting));
  return disk::parse_overlay_contents(bytes);
}

Result<uint64_t> PeerOverlay::read(ByteRange range, MutableByteView out, IoClass io_class) {
  Waiting waiting;
  waiting.out = out;
  FR_CHECK(ask(kRead, range, io_class, waiting));
  return waiting.checksum;
}

Result<std::vector<Digest>> PeerOverlay::digests(ByteRange range) {
  std::vector<Digest> digests((range.length + repository::kChunkSize - 1) / repository::kChunkSize);
  Waiting waiting;
  waiting.out = std::as_writable_bytes(std::span(digests));
  FR_CHECK(ask(kDigests, range, IoClass::kBackground, waiting));
  return digests;
}

void PeerOverlay::receive(PeerChannel channel) {
  for (;;) {
    if (const Status received = receive_one(channel); !received) return end_all(received.error());
  }
}

Status PeerOverlay::receive_one(PeerChannel channel) {
  std::array<std::byte, kAnswerBytes> head;
  FR_CHECK(connection_->read_exact(channel, head));
  BigEndianReader reader(head);
  const uint64_t id = reader.u64();
  const uint8_t how = reader.u8();
  const uint64_t checksum = reader.u64();
  const uint32_t length = reader.u32();
  bool is_whole = false;
  {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(id);
    is_whole = found != waiting_.end() && found->second->whole != nullptr;
  }
  if (how > kCodes.size() || length > (is_whole ? kContentsBytesMax : OverlaySource::kReadMax))
    return corrupt("an answer of no known form");
  // Read beside the place where it goes: who waits for it may leave meanwhile.
  Buffer data(length);
  FR_CHECK(connection_->read_exact(channel, data));
  const std::lock_guard lock(mutex_);
  const auto found = waiting_.find(id);
  if (found == waiting_.end() || found->second->end) return {};
  Waiting& waiting = *found->second;
  if (how != 0) {
    waiting.end = fail(kCodes[how - 1], std::string(as_text(data)));
  } else if (waiting.whole != nullptr) {
    *waiting.whole = std::move(data);
    waiting.end = Status();
  } else if (length != waiting.out.size()) {
    return corrupt("another length than was asked for");
  } else {
    std::copy(data.begin(), data.end(), waiting.out.begin());
    waiting.checksum = checksum;
    waiting.end = Status();
  }
  answered_.notify_all();
  return {};
}

PeerOverlayServer::PeerOverlayServer(net::PeerConnection& connection,
                                     std::shared_ptr<disk::OverlaySource> source)
    : connection_(connection), source_(std::move(source)) {
  receiver_ = std::jthread([this] { receive(); });
  urgent_worker_ = std::jthread([this] { answer(PeerChannel::kDisk); });
  bulk_worker_ = std::jthread([this] { answer(PeerChannel::kDiskBulk); });
}

PeerOverlayServer::~PeerOverlayServer() {
  connection_.cut({ErrorCode::kUnavailable, "the migration has ended"});
  receiver_.join();
  urgent_worker_.join();
  bulk_worker_.join();
}

void PeerOverlayServer::receive() {
  std::array<std::byte, kRequestBytes> head;
  while (connection_.read_exact(PeerChannel::kDisk, head)) {
    BigEndianReader reader(head);
    Request request;
    request.id = reader.u64();
    request.kind = reader.u8();
    const bool is_urgent = reader.u8() == 0;
    request.range.offset = reader.u64();
    request.range.length = reader.u32();
    std::unique_lock lock(mutex_);
    auto& queue = is_urgent ? urgent_ : bulk_;
    // A peer that asks for more than it takes waits.
    changed_.wait(lock, [&] { return queue.size() < kRequestsMax || is_over_; });
    queue.push_back(request);
    changed_.notify_all();
  }
  const std::lock_guard lock(mutex_);
  is_over_ = true;
  changed_.notify_all();
}

void PeerOverlayServer::answer(PeerChannel channel) {
  auto& queue = channel == PeerChannel::kDisk ? urgent_ : bulk_;
  for (;;) {
    Request request;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return !queue.empty() || is_over_; });
      if (is_over_) return;
      request = queue.front();
      queue.pop_front();
      changed_.notify_all();
    }
    if (!answer_one(channel, request)) {
      const std::lock_guard lock(mutex_);
      is_over_ = true;
      changed_.notify_all();
      return;
    }
  }
}

Status PeerOverlayServer::answer_one(PeerChannel channel, const Request& request) {
  Buffer data;
  const auto read = [&]() -> Result<uint64_t> {
    if (request.kind == kContents) {
      FR_TRY(const disk::OverlayContents contents, source_->contents());
      data = disk::serialize(contents);
      return 0;
    }
    if (request.kind == kDigests && channel == PeerChannel::kDiskBulk) {
      if (!contents_) {
        FR_TRY(contents_, source_->contents());
      }
      FR_TRY(const auto digests, part_digests(*source_, *contents_, request.range));
      const ByteView bytes = std::as_bytes(std::span(digests));
      data.assign(bytes.begin(), bytes.end());
      return 0;
    }
    if (request.kind != kRead || request.range.length > disk::OverlaySource::kReadMax)
      return fail(ErrorCode::kInvalid, "no such request");
    data.resize(request.range.length);
    const auto io_class = channel == PeerChannel::kDisk ? IoClass::kCritical : IoClass::kBackground;
    const DiskGate::Purpose purpose(VmId{}, io_class);  // at this host's disk too
    return source_->read(request.range, data, io_class);
  }();
  if (!read) {
    const ByteView text = as_bytes(read.error().message);
    data.assign(text.begin(), text.end());
  }
  BigEndianWriter answer;
  answer.u64(request.id);
  answer.u8(read ? 0 : code_number(read.error().code));
  answer.u64(read ? *read : 0);
  answer.u32(static_cast<uint32_t>(data.size()));
  answer.bytes(data);
  sent_bytes_ += data.size();
  return connection_.write(channel, answer.view());
}

}  // namespace forerun::daemon
