// A repository in a folder of a local or mounted file system: docs/format_repository.md.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/put_journal.h"
#include "net/temporary_folder.h"
#include "os/file.h"
#include "repository/link_target.h"
#include "repository/source.h"

namespace forerun::net {

// Thread-safe, and safe beside other processes that use the same folder.
//
// Paths are validated and walked one component at a time without following symbolic links, so
// nothing outside the folder is ever read or written, whatever lies in it. The folder itself may be
// reached through a link.
class DirectoryStore final : public repository::Store, public repository::LinkTarget {
 public:
  enum class Mode { kReadOnly, kReadWrite };
  // Opens the repository in `path`; kReadWrite creates the folder (0755, for web servers) if it is
  // missing, and puts back what the journals of processes hold that are gone. ERRORS: kNotFound,
  // kDenied, kIo; kCorrupt, kTooLarge: such a journal is none; the message says where.
  static Result<std::unique_ptr<DirectoryStore>> open(const std::string& path, Mode mode);
  ~DirectoryStore() override;

  // ERRORS: as Source; kInvalid for a path that is_valid_object_path refuses; kDenied for links and
  // what is no file.
  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  Result<std::vector<std::string>> list_images() override;
  std::string_view name() const override { return name_; }
  bool contains(const std::string& path) override;
  // A put of a tag also brings images.json up to date.
  Status put(const std::string& path, ByteView data) override;
  // Makes everything put, linked, renewed or removed so far durable. Objects named by digests may
  // stand in a journal for a while (put_journal.h).
  Status flush() override;
  // Makes durable what the journals hold, and empties them; it happens by itself, too.
  Status settle() { return journal_.settle(); }
  // By a hard link, so the two objects have one age.
  Result<bool> link(repository::Source& from, const std::string& path) override;
  // By the clock of the file system: that of a new file.
  Result<repository::StoreTime> now() override;
  Status list(const std::string& folder, const Visit& visit) override;
  Status renew(const std::string& path) override;
  // Removing a tag also brings images.json up to date.
  Result<bool> remove(const std::string& path, repository::StoreTime newest) override;

 private:
  struct Place {
    os::Fd folder;
    std::string leaf;
  };

  DirectoryStore(std::string path, os::Fd root, Mode mode);
  std::string full(std::string_view path) const;
  Result<Place> walk_to(std::string_view path, bool create) const;
  Status replace(const std::string& path, ByteView data);
  // Returns the time of the object's file, or nothing: there is one of this path already, the file
  // system cannot do it, or what replace() will say.
  std::optional<repository::StoreTime> put_new(const std::string& path, ByteView data) const;
  // Gives the temporary file the path's place, under the lock of objects.
  Status move_into_place(int temporary, const std::string& leaf, const std::string& path);
  // Returns the time of the file.
  Result<repository::StoreTime> write_temporary(int folder, const std::string& leaf,
                                                ByteView data) const;
  // Returns this process's own folder under tmp/.
  Result<int> temporary_folder();
  Status recover();
  Status restore(const JournalEntry& entry);
  Result<JournalFile> make_journal(size_t number, uint64_t epoch);
  Status update_list();
  Status require_writable(std::string_view path) const;
  // Returns the lock that keeps remove() (LOCK_EX) from put() and renew() (LOCK_SH), of this and
  // other processes. Held for a system call or two.
  Result<os::Fd> lock_objects(int operation) const;
  Status list_folder(os::Fd folder, const std::string& path, size_t depth,
                     const Visit& visit) const;
  Status sync_all() const;
  Status sync(std::string_view path, bool is_folder) const;
  void begin_to_write(const std::string& path) const;
  Status sync_each(const std::set<std::string>& paths) const;

  const std::string name_;
  const os::Fd root_;
  const Mode mode_;
  std::atomic<uint64_t> puts_ = 0;  // numbers temporary files
  std::mutex mutex_;
  TemporaryFolder temporary_;  // guarded by mutex_
  PutJournal journal_;
};

}  // namespace forerun::net
