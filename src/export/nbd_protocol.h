// The NBD protocol's numbers and its big-endian fields.
// SOURCE: NetworkBlockDevice/nbd, doc/proto.md: "Values" for the constants, "The NBD protocol" for
// the layouts.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/bytes.h"

namespace forerun::nbd {

// Negotiation ("Fixed newstyle negotiation").
inline constexpr uint64_t kGreetingMagic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr uint64_t kOptionMagic = 0x49484156454F5054;    // "IHAVEOPT"
inline constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
inline constexpr size_t kClientFlagsBytes = 4;
inline constexpr size_t kOptionHeaderBytes = 16;
inline constexpr size_t kOptionReplyHeaderBytes = 20;
inline constexpr size_t kExportNamePaddingBytes = 124;
inline constexpr uint32_t kNameBytesMax = 4096;

enum HandshakeFlag : uint16_t { kFlagFixedNewstyle = 1u << 0, kFlagNoZeroes = 1u << 1 };

enum Option : uint32_t {
  kOptExportName = 1,
  kOptAbort = 2,
  kOptList = 3,
  kOptStartTls = 5,
  kOptInfo = 6,
  kOptGo = 7,
  kOptStructuredReply = 8,
  kOptListMetaContext = 9,
  kOptSetMetaContext = 10,
};

enum OptionReply : uint32_t {
  kRepAck = 1,
  kRepServer = 2,
  kRepInfo = 3,
  kRepMetaContext = 4,
  kRepErrUnsupported = (1u << 31) + 1,
  kRepErrPolicy = (1u << 31) + 2,
  kRepErrInvalid = (1u << 31) + 3,
  kRepErrTlsRequired = (1u << 31) + 5,
  kRepErrUnknown = (1u << 31) + 6,
  kRepErrTooBig = (1u << 31) + 9,
};

enum InfoType : uint16_t {
  kInfoExport = 0,
  kInfoName = 1,
  kInfoDescription = 2,
  kInfoBlockSize = 3,
};

// "Transmission flags".
enum TransmissionFlag : uint16_t {
  kHasFlags = 1u << 0,
  kReadOnly = 1u << 1,
  kSendFlush = 1u << 2,
  kSendFua = 1u << 3,
  kSendTrim = 1u << 5,
  kSendWriteZeroes = 1u << 6,
  kSendDf = 1u << 7,
  kCanMultiConn = 1u << 8,
  kSendCache = 1u << 10,
  kSendFastZero = 1u << 11,
};

// Transmission.
inline constexpr uint32_t kRequestMagic = 0x25609513;
inline constexpr uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
inline constexpr size_t kRequestBytes = 28;
inline constexpr size_t kSimpleReplyBytes = 16;
inline constexpr size_t kChunkHeaderBytes = 20;

enum Command : uint16_t {
  kCmdRead = 0,
  kCmdWrite = 1,
  kCmdDisconnect = 2,
  kCmdFlush = 3,
  kCmdTrim = 4,
  kCmdCache = 5,
  kCmdWriteZeroes = 6,
  kCmdBlockStatus = 7,
};

enum CommandFlag : uint16_t {
  kCmdFua = 1u << 0,
  kCmdNoHole = 1u << 1,
  kCmdDf = 1u << 2,
  kCmdReqOne = 1u << 3,
  kCmdFastZero = 1u << 4,
};

enum ChunkType : uint16_t {
  kChunkNone = 0,
  kChunkOffsetData = 1,
  kChunkBlockStatus = 5,
  kChunkError = (1u << 15) + 1,
};
inline constexpr uint16_t kChunkDone = 1;

// Flags of an extent in the context base:allocation.
inline constexpr uint32_t kStateHole = 1u << 0;
inline constexpr uint32_t kStateZero = 1u << 1;
inline constexpr uint32_t kBaseAllocationId = 1;
inline constexpr std::string_view kBaseAllocation = "base:allocation";

// "Error values": the protocol's own numbers, whatever the host's errno are.
enum NbdError : uint32_t {
  kOk = 0,
  kEperm = 1,
  kEio = 5,
  kEnomem = 12,
  kEinval = 22,
  kEnospc = 28,
  kEoverflow = 75,
  kEnotsup = 95,
  kEshutdown = 108,
};

// "Size constraints" that this server advertises.
inline constexpr uint32_t kBlockBytesMin = 1;
inline constexpr uint32_t kBlockBytesPreferred = 4096;
inline constexpr uint32_t kPayloadBytesMax = 32u << 20;

template <typename T>
T load_be(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  return value;
}

template <typename T>
void store_be(std::byte* at, T value) {
  if constexpr (std::endian::native == std::endian::little && sizeof(T) > 1)
    value = std::byteswap(value);
  std::memcpy(at, &value, sizeof value);
}

}  // namespace forerun::nbd
