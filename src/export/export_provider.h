// What a server serves, and how TLS is plugged in: the two things that the daemon gives to an NBD
// server.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "disk/block_device.h"
#include "os/socket.h"

namespace forerun::nbd {

struct ExportEntry {
  std::string name;
  std::string description;  // for people, in export lists; may be empty
};

struct Export {
  std::shared_ptr<disk::BlockDevice> device;
  std::string description;
  bool multi_conn = true;  // a flush on one connection covers the writes of all
};

// Thread-safe. Asked during handshakes, never per request.
class ExportProvider {
 public:
  virtual ~ExportProvider() = default;
  // Returns the export of exactly this name; device is null if there is none.
  virtual Export find(std::string_view name) = 0;
  // Returns up to `count_max` exports whose names come after `after`, in order of name; all if
  // `after` is null.
  virtual std::vector<ExportEntry> list(const std::string* after, size_t count_max) = 0;
};

// The plain provider: a table. Thread-safe.
class ExportTable final : public ExportProvider {
 public:
  // ERRORS: kExists; kInvalid for a name or description of more than 4096 bytes.
  Status add(const std::string& name, Export entry);
  // Returns whether it was there. Connections that are open go on: see NbdServer::end_export.
  bool remove(std::string_view name);

  Export find(std::string_view name) override;
  std::vector<ExportEntry> list(const std::string* after, size_t count_max) override;

 private:
  std::mutex mutex_;
  std::map<std::string, Export, std::less<>> exports_;
};

// Server-side TLS. Thread-safe.
class TlsUpgrader {
 public:
  virtual ~TlsUpgrader() = default;
  // Does the TLS handshake over `plain`, which outlives the stream that is returned; nothing else
  // uses it meanwhile but shut_down(). ERRORS: kDenied for a client that is not let in; kTimedOut.
  virtual Result<std::unique_ptr<os::ByteStream>> upgrade(os::ByteStream& plain, Nanos timeout) = 0;
  // Returns whether everything but STARTTLS is refused on a plain connection.
  virtual bool required() const = 0;
};

}  // namespace forerun::nbd
