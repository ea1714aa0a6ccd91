#include "image/disk_reader.h"

#include <fmt/format.h>

#include "image/qcow2.h"
#include "repository/image_index.h"

namespace forerun::image {
namespace {

constexpr uint64_t kSectorSize = 512;

// The file is the disk; its last sector is filled up with zeroes.
class RawReader final : public DiskReader {
 public:
  RawReader(StorageFile& file, uint64_t size_bytes) : file_(file), size_bytes_(size_bytes) {}
  uint64_t size_bytes() const override { return size_bytes_; }
  Status read(uint64_t offset, MutableByteView out) override { return file_.read(offset, out); }
  bool known_zero(ByteRange) override { return false; }

 private:
  StorageFile& file_;
  const uint64_t size_bytes_;
};

Result<std::unique_ptr<DiskReader>> open_raw(StorageFile& file, bool format_was_named) {
  FR_TRY(const uint64_t size, file.size());
  if (size == 0) return fail(ErrorCode::kInvalid, "the disk is empty");
  if (size > repository::kImageSizeMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("the disk has {} bytes; the limit is {}", size,
                                                  repository::kImageSizeMax));
  }
  if (!format_was_named) {
    std::array<std::byte, 4> head;
    FR_CHECK(file.read(0, head));
    if (is_qcow2_magic(head)) {
      return fail(
          ErrorCode::kInvalid,
          "the file begins as a qcow2 file does but is not named .qcow2: say whether its format is "
          "qcow2 or raw");
    }
  }
  return std::make_unique<RawReader>(file, round_up(size, kSectorSize));
}

}  // namespace

std::string_view disk_format_name(DiskFormat format) {
  return format == DiskFormat::kRaw ? "raw" : "qcow2";
}

Result<DiskFormat> parse_disk_format(std::string_view name) {
  if (name == "raw") return DiskFormat::kRaw;
  if (name == "qcow2") return DiskFormat::kQcow2;
  return fail(ErrorCode::kInvalid,
              fmt::format("there is no disk format '{}': raw and qcow2 are known", name));
}

Result<std::unique_ptr<DiskReader>> open_disk(StorageFile& file, std::string_view file_name,
                                              std::optional<DiskFormat> format) {
  const DiskFormat chosen =
      format.value_or(file_name.ends_with(".qcow2") ? DiskFormat::kQcow2 : DiskFormat::kRaw);
  if (chosen == DiskFormat::kRaw) return open_raw(file, format.has_value());
  return Qcow2Reader::open(file);
}

}  // namespace forerun::image
