#include "net/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

namespace forerun::net {
namespace {

struct Identity {
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;

  Identity() = default;
  Identity(Identity&& other) noexcept
      : key(std::exchange(other.key, nullptr)),
        certificate(std::exchange(other.certificate, nullptr)) {}
  ~Identity() {
    EVP_PKEY_free(key);
    X509_free(certificate);
  }
};

struct Recipe {
  std::string organization = "Forerun";
  std::string common_name;
  const char* usage = nullptr;  // null: a CA
  long valid_s = 3600;
};

void add_extension(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

void add_name(X509_NAME* name, const char* field, const std::string& value) {
  X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(value.c_str()), -1, -1, 0);
}

// Signed by `issuer`, or by itself.
Identity issue(const Recipe& recipe, const Identity* issuer = nullptr) {
  static long serial = 1;
  Identity made;
  made.key = EVP_EC_gen("P-256");
  made.certificate = X509_new();
  X509_set_version(made.certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
  X509_gmtime_adj(X509_getm_notBefore(made.certificate), -7200);
  X509_gmtime_adj(X509_getm_notAfter(made.certificate), recipe.valid_s);
  X509_set_pubkey(made.certificate, made.key);
  X509_NAME* name = X509_get_subject_name(made.certificate);
  add_name(name, "CN", recipe.common_name);
  add_name(name, "O", recipe.organization);
  X509_set_issuer_name(made.certificate,
                       issuer == nullptr ? name : X509_get_subject_name(issuer->certificate));
  add_extension(made.certificate, NID_basic_constraints,
                recipe.usage == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (recipe.usage != nullptr) add_extension(made.certificate, NID_ext_key_usage, recipe.usage);
  X509_sign(made.certificate, issuer == nullptr ? made.key : issuer->key, EVP_sha256());
  return made;
}

void write_pem(const std::string& path, const X509* certificate, EVP_PKEY* key) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (certificate != nullptr) PEM_write_X509(file, certificate);
  if (key != nullptr) PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
  std::fclose(file);
}

class TlsTest : public testing::Test {
 protected:
  TlsTest() {
    std::string pattern = testing::TempDir() + "forerun-tls-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    write_folder(issue({.common_name = "host", .usage = "serverAuth"}, &ca_));
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    plain_ = std::make_unique<os::SocketStream>(os::Fd(ends[0]));
    peer_ = os::Fd(ends[1]);
  }
  ~TlsTest() override { std::filesystem::remove_all(folder_); }

  void write_folder(const Identity& server) {
    write_pem(folder_ + "/ca-cert.pem", ca_.certificate, nullptr);
    write_pem(folder_ + "/server-cert.pem", server.certificate, nullptr);
    write_pem(folder_ + "/server-key.pem", nullptr, server.key);
  }

  // A client with `identity` (none if null) that, once connected, does `with(ssl)` on its own
  // thread.
  std::thread client(const Identity* identity, std::function<void(SSL*)> with) {
    return std::thread([this, identity, with = std::move(with)] {
      // OpenSSL's own socket BIO raises it here; on the server's side it must never come.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      SSL_CTX* context = SSL_CTX_new(TLS_client_method());
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca_.certificate);
      SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
      if (identity != nullptr) {
        SSL_CTX_use_certificate(context, identity->certificate);
        SSL_CTX_use_PrivateKey(context, identity->key);
      }
      SSL* ssl = SSL_new(context);
      SSL_set_fd(ssl, peer_.get());
      if (SSL_connect(ssl) == 1) with(ssl);
      ::shutdown(peer_.get(), SHUT_RDWR);
      SSL_free(ssl);
      SSL_CTX_free(context);
      ERR_clear_error();
    });
  }

  Result<std::unique_ptr<os::ByteStream>> accept(std::vector<std::string> allowed = {}) {
    auto server = TlsServer::load({.folder = folder_, .allowed_names = std::move(allowed)});
    EXPECT_TRUE(server);
    return (*server)->accept(*plain_, 5s);
  }
  // Returns why the server refuses this client.
  Error refusal_of(const Identity* identity, std::vector<std::string> allowed = {}) {
    std::thread peer = client(identity, [](SSL*) {});
    auto accepted = accept(std::move(allowed));
    plain_->shut_down();
    peer.join();
    EXPECT_FALSE(accepted);
    return accepted ? Error{} : accepted.error();
  }

  Identity ca_ = issue({.common_name = "CA"});
  std::string folder_;
  std::unique_ptr<os::SocketStream> plain_;
  os::Fd peer_;
};

TEST_F(TlsTest, CarriesBytesBothWaysAtOnce) {
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &ca_);
  constexpr size_t kBytes = 300'000;
  std::thread peer = client(&identity, [](SSL* ssl) {
    std::string data(kBytes, 'c');
    EXPECT_EQ(SSL_write(ssl, data.data(), kBytes), static_cast<int>(kBytes));
    for (size_t got = 0; got < kBytes;) {
      const int now = SSL_read(ssl, data.data(), kBytes);
      ASSERT_GT(now, 0);
      got += static_cast<size_t>(now);
    }
    EXPECT_EQ(data[0], 's');
  });
  auto stream = accept({"O=Forerun,CN=client-a"});
  ASSERT_TRUE(stream) << stream.error().message;

  std::thread writer([&] {
    const Buffer data(kBytes / 2, std::byte{'s'});
    const iovec part{const_cast<std::byte*>(data.data()), data.size()};
    const std::array<iovec, 2> parts{part, part};
    EXPECT_TRUE((*stream)->write_all(parts));
  });
  Buffer got(kBytes);
  EXPECT_TRUE((*stream)->read_exact(got));

  writer.join();
  peer.join();
  EXPECT_EQ(got, Buffer(kBytes, std::byte{'c'}));
}

TEST_F(TlsTest, SeesTheOrderlyEnd) {
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &ca_);
  std::thread peer = client(&identity, [](SSL* ssl) { SSL_shutdown(ssl); });
  auto stream = accept();
  ASSERT_TRUE(stream);

  Buffer buffer(1);
  const auto got = (*stream)->read_some(buffer);

  peer.join();
  EXPECT_EQ(got.value_or(99), 0u);
}

TEST_F(TlsTest, ShutDownEndsAReader) {
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &ca_);
  std::thread peer = client(&identity, [](SSL* ssl) {
    char byte;
    SSL_read(ssl, &byte, 1);
  });
  auto stream = accept();
  ASSERT_TRUE(stream);

  std::thread ender([&] { (*stream)->shut_down(); });
  Buffer buffer(1);
  EXPECT_FALSE((*stream)->read_some(buffer));

  ender.join();
  peer.join();
}

TEST_F(TlsTest, GivesUpOnASilentClient) {
  EXPECT_EQ(TlsServer::load({.folder = folder_}).value()->accept(*plain_, 1ms).error().code,
            ErrorCode::kTimedOut);
}

TEST_F(TlsTest, RefusesPlainText) {
  ASSERT_EQ(::write(peer_.get(), "NBDMAGIC NBDMAGIC", 17), 17);
  EXPECT_EQ(accept().error().code, ErrorCode::kDenied);
}

TEST_F(TlsTest, RefusesAClientWithoutCertificate) {
  EXPECT_EQ(refusal_of(nullptr).code, ErrorCode::kDenied);
}

TEST_F(TlsTest, RefusesAForeignCa) {
  const Identity other_ca = issue({.common_name = "CA"});
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &other_ca);

  const Error error = refusal_of(&identity);

  EXPECT_EQ(error.code, ErrorCode::kDenied);
  EXPECT_THAT(error.message, testing::HasSubstr("client's certificate is refused"));
}

TEST_F(TlsTest, RefusesAnExpiredCertificate) {
  const Identity identity =
      issue({.common_name = "client-a", .usage = "clientAuth", .valid_s = -60}, &ca_);

  EXPECT_THAT(refusal_of(&identity).message, testing::HasSubstr("expired"));
}

TEST_F(TlsTest, RefusesAServersCertificateFromAClient) {
  const Identity identity = issue({.common_name = "client-a", .usage = "serverAuth"}, &ca_);

  EXPECT_EQ(refusal_of(&identity).code, ErrorCode::kDenied);
}

TEST_F(TlsTest, AcceptsANameInTheOrderOfTheCertificate) {
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &ca_);
  std::thread peer = client(&identity, [](SSL*) {});

  EXPECT_TRUE(accept({"CN=client-a,O=Forerun"}));

  peer.join();
}

TEST_F(TlsTest, RefusesANameThatIsNotOnTheList) {
  const Identity identity = issue({.common_name = "client-b", .usage = "clientAuth"}, &ca_);

  const Error error = refusal_of(&identity, {"O=Forerun,CN=client-a", "CN=client-b", ""});

  EXPECT_EQ(error.message, "client \"O=Forerun,CN=client-b\" is not on the list");
}

TEST_F(TlsTest, NamesTheMissingFile) {
  ::unlink((folder_ + "/server-key.pem").c_str());

  const auto server = TlsServer::load({.folder = folder_});

  EXPECT_EQ(server.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(server.error().message, testing::HasSubstr("server-key.pem"));
}

TEST_F(TlsTest, RefusesAKeyOfAnotherCertificate) {
  write_pem(folder_ + "/server-key.pem", nullptr, ca_.key);

  EXPECT_FALSE(TlsServer::load({.folder = folder_}));
}

TEST_F(TlsTest, RefusesACertificateThatClientsWouldRefuse) {
  write_folder(issue({.common_name = "host", .usage = "serverAuth", .valid_s = -60}, &ca_));

  const auto server = TlsServer::load({.folder = folder_});

  EXPECT_EQ(server.error().code, ErrorCode::kDenied);
  EXPECT_THAT(server.error().message, testing::HasSubstr("expired"));
}

TEST_F(TlsTest, ReloadKeepsTheOldCertificatesAfterAnError) {
  const auto server = TlsServer::load({.folder = folder_}).value();
  const Identity identity = issue({.common_name = "client-a", .usage = "clientAuth"}, &ca_);
  ::unlink((folder_ + "/server-key.pem").c_str());
  EXPECT_FALSE(server->reload());

  std::thread peer = client(&identity, [](SSL*) {});
  EXPECT_TRUE(server->accept(*plain_, 5s));

  peer.join();
}

// Two hosts of one CA, a and b, over a pair of sockets.
class TlsPeerTest : public TlsTest {
 protected:
  std::unique_ptr<TlsPeer> peer_of(const std::string& name, const Identity& ca) {
    const Identity own = issue({.common_name = name}, &ca);
    const TlsFiles files{folder_ + "/" + name + ".pem", folder_ + "/" + name + ".key",
                         folder_ + "/ca-cert.pem"};
    write_pem(files.certificate, own.certificate, nullptr);
    write_pem(files.key, nullptr, own.key);
    auto loaded = TlsPeer::load(files);
    EXPECT_TRUE(loaded) << loaded.error().message;
    return std::move(*loaded);
  }
  // `a` connects to a host that it takes for `to`; `b` knows `hosts`.
  struct Outcome {
    Result<std::unique_ptr<os::ByteStream>> connected;
    Result<TlsPeer::Accepted> accepted;
  };
  Outcome shake(const std::string& to, const std::vector<std::string>& hosts) {
    const auto a = peer_of("a", ca_), b = peer_of("b", ca_);
    peer_stream_ = std::make_unique<os::SocketStream>(std::move(peer_));
    Outcome outcome{fail(ErrorCode::kInternal, "not done"), fail(ErrorCode::kInternal, "not done")};
    {
      const std::jthread connecting([&] {
        outcome.connected = a->connect(*peer_stream_, to, 5s);
        if (!outcome.connected) peer_stream_->shut_down();
      });
      outcome.accepted = b->accept(*plain_, hosts, 5s);
      if (!outcome.accepted) plain_->shut_down();
    }
    return outcome;
  }
  std::unique_ptr<os::SocketStream> peer_stream_;
};

TEST_F(TlsPeerTest, BothEndsKnowEachOther) {
  const Outcome outcome = shake("b", {"a", "c"});
  ASSERT_TRUE(outcome.connected) << outcome.connected.error().message;
  ASSERT_TRUE(outcome.accepted) << outcome.accepted.error().message;
  EXPECT_EQ(outcome.accepted->host, "a");
  ASSERT_TRUE((*outcome.connected)->write_bytes(as_bytes("hello")));
  Buffer got(5);
  ASSERT_TRUE(outcome.accepted->stream->read_exact(got));
  EXPECT_EQ(as_text(got), "hello");
}

TEST_F(TlsPeerTest, RefusesAHostOfAnotherName) {
  const Outcome outcome = shake("c", {"a"});
  ASSERT_FALSE(outcome.connected);
  EXPECT_EQ(outcome.connected.error().code, ErrorCode::kDenied);
  EXPECT_NE(outcome.connected.error().message.find("is not that of host c"), std::string::npos);
}

TEST_F(TlsPeerTest, RefusesAHostThatIsNotConfigured) {
  const Outcome outcome = shake("b", {"c"});
  ASSERT_FALSE(outcome.accepted);
  EXPECT_EQ(outcome.accepted.error().code, ErrorCode::kDenied);
}

}  // namespace
}  // namespace forerun::net
