// The repository behind Debian's nginx: what comes back, and what every fault of a repository looks
// like.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "child.h"
#include "net/directory_store.h"
#include "net/http_source.h"
#include "repository/fetch.h"

namespace forerun {
namespace {

namespace fs = std::filesystem;
using namespace testing_support;
using net::DirectoryStore;
using net::HttpSource;

constexpr std::string_view kConfig = R"(
daemon off; master_process off; worker_processes 1;
error_log ROOT/error.log; pid ROOT/nginx.pid;
events { worker_connections 128; }
http {
  client_body_temp_path ROOT/t1; proxy_temp_path ROOT/t2; fastcgi_temp_path ROOT/t3;
  uwsgi_temp_path ROOT/t4; scgi_temp_path ROOT/t5;
  log_format line '$connection $status $request_uri';
  access_log ROOT/access.log line;
  keepalive_requests 100000;
  server {
    listen 127.0.0.1:PORT TLS;
    CERTIFICATES
    root ROOT/repo;
    location /busy/ { return 503; }
    location /slow-down/ { return 429; }
    location /private/ { return 403; }
    location /moved/ { return 302 http://127.0.0.1:PORT/images.json; }
  }
}
)";

std::string replaced_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

struct Nginx : testing::Test {
  void SetUp() override {
    if (!has_program("nginx"))
      GTEST_SKIP() << "nginx is not installed (packaging/packages.txt lists nginx-light)";
    port = free_port();
    start("", "");
    disk = make_disk(12 * kMiB + 512, 1);
    write_file(folder / "disk.raw", disk);
    auto opened = DirectoryStore::open(folder / "repo", DirectoryStore::Mode::kReadWrite);
    ASSERT_TRUE(opened) << opened.error().message;
    store = std::move(*opened);
    const auto result = import_file(folder / "disk.raw", *store, "one");
    ASSERT_TRUE(result) << result.error().message;
    tag = result->tag;
    index = *repository::fetch_index(*store, tag.index);
    source = open_source({.base_url = base_url("http")});
  }

  void start(std::string_view tls, std::string_view certificates) {
    std::string config = replaced_all(std::string(kConfig), "PORT", std::to_string(port));
    config = replaced_all(replaced_all(config, "TLS", tls), "CERTIFICATES", certificates);
    write_file(folder / "nginx.conf",
               as_bytes(replaced_all(config, "ROOT", folder.path().string())));
    nginx.reset();
    nginx.emplace(std::vector<std::string>{"nginx", "-p", folder.path(), "-c",
                                           folder / "nginx.conf", "-e", folder / "error.log"});
    ASSERT_TRUE(wait_for_port(port));
  }

  std::string base_url(const char* scheme) const {
    return fmt::format("{}://127.0.0.1:{}", scheme, port);
  }
  static std::unique_ptr<HttpSource> open_source(net::HttpOptions options) {
    auto opened = HttpSource::create(std::move(options));
    EXPECT_TRUE(opened) << opened.error().message;
    return std::move(*opened);
  }
  const repository::ChunkRef& stored_ref(size_t number) const {
    for (const auto& ref : index.chunks) {
      if (!ref.is_zero() && number-- == 0) return ref;
    }
    return index.chunks.front();
  }
  std::string file_of(const repository::ChunkRef& ref) const {
    return folder / ("repo/" + repository::chunk_path(ref.id));
  }
  ErrorCode code_of_chunk(const repository::ChunkRef& ref) const {
    const auto chunk = repository::fetch_chunk(*source, ref);
    return chunk ? ErrorCode::kInternal : chunk.error().code;
  }
  ErrorCode code_of(const std::string& path) const {
    const auto data = source->fetch(path, 1000);
    return data ? ErrorCode::kInternal : data.error().code;
  }

  ScratchFolder folder;
  uint16_t port = 0;
  std::optional<Child> nginx;
  Buffer disk;
  std::unique_ptr<DirectoryStore> store;
  std::unique_ptr<HttpSource> source;
  repository::ImageTag tag;
  repository::ImageIndex index;
};

TEST_F(Nginx, GivesTheImportedDiskBack) {
  EXPECT_EQ(*source->list_images(), std::vector<std::string>{"one"});
  EXPECT_EQ(*repository::fetch_tag(*source, "one"), tag);
  const auto back = read_back(*source, "one", 4);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(sha256(*back), sha256(disk));
}

TEST_F(Nginx, IsAskedOverOneConnectionByOneThread) {
  ASSERT_TRUE(read_back(*source, "one", 1));
  EXPECT_EQ(code_of("chunks/00/absent"), ErrorCode::kNotFound);
  ASSERT_TRUE(source->fetch("images.json", 1000));
  nginx->stop();  // writes its log out
  std::ifstream log(folder / "access.log");
  std::set<std::string> connections;
  size_t requests = 0;
  for (std::string line; std::getline(log, line); ++requests)
    connections.insert(line.substr(0, line.find(' ')));
  EXPECT_GT(requests, 50u);
  EXPECT_EQ(connections.size(), 1u);
}

TEST_F(Nginx, TruncatedChunkIsCorrupt) {
  fs::resize_file(file_of(stored_ref(0)), 100);
  fs::resize_file(file_of(stored_ref(1)), 0);
  EXPECT_EQ(code_of_chunk(stored_ref(0)), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of_chunk(stored_ref(1)), ErrorCode::kCorrupt);
}

TEST_F(Nginx, SwappedChunkIsCorrupt) {
  fs::copy_file(file_of(stored_ref(0)), file_of(stored_ref(1)),
                fs::copy_options::overwrite_existing);
  EXPECT_EQ(code_of_chunk(stored_ref(1)), ErrorCode::kCorrupt);
}

TEST_F(Nginx, FlippedByteIsCorrupt) {
  std::fstream file(file_of(stored_ref(2)), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(50);
  const char byte = static_cast<char>(file.peek() ^ 1);
  file.write(&byte, 1);
  file.close();
  EXPECT_EQ(code_of_chunk(stored_ref(2)), ErrorCode::kCorrupt);
}

TEST_F(Nginx, OversizedChunkIsTooLarge) {
  fs::resize_file(file_of(stored_ref(0)), 100 * kMiB);
  EXPECT_EQ(code_of_chunk(stored_ref(0)), ErrorCode::kTooLarge);
}

TEST_F(Nginx, MissingChunkIsNotFoundAndNamed) {
  fs::remove(file_of(stored_ref(0)));
  const auto chunk = repository::fetch_chunk(*source, stored_ref(0));
  ASSERT_FALSE(chunk);
  EXPECT_EQ(chunk.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(chunk.error().message, testing::HasSubstr(stored_ref(0).id.hex()));
}

TEST_F(Nginx, TamperedIndexIsCorrupt) {
  const std::string path = folder / ("repo/" + repository::index_path(tag.index));
  fs::resize_file(path, fs::file_size(path) - 1);
  EXPECT_EQ(repository::fetch_index(*source, tag.index).error().code, ErrorCode::kCorrupt);
}

TEST_F(Nginx, ReimportHealsWhatWasDamaged) {
  fs::resize_file(file_of(stored_ref(0)), 0);
  fs::copy_file(file_of(stored_ref(2)), file_of(stored_ref(1)),
                fs::copy_options::overwrite_existing);
  fs::remove(file_of(stored_ref(3)));
  const auto again = import_file(folder / "disk.raw", *store, "one");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->totals.repaired_chunks, 2u);
  EXPECT_EQ(again->totals.new_chunks, 1u);
  EXPECT_EQ(sha256(*read_back(*source, "one")), sha256(disk));
}

TEST_F(Nginx, AnswersMeanWhatTheyShould) {
  EXPECT_EQ(code_of("busy/x"), ErrorCode::kUnavailable);
  EXPECT_EQ(code_of("slow-down/x"), ErrorCode::kUnavailable);
  EXPECT_EQ(code_of("private/x"), ErrorCode::kDenied);
  EXPECT_EQ(*source->fetch("moved/x", 1000), *source->fetch("images.json", 1000));
}

TEST_F(Nginx, GoneAndBackIsUnavailableThenFine) {
  ASSERT_TRUE(source->fetch("images.json", 1000));
  nginx->stop();
  EXPECT_EQ(code_of("images.json"), ErrorCode::kUnavailable);
  EXPECT_EQ(code_of_chunk(stored_ref(0)), ErrorCode::kUnavailable);
  start("", "");
  EXPECT_TRUE(
      source->fetch("images.json", 1000));  // the connection it kept is dead: a new one is made
  EXPECT_EQ(code_of_chunk(stored_ref(0)), ErrorCode::kInternal);
}

TEST_F(Nginx, IsReachedDirectlyWhateverTheEnvironmentSays) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  EXPECT_TRUE(open_source({.base_url = base_url("http")})->fetch("images.json", 1000));
  unsetenv("http_proxy");
  unsetenv("ALL_PROXY");
}

struct NginxTls : Nginx {
  void SetUp() override {
    if (!has_program("openssl")) GTEST_SKIP() << "openssl is not installed";
    Nginx::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    make_certificate("ca", "basicConstraints=critical,CA:TRUE", "");
    make_certificate("server", "subjectAltName=IP:127.0.0.1", "ca");
    make_certificate("client", "extendedKeyUsage=clientAuth", "ca");
    make_certificate("stranger", "subjectAltName=IP:127.0.0.1", "");
    start("ssl",
          certificates("server") + "ssl_client_certificate ROOT/ca.pem; ssl_verify_client on;");
  }
  void make_certificate(const std::string& who, const std::string& extension,
                        const std::string& issuer) {
    std::vector<std::string> argv{"openssl",
                                  "req",
                                  "-x509",
                                  "-newkey",
                                  "ec",
                                  "-pkeyopt",
                                  "ec_paramgen_curve:P-256",
                                  "-nodes",
                                  "-days",
                                  "2",
                                  "-subj",
                                  "/O=Forerun/CN=" + who,
                                  "-addext",
                                  extension,
                                  "-keyout",
                                  folder / (who + ".key"),
                                  "-out",
                                  folder / (who + ".pem")};
    if (!issuer.empty()) {
      for (const std::string& argument : {std::string("-CA"), folder / (issuer + ".pem"),
                                          std::string("-CAkey"), folder / (issuer + ".key")}) {
        argv.push_back(argument);
      }
    }
    run_or_fail(argv);
  }
  static std::string certificates(const std::string& who) {
    return fmt::format("ssl_certificate ROOT/{0}.pem; ssl_certificate_key ROOT/{0}.key;", who);
  }
  net::HttpOptions options() const {
    return {.base_url = base_url("https"),
            .ca_file = folder / "ca.pem",
            .client_certificate_file = folder / "client.pem",
            .client_key_file = folder / "client.key"};
  }
  ErrorCode code_with(net::HttpOptions with) const {
    const auto data = open_source(std::move(with))->fetch("images.json", 1000);
    return data ? ErrorCode::kInternal : data.error().code;
  }
};

TEST_F(NginxTls, ServesClientsThatItKnowsAndThatKnowIt) {
  const auto secure = open_source(options());
  const auto back = read_back(*secure, "one", 2);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(sha256(*back), sha256(disk));
}

TEST_F(NginxTls, IsRefusedIfItsAuthorityIsNotOurs) {
  net::HttpOptions with = options();
  with.ca_file = folder / "stranger.pem";
  EXPECT_EQ(code_with(with), ErrorCode::kDenied);
  with.ca_file.clear();
  EXPECT_EQ(code_with(with), ErrorCode::kDenied);
}

TEST_F(NginxTls, RefusesClientsWithoutACertificate) {
  net::HttpOptions with = options();
  with.client_certificate_file.clear();
  with.client_key_file.clear();
  EXPECT_NE(code_with(with), ErrorCode::kInternal);
}

TEST_F(NginxTls, IsRefusedUnderAnotherName) {
  net::HttpOptions with = options();
  with.base_url = fmt::format("https://localhost:{}", port);
  EXPECT_EQ(code_with(with), ErrorCode::kDenied);
}

TEST_F(NginxTls, MayNotSendUsBackToPlainHttp) {
  const auto secure = open_source(options());
  EXPECT_EQ(secure->fetch("moved/x", 1000).error().code, ErrorCode::kDenied);
}

}  // namespace
}  // namespace forerun
