// A repository in a bucket of an S3 service (Ceph's radosgw, AWS and others):
// docs/format_repository.md, "In a bucket".
//
// Renewal and removal exclude each other by the service's own means, with no lock beside it
// (docs/decisions/0013-s3.md):
// - renew: the object is copied onto itself, which sets its time; then it must still be there.
// - remove: x-amz-delete-if-unmodified-since, which radosgw checks and obeys in one step. Whether
//   the service obeys it is tried once before it is relied upon; else remove is kUnsupported.
// - put: If-None-Match: * makes an object or says that there is one; that one is overwritten, and
//   must then still be there, for a removal that comes first takes the write with it.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "net/http_transfer.h"
#include "net/s3_reply.h"
#include "net/s3_signature.h"
#include "repository/source.h"

namespace forerun::net {

struct S3Options {
  std::string bucket;
  std::string prefix;    // of the repository in the bucket: up to three folders; empty: none
  std::string endpoint;  // "http://127.0.0.1:7480"; empty: AWS's for the region
  std::string region = "us-east-1";
  bool is_path_style = true;  // endpoint/bucket/key; false: bucket.endpoint/key
  S3Credentials credentials;
  // Asked for the keys of now when the service refuses the old ones, so that they can be changed
  // while we run; empty: they stay.
  std::function<Result<S3Credentials>()> reload_credentials;
  std::string ca_file;  // PEM; empty: the system's authorities
  std::string proxy;
  Nanos connect_timeout = 5s;
  Nanos stall_timeout = 10s;
  // Of everything but fetch, whose callers have their own way to try again: after kUnavailable, and
  // kTimedOut where it writes, it waits retry_wait, then twice as long each time.
  int attempts_max = 4;
  Nanos retry_wait = 200ms;
  std::function<void(Nanos)> sleep;       // empty: the thread sleeps
  std::function<int64_t()> unix_seconds;  // the time, for signatures
};

// Returns bucket and prefix of "s3://bucket/prefix". ERRORS: kInvalid.
struct S3Location {
  std::string bucket;
  std::string prefix;
};
Result<S3Location> parse_s3_url(const std::string& url);

// Thread-safe, and safe beside other processes that use the same bucket. No redirect is followed:
// a signature is for one host. A process that uses https must ignore SIGPIPE.
class S3Store final : public repository::Store {
 public:
  // Asks nothing of the service yet. ERRORS: kInvalid: an option cannot be used.
  static Result<std::unique_ptr<S3Store>> create(S3Options options);

  // ERRORS of all: kDenied (keys, rights, region, a bucket that is not there, redirects,
  // certificates), saying which; kUnavailable (no connection, 5xx, 429); kTimedOut; kInvalid (the
  // path); kCorrupt (a listing that is none); kUnsupported (any other answer).

  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  // Lists the bucket.
  Result<std::vector<std::string>> list_images() override;
  std::string_view name() const override { return name_; }
  // False also where the service cannot be asked.
  bool contains(const std::string& path) override;
  // In one request, whatever the size; the service verifies the SHA-256. What is put is durable. A
  // put of a tag also brings images.json up to date.
  Status put(const std::string& path, ByteView data) override;
  Status flush() override { return {}; }
  // By the clock of the service: the time of a new object.
  Result<repository::StoreTime> now() override;
  Status list(const std::string& folder, const Visit& visit) override;
  Status renew(const std::string& path) override;
  // The service counts in seconds: what was renewed within the second of `newest` stays.
  // Nanos::max() is no condition, and works with every service.
  Result<bool> remove(const std::string& path, repository::StoreTime newest) override;

 private:
  struct Request {
    std::string attempted;  // "fetch"
    std::string path;       // of the object; empty: the bucket
    HttpMethod method = HttpMethod::kGet;
    std::map<std::string, std::string> query;
    std::map<std::string, std::string> headers;
    ByteView body;
    size_t size_max = 0;
  };

  S3Store(S3Options options, const HttpUrl& endpoint, std::unique_ptr<TransferPool> pool);
  std::string key_of(const std::string& path) const;
  Result<HttpReply> perform_with(const Request& request, const S3Credentials& credentials);
  Result<HttpReply> perform_once(const Request& request);  // again with other keys, if there are
  Result<HttpReply> perform(const Request& request);       // with retries
  std::unexpected<Error> refusal(const Request& request, const HttpReply& reply) const;
  // Returns when the object was last modified. ERRORS: kNotFound.
  Result<repository::StoreTime> modified(const std::string& path);
  Status put_object(const std::string& path, ByteView data);
  Result<bool> remove_object(const std::string& path, repository::StoreTime newest);
  Status require_conditional_removal();
  Status update_list();

  const S3Options options_;
  const std::string name_;  // "s3://bucket/prefix"
  std::string host_;        // as signed and sent
  std::string base_url_;    // "http://host"
  std::string base_path_;   // "/bucket" or ""
  const std::unique_ptr<TransferPool> pool_;
  std::mutex mutex_;
  std::shared_ptr<const S3Credentials> credentials_;  // guarded by mutex_
  std::atomic<bool> removes_conditionally_ = false;   // tried, and it does
};

}  // namespace forerun::net
