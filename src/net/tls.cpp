#include "net/tls.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <climits>
#include <ctime>
#include <mutex>

#include "os/clock.h"
#include "os/file.h"

namespace forerun::net {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using ContextPtr = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Freer<SSL_free>>;
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;

constexpr size_t kRecordBytes = 16 * kKiB;

// Returns OpenSSL's reason for the last failure on this thread, and forgets it.
std::string last_reason() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return "no reason given";
  if (const char* reason = ERR_reason_error_string(code)) return reason;
  return fmt::format("OpenSSL error {:#x}", code);
}

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL: a client that hangs up would end the
// process by SIGPIPE.
int socket_of(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int bio_result(BIO* bio, ssize_t done, int retry_flag) {
  BIO_clear_retry_flags(bio);
  if (done < 0 && (errno == EAGAIN || errno == EINTR))
    BIO_set_flags(bio, retry_flag | BIO_FLAGS_SHOULD_RETRY);
  return static_cast<int>(done);
}

int bio_read(BIO* bio, char* out, int size) {
  return bio_result(bio, ::recv(socket_of(bio), out, static_cast<size_t>(size), MSG_DONTWAIT),
                    BIO_FLAGS_READ);
}

int bio_write(BIO* bio, const char* data, int size) {
  return bio_result(
      bio, ::send(socket_of(bio), data, static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL),
      BIO_FLAGS_WRITE);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "forerun socket");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

BIO* new_socket_bio(int fd) {
  BIO* bio = BIO_new(socket_method());
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

enum class NameOrder : uint8_t { kRfc4514, kCertificate };

// Returns the subject of a certificate in UTF-8. RFC 4514 begins with the last part of the
// certificate's sequence.
std::string subject_of(X509* certificate, NameOrder order) {
  unsigned long flags = XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB);
  if (order == NameOrder::kCertificate) flags &= ~static_cast<unsigned long>(XN_FLAG_DN_REV);
  const BioPtr text(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0, flags);
  char* data = nullptr;
  const long size = BIO_get_mem_data(text.get(), &data);
  return {data, static_cast<size_t>(size)};
}

// Waits until the socket is ready. Nothing is sent through `fd` here.
Status wait_for(int fd, short events, Nanos timeout) {
  pollfd wait{fd, events, 0};
  const int64_t ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  for (;;) {
    const int ready = ::poll(
        &wait, 1, timeout == Nanos::zero() ? -1 : static_cast<int>(std::min<int64_t>(ms, INT_MAX)));
    if (ready > 0) return {};
    if (ready == 0) return fail(ErrorCode::kTimedOut, "the TLS peer did not answer in time");
    if (errno != EINTR) return fail_errno("wait for a socket", errno);
  }
}

// TLS over a socket. An SSL object is not thread-safe, so each call of OpenSSL is made under a
// mutex and never blocks; waiting is done outside, so that a reader does not keep a writer from
// going on.
class TlsStream final : public os::ByteStream {
 public:
  TlsStream(SslPtr ssl, os::ByteStream& plain)
      : ssl_(std::move(ssl)), plain_(plain), record_(kRecordBytes) {}

  ~TlsStream() override {
    const std::lock_guard lock(mutex_);
    if (!failed_) SSL_shutdown(ssl_.get());  // tells the peer; does not wait for it
    ERR_clear_error();
  }

  // ERRORS: kDenied for a peer without an acceptable certificate; kTimedOut.
  Status handshake(std::string_view peer, Nanos timeout) {
    const os::SystemClock clock;
    const Time deadline = clock.now() + timeout;
    for (;;) {
      ERR_clear_error();
      const int done = SSL_do_handshake(ssl_.get());
      if (done == 1) return {};
      const int error = SSL_get_error(ssl_.get(), done);
      const long verified = SSL_get_verify_result(ssl_.get());
      const Result<short> events = events_after(error);
      if (!events && verified != X509_V_OK)
        return fail(ErrorCode::kDenied, fmt::format("the {}'s certificate is refused: {}", peer,
                                                    X509_verify_cert_error_string(verified)));
      if (!events)
        return fail(error == SSL_ERROR_SSL ? ErrorCode::kDenied : ErrorCode::kUnavailable,
                    fmt::format("the TLS handshake failed: {}", events.error().message));
      const Nanos left = deadline - clock.now();
      if (left <= Nanos::zero())
        return fail(ErrorCode::kTimedOut, "the TLS handshake took too long");
      FR_CHECK(wait_for(plain_.fd(), *events, left));
    }
  }

  // ERRORS: kDenied: a client of another name.
  Status check_name(const std::vector<std::string>& allowed_names) {
    const CertificatePtr certificate(SSL_get1_peer_certificate(ssl_.get()));
    if (certificate == nullptr) return fail(ErrorCode::kDenied, "the client showed no certificate");
    const std::string name = subject_of(certificate.get(), NameOrder::kRfc4514);
    const std::string name_as_in_certificate =
        subject_of(certificate.get(), NameOrder::kCertificate);
    if (allowed_names.empty()) return {};
    for (const std::string& allowed : allowed_names)
      if (allowed == name || allowed == name_as_in_certificate) return {};
    return fail(ErrorCode::kDenied, fmt::format("client \"{}\" is not on the list", name));
  }

  // Returns which of these hosts the peer's certificate names. ERRORS: kDenied: none of them.
  Result<std::string> host_of(const std::vector<std::string>& names) {
    const CertificatePtr certificate(SSL_get1_peer_certificate(ssl_.get()));
    if (certificate == nullptr) return fail(ErrorCode::kDenied, "the peer showed no certificate");
    for (const std::string& name : names)
      if (X509_check_host(certificate.get(), name.data(), name.size(), X509_CHECK_FLAG_NO_WILDCARDS,
                          nullptr) == 1)
        return name;
    return fail(ErrorCode::kDenied,
                fmt::format("the certificate of \"{}\" is not that of {}",
                            subject_of(certificate.get(), NameOrder::kRfc4514),
                            names.size() == 1 ? "host " + names[0] : "a host known here"));
  }

  // ERRORS: kDenied: the peer's certificate names no such host.
  Status check_host(const std::string& host) {
    const CertificatePtr certificate(SSL_get1_peer_certificate(ssl_.get()));
    if (certificate == nullptr) return fail(ErrorCode::kDenied, "the server showed no certificate");
    if (X509_check_host(certificate.get(), host.data(), host.size(), 0, nullptr) == 1 ||
        X509_check_ip_asc(certificate.get(), host.c_str(), 0) == 1)
      return {};
    return fail(ErrorCode::kDenied,
                fmt::format("the certificate of \"{}\" is not that of {}",
                            subject_of(certificate.get(), NameOrder::kRfc4514), host));
  }

  Result<size_t> read_some(MutableByteView out) override {
    for (;;) {
      short events = 0;
      {
        const std::lock_guard lock(mutex_);
        size_t got = 0;
        ERR_clear_error();
        if (SSL_read_ex(ssl_.get(), out.data(), out.size(), &got) == 1) return got;
        const int error = SSL_get_error(ssl_.get(), 0);
        if (error == SSL_ERROR_ZERO_RETURN) return size_t{0};
        FR_TRY(events, events_after(error));
      }
      FR_CHECK(wait_for(plain_.fd(), events, timeout_.load()));
    }
  }

  // The parts are copied into whole records, so that many small ones do not become many packets.
  Status write_all(std::span<const iovec> parts) override {
    size_t filled = 0;
    for (const iovec& part : parts) {
      ByteView rest(static_cast<const std::byte*>(part.iov_base), part.iov_len);
      while (!rest.empty()) {
        const size_t taken = std::min(rest.size(), kRecordBytes - filled);
        std::memcpy(record_.data() + filled, rest.data(), taken);
        rest = rest.subspan(taken);
        filled += taken;
        if (filled < kRecordBytes) continue;
        FR_CHECK(write_record(filled));
        filled = 0;
      }
    }
    return filled == 0 ? Status{} : write_record(filled);
  }

  Status set_timeout(Nanos timeout) override {
    timeout_ = timeout;
    return {};
  }
  void shut_down() override { plain_.shut_down(); }
  int fd() const override { return plain_.fd(); }
  SSL* ssl() { return ssl_.get(); }

 private:
  Status write_record(size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
      short events = 0;
      {
        const std::lock_guard lock(mutex_);
        size_t put = 0;
        ERR_clear_error();
        if (SSL_write_ex(ssl_.get(), record_.data() + done, bytes - done, &put) == 1) {
          done += put;
          continue;
        }
        FR_TRY(events, events_after(SSL_get_error(ssl_.get(), 0)));
      }
      FR_CHECK(wait_for(plain_.fd(), events, timeout_.load()));
    }
    return {};
  }

  // Returns what to wait for before the call is repeated. REQUIRES: mutex_ is held.
  Result<short> events_after(int error) {
    if (error == SSL_ERROR_WANT_READ) return short{POLLIN};
    if (error == SSL_ERROR_WANT_WRITE) return short{POLLOUT};
    failed_ = true;  // OpenSSL forbids even a shutdown now
    if (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0)
      return fail(ErrorCode::kUnavailable, "the TLS connection was cut");
    return fail(ErrorCode::kUnavailable, fmt::format("TLS failed: {}", last_reason()));
  }

  std::mutex mutex_;  // guards ssl_ and failed_
  SslPtr ssl_;
  bool failed_ = false;
  os::ByteStream& plain_;
  std::atomic<Nanos> timeout_{Nanos::zero()};
  Buffer record_;  // of the writer
};

Status check_exists(const std::string& path) {
  if (os::path_exists(path)) return {};
  return fail(ErrorCode::kNotFound, fmt::format("cannot set up TLS: {} is missing", path));
}

std::unexpected<Error> bad_file(const std::string& path) {
  return fail(ErrorCode::kInvalid, fmt::format("cannot use {}: {}", path, last_reason()));
}

// A certificate that clients would refuse is reported now, not by them.
Status check_own_certificate(SSL_CTX* context, const std::string& path) {
  const StoreContextPtr check(X509_STORE_CTX_new());
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(context, &chain);
  if (check == nullptr || X509_STORE_CTX_init(check.get(), SSL_CTX_get_cert_store(context),
                                              SSL_CTX_get0_certificate(context), chain) != 1)
    return bad_file(path);
  X509_STORE_CTX_set_default(check.get(), "ssl_server");
  if (X509_verify_cert(check.get()) == 1) return {};
  const int why = X509_STORE_CTX_get_error(check.get());
  ERR_clear_error();
  return fail(ErrorCode::kDenied,
              fmt::format("clients would refuse {}: {}", path, X509_verify_cert_error_string(why)));
}

Status load_revocations(SSL_CTX* context, const std::string& path) {
  if (!os::path_exists(path)) return {};
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  if (lookup == nullptr || X509_load_crl_file(lookup, path.c_str(), X509_FILETYPE_PEM) < 1)
    return bad_file(path);
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
  return {};
}

// The other end must show a certificate of the CA; this one does, if it is given one.
Result<ContextPtr> new_context(const TlsFiles& files, const SSL_METHOD* method, int version_min) {
  const bool has_own = !files.certificate.empty();
  FR_CHECK(check_exists(files.ca));
  if (has_own) FR_CHECK(check_exists(files.certificate));
  if (has_own) FR_CHECK(check_exists(files.key));
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(method));
  if (context == nullptr)
    return fail(ErrorCode::kInternal, fmt::format("cannot set up TLS: {}", last_reason()));
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, version_min);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Every connection shows its certificate: nothing is resumed.
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(raw, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (SSL_CTX_load_verify_file(raw, files.ca.c_str()) != 1) return bad_file(files.ca);
  if (!has_own) return context;
  if (SSL_CTX_use_certificate_chain_file(raw, files.certificate.c_str()) != 1)
    return bad_file(files.certificate);
  if (SSL_CTX_use_PrivateKey_file(raw, files.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return bad_file(files.key);
  if (SSL_CTX_check_private_key(raw) != 1) return bad_file(files.key);
  return context;
}

Result<ContextPtr> load_context(const std::string& folder) {
  const TlsFiles files{folder + "/server-cert.pem", folder + "/server-key.pem",
                       folder + "/ca-cert.pem"};
  FR_TRY(ContextPtr context, new_context(files, TLS_server_method(), TLS1_2_VERSION));
  SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(files.ca.c_str()));
  FR_CHECK(check_own_certificate(context.get(), files.certificate));
  FR_CHECK(load_revocations(context.get(), folder + "/ca-crl.pem"));
  return context;
}

Result<std::unique_ptr<TlsStream>> new_stream(SSL_CTX* context, os::ByteStream& plain) {
  ERR_clear_error();
  SslPtr ssl(SSL_new(context));
  BIO* bio = ssl == nullptr ? nullptr : new_socket_bio(plain.fd());
  if (bio == nullptr)
    return fail(ErrorCode::kInternal, fmt::format("cannot begin TLS: {}", last_reason()));
  SSL_set_bio(ssl.get(), bio, bio);
  return std::make_unique<TlsStream>(std::move(ssl), plain);
}

}  // namespace

struct TlsServer::Impl {
  TlsServerOptions options;
  std::mutex mutex;  // guards context
  std::shared_ptr<SSL_CTX> context;
};

TlsServer::TlsServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsServer::~TlsServer() = default;

Result<std::unique_ptr<TlsServer>> TlsServer::load(TlsServerOptions options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  std::unique_ptr<TlsServer> server(new TlsServer(std::move(impl)));
  FR_CHECK(server->reload());
  return server;
}

Status TlsServer::reload() {
  FR_TRY(ContextPtr loaded, load_context(impl_->options.folder));
  std::shared_ptr<SSL_CTX> context(loaded.release(), SSL_CTX_free);
  const std::lock_guard lock(impl_->mutex);
  impl_->context.swap(context);
  return {};
}

Result<std::unique_ptr<os::ByteStream>> TlsServer::accept(os::ByteStream& plain, Nanos timeout) {
  std::shared_ptr<SSL_CTX> context;
  {
    const std::lock_guard lock(impl_->mutex);
    context = impl_->context;
  }
  FR_TRY(auto stream, new_stream(context.get(), plain));
  SSL_set_accept_state(stream->ssl());
  FR_CHECK(stream->handshake("client", timeout));
  FR_CHECK(stream->check_name(impl_->options.allowed_names));
  return stream;
}

struct TlsClient::Impl {
  ContextPtr context;
};

TlsClient::TlsClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsClient::~TlsClient() = default;

Result<std::unique_ptr<TlsClient>> TlsClient::load(const TlsFiles& files) {
  auto impl = std::make_unique<Impl>();
  FR_TRY(impl->context, new_context(files, TLS_client_method(), TLS1_2_VERSION));
  return std::unique_ptr<TlsClient>(new TlsClient(std::move(impl)));
}

Result<std::unique_ptr<os::ByteStream>> TlsClient::connect(os::ByteStream& plain,
                                                           const std::string& host, Nanos timeout) {
  FR_TRY(auto stream, new_stream(impl_->context.get(), plain));
  SSL_set_tlsext_host_name(stream->ssl(), host.c_str());
  SSL_set_connect_state(stream->ssl());
  FR_CHECK(stream->handshake("server", timeout));
  FR_CHECK(stream->check_host(host));
  return stream;
}

struct TlsPeer::Impl {
  ContextPtr client, server;
};

TlsPeer::TlsPeer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsPeer::~TlsPeer() = default;

Result<std::unique_ptr<TlsPeer>> TlsPeer::load(const TlsFiles& files) {
  auto impl = std::make_unique<Impl>();
  FR_TRY(impl->client, new_context(files, TLS_client_method(), TLS1_3_VERSION));
  FR_TRY(impl->server, new_context(files, TLS_server_method(), TLS1_3_VERSION));
  FR_CHECK(check_own_certificate(impl->server.get(), files.certificate));
  return std::unique_ptr<TlsPeer>(new TlsPeer(std::move(impl)));
}

Result<std::unique_ptr<os::ByteStream>> TlsPeer::connect(os::ByteStream& plain,
                                                         const std::string& host, Nanos timeout) {
  FR_TRY(auto stream, new_stream(impl_->client.get(), plain));
  SSL_set_connect_state(stream->ssl());
  FR_CHECK(stream->handshake("host", timeout));
  FR_CHECK(stream->host_of({host}));
  return stream;
}

Result<TlsPeer::Accepted> TlsPeer::accept(os::ByteStream& plain,
                                          const std::vector<std::string>& hosts, Nanos timeout) {
  FR_TRY(auto stream, new_stream(impl_->server.get(), plain));
  SSL_set_accept_state(stream->ssl());
  FR_CHECK(stream->handshake("host", timeout));
  FR_TRY(std::string host, stream->host_of(hosts));
  return Accepted{std::move(stream), std::move(host)};
}

}  // namespace forerun::net
