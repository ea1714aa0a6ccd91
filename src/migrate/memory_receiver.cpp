#include "migrate/memory_receiver.h"

#include "migrate/batch_codec.h"
#include "migrate/stream_writer.h"

namespace forerun::migrate {

struct MemoryReceiver::Impl final : StreamVisitor, ReturnPathVisitor {
  explicit Impl(Options its_options) : options(its_options) { begin(); }

  void begin() {
    reader = std::make_unique<StreamReader>(StreamReader::Options{}, *this);
    return_path = std::make_unique<ReturnPathReader>(*this);
    decoder.reset();
    pending.clear();
    answers.clear();
  }
  Status on_blocks(const std::vector<RamBlock>& its_blocks) override {
    blocks = its_blocks;
    section = reader->section();
    return_path->set_blocks(blocks);
    return {};
  }
  Status on_command(Command command, ByteView data) override {
    if (command != Command::kPackaged) return {};
    opaque_left = BigEndianReader(data).u32();
    stats.is_postcopy = true;
    return {};
  }
  Status on_page(const PageRecord&) override {
    ++stats.pages;
    return {};
  }
  Status on_bytes(Piece piece, ByteView bytes) override {
    if (piece == Piece::kOpaque) opaque_left -= std::min<uint64_t>(opaque_left, bytes.size());
    if (piece == Piece::kEnd) stats.is_complete = true;
    return {};
  }
  Status on_request(const PageRequest& request) override {
    stats.requests += request.range.length / kPageBytes;
    BigEndianWriter named;
    encode(request, blocks, named);
    return_bytes->insert(return_bytes->end(), named.view().begin(), named.view().end());
    return {};
  }
  Status on_bytes(ReturnMessage message, ByteView bytes) override {
    const bool is_request =
        message == ReturnMessage::kRequestPages || message == ReturnMessage::kRequestPagesOfBlock;
    if (!is_request) return_bytes->insert(return_bytes->end(), bytes.begin(), bytes.end());
    return {};
  }

  Status read(const Frame& frame, Buffer& to_qemu);
  Result<ByteView> unpack(ByteView payload);
  Status read_pages(ByteView payload, Buffer& to_qemu);
  Status resume_stream();
  // Lets QEMU have what a reader of its stream accepts.
  Status check_and_append(ByteView bytes, Buffer& to_qemu) {
    FR_CHECK(reader->feed(bytes));
    to_qemu.insert(to_qemu.end(), bytes.begin(), bytes.end());
    return {};
  }

  const Options options;
  std::unique_ptr<StreamReader> reader;  // of what goes to QEMU
  std::unique_ptr<ReturnPathReader> return_path;
  std::unique_ptr<PageDecoder> decoder;  // once the sender said hello
  BatchUnpacker unpacker;
  std::vector<RamBlock> blocks;
  uint32_t section = 0;
  uint64_t opaque_left = 0;
  BigEndianWriter pages;
  Buffer pending;
  Buffer answers;  // to the sender
  Buffer* return_bytes = nullptr;
  ReceiverStats stats;
};

Status MemoryReceiver::Impl::read(const Frame& frame, Buffer& to_qemu) {
  if (!decoder) {
    if (frame.type != FrameType::kHello)
      return fail(ErrorCode::kCorrupt, "the sender of the memory does not say who it is");
    FR_TRY(const TableLimits limits, read_hello(frame.payload));
    if (limits.kept_pages > options.tables.kept_pages ||
        limits.recent_pages > options.tables.recent_pages)
      return fail(ErrorCode::kTooLarge,
                  fmt::format("the sender wants {} and {} pages to be kept, this host keeps {} and "
                              "{}",
                              limits.kept_pages, limits.recent_pages, options.tables.kept_pages,
                              options.tables.recent_pages));
    decoder = std::make_unique<PageDecoder>(limits, options.known);
    return {};
  }
  switch (frame.type) {
    case FrameType::kHello:
      return fail(ErrorCode::kCorrupt, "the sender of the memory says hello twice");
    case FrameType::kStream:
      return check_and_append(frame.payload, to_qemu);
    case FrameType::kPackedStream: {
      FR_TRY(const ByteView plain, unpack(frame.payload));
      return check_and_append(plain, to_qemu);
    }
    case FrameType::kPages:
      return read_pages(frame.payload, to_qemu);
    case FrameType::kResume:
      return resume_stream();
  }
  return {};
}

Result<ByteView> MemoryReceiver::Impl::unpack(ByteView payload) {
  BigEndianReader head(payload);
  const uint8_t codec = head.u8();
  const uint32_t plain_bytes = head.u32();
  if (!head.good() || plain_bytes > kBatchPlainMax)
    return fail(ErrorCode::kTooLarge, "a packed frame that is too long");
  return unpacker.unpack(payload.subspan(head.taken()), codec, plain_bytes);
}

Status MemoryReceiver::Impl::read_pages(ByteView payload, Buffer& to_qemu) {
  if (blocks.empty() || opaque_left > 0)
    return fail(ErrorCode::kCorrupt, "pages where there can be none");
  FR_TRY(const ByteView plain, unpack(payload));
  pages.clear();
  FR_CHECK(decoder->decode(plain, blocks, [&](const PageRecord& page) -> Status {
    append_page(page, blocks, pages);
    return {};
  }));
  if (const uint32_t taken = decoder->known_taken(); taken > 0) {
    BigEndianWriter word;
    encode_known(taken, decoder->known_failed(), word);
    answers.insert(answers.end(), word.view().begin(), word.view().end());
    stats.known += taken - decoder->known_failed().size();
    stats.known_failed += decoder->known_failed().size();
  }
  if (pages.view().empty()) return {};
  BigEndianWriter begin, end;
  begin_pages(section, begin);
  end_pages(section, end);
  FR_CHECK(check_and_append(begin.view(), to_qemu));
  FR_CHECK(check_and_append(pages.view(), to_qemu));
  return check_and_append(end.view(), to_qemu);
}

Status MemoryReceiver::Impl::resume_stream() {
  if (!stats.is_postcopy || stats.is_complete || reader->position() > 0)
    return fail(ErrorCode::kCorrupt, "a migration that goes on, but was not cut");
  reader = std::make_unique<StreamReader>(StreamReader::Options{}, *this, blocks, section);
  return_path->set_blocks(blocks);
  return {};
}

MemoryReceiver::MemoryReceiver(Options options) : impl_(std::make_unique<Impl>(options)) {}
MemoryReceiver::~MemoryReceiver() = default;

Status MemoryReceiver::from_peer(ByteView frames, Buffer& to_qemu) {
  Buffer& pending = impl_->pending;
  impl_->stats.peer_bytes += frames.size();
  const size_t before = to_qemu.size();
  pending.insert(pending.end(), frames.begin(), frames.end());
  size_t at = 0;
  while (true) {
    FR_TRY(const auto frame, read_frame(ByteView(pending).subspan(at)));
    if (!frame) break;
    FR_CHECK(impl_->read(*frame, to_qemu));
    at += kFrameHeadBytes + frame->payload.size();
  }
  pending.erase(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(at));
  impl_->stats.qemu_bytes += to_qemu.size() - before;
  return {};
}

Status MemoryReceiver::from_qemu_return(ByteView return_path, Buffer& to_peer) {
  impl_->return_bytes = &to_peer;
  return impl_->return_path->feed(return_path);
}

void MemoryReceiver::answer(Buffer& to_peer) {
  to_peer.insert(to_peer.end(), impl_->answers.begin(), impl_->answers.end());
  impl_->answers.clear();
}

void MemoryReceiver::resume() { impl_->begin(); }

ReceiverStats MemoryReceiver::stats() const { return impl_->stats; }

}  // namespace forerun::migrate
