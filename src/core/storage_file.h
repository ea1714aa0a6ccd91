// What the tier and the overlay need of a file: synchronous, positional, with an explicit flush.
// os/ implements it on the real file system, sim/ on a disk that loses un-flushed writes and tears
// sectors at a power cut.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun {

// Thread-safe where the implementation is (os::PosixFile is; sim's runs in one thread).
class StorageFile {
 public:
  virtual ~StorageFile() = default;

  // Fills `out` from `offset`; what lies past the end reads as zeroes. ERRORS: kIo.
  virtual Status read(uint64_t offset, MutableByteView out) = 0;
  // Writes all of `data`; the file grows as needed. Not durable before flush(). ERRORS: kIo,
  // kNoSpace.
  virtual Status write(uint64_t offset, ByteView data) = 0;
  // Makes every completed write and resize durable. ERRORS: kIo; the data's fate is then unknown.
  virtual Status flush() = 0;
  // Makes `range` read as zeroes and gives its space back where the file system can.
  virtual Status punch(ByteRange range) = 0;
  virtual Status resize(uint64_t size) = 0;
  virtual Result<uint64_t> size() = 0;
};

// A folder of StorageFiles, for stores that replace files atomically.
class StorageFolder {
 public:
  virtual ~StorageFolder() = default;

  // Opens `name`, creating it if `create`. ERRORS: kNotFound, kIo, kDenied.
  virtual Result<std::unique_ptr<StorageFile>> open(const std::string& name, bool create) = 0;
  virtual bool exists(const std::string& name) = 0;
  // Atomically gives `from` the name `to`, replacing it; durable on return. REQUIRES: `from` was
  // flushed.
  virtual Status replace(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& name) = 0;
};

}  // namespace forerun
