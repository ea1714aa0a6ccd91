// Reads the forward stream of a migration as it comes: what it says, and which bytes said it, so
// that a proxy may pass them on untouched, or hold pages back and send them in an order of its own.
// Strict: what is not known stops it, with where and why, before the guest has switched over.
//
// Read: one section of memory ("ram", version 4, pages of 4 KiB), pre-copy and post-copy, resumed
// streams. What devices say of themselves is opaque: in post-copy it is one package of a known
// length, in pre-copy all that follows the memory.
#pragma once

#include <string>
#include <vector>

#include "migrate/ram_blocks.h"

namespace forerun::migrate {

// What bytes of the stream belong to.
enum class Piece : uint8_t {
  kHead,     // up to the machine's name
  kCommand,  // with its data
  kBlocks,   // the section that names the memory's blocks
  kFrame,    // begin and end of a section of pages
  kPage,     // one record
  kOpaque,   // of devices
  kEnd,
};

// Hears what a stream holds, in its order. An error that is returned ends the reading with it.
class StreamVisitor {
 public:
  virtual ~StreamVisitor() = default;
  virtual Status on_machine(std::string_view) { return {}; }  // "pc-i440fx-7.2"
  virtual Status on_command(Command, ByteView /*data*/) { return {}; }
  virtual Status on_blocks(const std::vector<RamBlock>&) { return {}; }
  virtual Status on_page(const PageRecord&) { return {}; }
  // Pages in this range of a block that were sent before are out of date: the target drops them.
  virtual Status on_discard(uint32_t /*block*/, const ByteRange&) { return {}; }
  // All pages were sent that are to be sent.
  virtual Status on_memory_end() { return {}; }
  // Every byte of the stream, in order; those of an item right after what was said of it.
  virtual Status on_bytes(Piece, ByteView) { return {}; }
};

// One thread. Memory: what feed() is given, and 320 KiB at most.
class StreamReader {
 public:
  struct Options {
    uint64_t packaged_bytes_max = uint64_t{1} << 30;  // devices' state in post-copy
  };
  StreamReader(Options options, StreamVisitor& visitor) : options_(options), visitor_(visitor) {}
  // For a stream that goes on after the connection was cut: it has no head, and its blocks are
  // those that were told before.
  StreamReader(Options options, StreamVisitor& visitor, std::vector<RamBlock> blocks,
               uint32_t section);

  // Takes the next bytes. ERRORS: kCorrupt, kUnsupported, kTooLarge, each with the byte of the
  // stream where it stands; those of the visitor. After one nothing more may be fed.
  Status feed(ByteView bytes);
  // The stream has ended. ERRORS: kCorrupt: amid something.
  Status finish() const;

  const std::vector<RamBlock>& blocks() const { return blocks_; }
  uint32_t section() const { return section_; }    // the memory's, once blocks() are known
  uint64_t position() const { return position_; }  // bytes read whole

 private:
  enum class State : uint8_t { kMagic, kItem, kRecords, kFooter, kPackaged, kTail, kEnded };

  // Each returns how many bytes of `in` it read; 0: more are needed.
  Result<size_t> step(ByteView in);
  Result<size_t> read_magic(ByteView in);
  Result<size_t> read_item(ByteView in);
  Result<size_t> read_configuration(ByteView in);
  Result<size_t> read_command(ByteView in);
  Result<size_t> read_blocks(ByteView in);
  Result<size_t> read_section(ByteView in, bool is_last);
  Result<size_t> read_record(ByteView in);
  Result<size_t> read_footer(ByteView in);
  Result<size_t> read_opaque(ByteView in);
  Status read_discard(ByteView data);
  Result<std::vector<RamBlock>> parse_blocks(BigEndianReader& in, uint64_t bytes) const;

  const Options options_;
  StreamVisitor& visitor_;
  State state_ = State::kMagic;
  std::vector<RamBlock> blocks_;
  PageRecordReader records_;
  uint32_t section_ = 0;
  bool has_blocks_ = false, is_last_section_ = false, has_package_ = false;
  uint64_t opaque_left_ = 0;  // of the package
  uint64_t position_ = 0;
  Buffer pending_;  // fed, not read yet
};

}  // namespace forerun::migrate
