// A Debian package as a component: its files, and what dpkg's database knows of it. No script of
// it is run; what that leaves to do is said (docs/format_component.md).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/ar_reader.h"
#include "image/component_builder.h"
#include "image/deb_control.h"
#include "image/decompress.h"
#include "image/tar_reader.h"

namespace forerun::image {

struct DebLimits {
  UnpackLimits unpack;
  TarLimits data;
  uint64_t control_bytes_max = 16 * kMiB;  // of all files beside the control file
  size_t control_files_max = 64;
};

// One thread. After an error only destruction.
class DebReader {
 public:
  // Reads the package up to its data. ERRORS: those of the stream; kCorrupt, kInvalid, kTooLarge,
  // kUnsupported (a format of another major version, bzip2, lzma), saying which member.
  static Result<std::unique_ptr<DebReader>> open(ByteStream stream, DebLimits limits = {});

  const DebControl& control() const { return control_; }
  // kUnpacked if scripts or triggers of it did not run.
  DebState state() const;
  // Whether it has a script that should have run before its files were there: that cannot be done
  // later.
  bool has_preinst() const { return info_.contains("preinst"); }

  // Adds the package's files, and /var/lib/dpkg/info and status.d, to `builder`; checks that
  // nothing follows. Directories give way to those that are there, as dpkg has it.
  Status add_to(ComponentBuilder& builder);

 private:
  DebReader(ByteStream stream, DebLimits limits) : archive_(std::move(stream)), limits_(limits) {}

  Status read_format();
  Result<ArMember> next_named(std::string_view start);
  Result<ByteStream> open_member(const ArMember& member, std::string_view start);
  Status read_control();
  Status read_control_file(TarReader& archive, const TarEntry& entry, uint64_t& total);
  Status read_conffiles();
  Status add_data(const ByteStream& data, ComponentBuilder& builder);
  Status add_entry(TarReader& archive, TarEntry entry, ComponentBuilder& builder);
  Status add_database(ComponentBuilder& builder);

  struct InfoFile {
    TreeInode inode;
    std::string content;
  };

  ArReader archive_;
  const DebLimits limits_;
  DebControl control_;
  std::map<std::string, InfoFile> info_;          // by name: "md5sums"
  std::map<std::string, std::string> conffiles_;  // by plain path: MD5, once it is known
  std::vector<std::string> conffile_order_;
  std::map<std::string, std::string> sums_;  // MD5 of the other files, if the package has none
  std::string list_;
  int64_t made_at_s_ = 0;  // the control file's time: that of what is made here
};

}  // namespace forerun::image
