// The server's side of TLS over a connected socket, with client certificates.
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

}  // namespace forerun::net
