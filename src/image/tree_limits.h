// What a component may hold at most. The parser of indexes, the builder and the readers of archives
// refuse the same things.
#pragma once

#include <cstddef>
#include <cstdint>

namespace forerun::image {

inline constexpr uint32_t kBlockSize = 4096;                    // what extents are multiples of
inline constexpr size_t kNameBytesMax = 255;                    // of one name
inline constexpr size_t kPathBytesMax = 4095;                   // of a path, its first '/' included
inline constexpr size_t kTreeDepthMax = 512;                    // directories below one another
inline constexpr size_t kSymlinkBytesMax = 4095;                // of a target
inline constexpr size_t kXattrNameBytesMax = 255;               // prefix included
inline constexpr size_t kXattrValueBytesMax = 64 * 1024;        // of one
inline constexpr size_t kXattrsMax = 256;                       // of one inode
inline constexpr uint64_t kFileSizeMax = 1ull << 44;            // 16 TiB, as ext4
inline constexpr uint64_t kComponentDataBytesMax = 1ull << 38;  // 256 GiB
inline constexpr uint32_t kNanosecondsMax = 999'999'999;
inline constexpr uint32_t kModeMax = 07777;
inline constexpr uint32_t kDeviceMajorMax = 0xfff;  // as Linux
inline constexpr uint32_t kDeviceMinorMax = 0xfffff;
inline constexpr size_t kVersionBytesMax = 128;
inline constexpr size_t kInfoTextBytesMax = 1024;  // origin, licence
inline constexpr size_t kInfoListMax = 1024;       // depends, provides

}  // namespace forerun::image
