// TLS over a connected socket: the server's side, for clients of others' making; the client's side,
// for servers of others' making; and both sides of a connection between two hosts.
// SOURCE: RFC 8446 and RFC 5246 by OpenSSL 3; the folder's layout is QEMU's and libnbd's
// (nbd_set_tls_certificates(3)).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "os/socket.h"

namespace forerun::net {

struct TlsServerOptions {
  // Holds ca-cert.pem, server-cert.pem, server-key.pem, and ca-crl.pem if there are revoked
  // certificates.
  std::string folder;
  // The clients that are let in, by the whole distinguished name of their certificate, in either of
  // the two orders in use: RFC 4514's (openssl -nameopt RFC2253, certtool -i) or the certificate's
  // own, which is the reverse and what QEMU and libvirt compare. Empty: every client whose
  // certificate the CA signed.
  std::vector<std::string> allowed_names;
};

// Thread-safe.
class TlsServer {
 public:
  // Loads and checks the certificates: the key belongs to the certificate, and the CA's clients
  // would accept it now. ERRORS: kNotFound, kInvalid, kDenied, naming the file.
  static Result<std::unique_ptr<TlsServer>> load(TlsServerOptions options);
  ~TlsServer();

  // Reads the folder again, for the connections to come; after an error the old certificates stay.
  Status reload();

  // Does the TLS handshake with a client over `plain`, which must outlive the stream that is
  // returned and is used for nothing else but shut_down(). The stream may be read and written by
  // two threads at a time. ERRORS: kDenied (no certificate, a wrong one, a name that is not
  // allowed), kTimedOut, kUnavailable.
  Result<std::unique_ptr<os::ByteStream>> accept(os::ByteStream& plain, Nanos timeout);

 private:
  struct Impl;
  explicit TlsServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct TlsFiles {  // PEM
  std::string certificate, key, ca;
};

// TLS 1.2 or 1.3 to a server whose certificate the CA signed. Immutable.
class TlsClient {
 public:
  // Without `certificate` and `key` this side shows none. ERRORS: kNotFound, kInvalid.
  static Result<std::unique_ptr<TlsClient>> load(const TlsFiles& files);
  ~TlsClient();

  // Does the handshake over `plain`, as TlsServer::accept does. `host` is a DNS name or an IP
  // address; ERRORS: kDenied: the server's certificate is not the CA's, or not of `host`.
  Result<std::unique_ptr<os::ByteStream>> connect(os::ByteStream& plain, const std::string& host,
                                                  Nanos timeout);

 private:
  struct Impl;
  explicit TlsClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// TLS 1.3 between hosts whose certificates one CA signed. A host's name stands in its certificate
// as a DNS name, or else as the common name. Immutable.
class TlsPeer {
 public:
  // ERRORS: as TlsServer::load.
  static Result<std::unique_ptr<TlsPeer>> load(const TlsFiles& files);
  ~TlsPeer();

  // Both do the handshake over `plain`, as TlsServer::accept does. ERRORS: kDenied: the
  // certificate of the other side is none of the CA's, or not that of `host`, or of one of `hosts`;
  // kTimedOut, kUnavailable. Whether this host's own is accepted, the first read tells.
  Result<std::unique_ptr<os::ByteStream>> connect(os::ByteStream& plain, const std::string& host,
                                                  Nanos timeout);
  struct Accepted {
    std::unique_ptr<os::ByteStream> stream;
    std::string host;
  };
  Result<Accepted> accept(os::ByteStream& plain, const std::vector<std::string>& hosts,
                          Nanos timeout);

 private:
  struct Impl;
  explicit TlsPeer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::net
