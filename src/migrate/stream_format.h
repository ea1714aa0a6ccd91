// QEMU's migration stream as 7.2 writes it: numbers of the forward stream and of the return path.
// All integers are big-endian. Source: QEMU 7.2, migration/savevm.c, ram.c, migration.h, and
// streams that were recorded from it.
#pragma once

#include <cstdint>

namespace forerun::migrate {

inline constexpr uint32_t kStreamMagic = 0x5145564d;  // "QEVM"
inline constexpr uint32_t kStreamVersion = 3;
inline constexpr uint32_t kRamVersion = 4;
inline constexpr uint64_t kPageBytes = 4096;  // of an x86 target

enum class ItemType : uint8_t {
  kEnd = 0x00,
  kSectionStart = 0x01,
  kSectionPart = 0x02,
  kSectionEnd = 0x03,
  kSectionFull = 0x04,
  kSubsection = 0x05,
  kDescription = 0x06,
  kConfiguration = 0x07,
  kCommand = 0x08,
  kFooter = 0x7e,
};

enum class Command : uint16_t {
  kOpenReturnPath = 1,
  kPing = 2,
  kPostcopyAdvise = 3,
  kPostcopyListen = 4,
  kPostcopyRun = 5,
  kRamDiscard = 6,
  kPackaged = 7,
  kEnableColo = 8,
  kPostcopyResume = 9,
  kReceivedBitmap = 10,
};

// Flags of a record of the RAM section, in the low bits of an address.
inline constexpr uint64_t kFlagZero = 0x02;
inline constexpr uint64_t kFlagMemorySize = 0x04;
inline constexpr uint64_t kFlagPage = 0x08;
inline constexpr uint64_t kFlagEnd = 0x10;
inline constexpr uint64_t kFlagContinue = 0x20;  // of the block of the record before
inline constexpr uint64_t kFlagXbzrle = 0x40;
inline constexpr uint64_t kFlagHook = 0x80;
inline constexpr uint64_t kFlagCompressed = 0x100;
inline constexpr uint64_t kFlagsMask = kPageBytes - 1;

enum class ReturnMessage : uint16_t {
  kShut = 1,
  kPong = 2,
  kRequestPagesOfBlock = 3,  // names the block
  kRequestPages = 4,         // of the block of the request before
  kReceivedBitmap = 5,
  kResumeAcknowledged = 6,
  // Not QEMU's: a receiver's word for its sender on pages that were told by reference.
  kKnownTaken = 0x4652,
};

// The end mark behind a bitmap of received pages.
inline constexpr uint64_t kBitmapEnd = 0x0123456789abcdef;

}  // namespace forerun::migrate
