// A small HTTP/1.1 server for the control plane: on a unix socket, and on TCP where asked for.
// Beast and Asio live in its .cpp only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace forerun::net {

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // percent-encoded as it came, without the query
  std::string query;   // without the '?'
  std::string content_type;
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

// Called from several worker threads at once. May block.
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

struct HttpServerTls {
  std::string certificate_path, key_path;  // PEM
  std::string client_ca_path;              // clients must show a certificate that it signed
};

struct HttpServerOptions {
  std::string unix_path;      // empty: none
  unsigned unix_mode = 0660;  // who may connect may do everything: the socket's group is the role
  std::string tcp_address;    // numeric; empty: none. Without `tls` it must be a loopback address
  uint16_t tcp_port = 0;      // 0: any free one
  HttpServerTls tls;          // for TCP, if its certificate_path is set

  size_t header_bytes_max = 16 << 10;
  size_t body_bytes_max = 1 << 20;
  size_t connections_max = 256;  // more are answered 503 and closed
  size_t workers = 16;
  Nanos read_timeout = std::chrono::seconds(30);  // of one whole request, and of an idle connection
  Nanos write_timeout = std::chrono::seconds(30);
};

// One thread starts and stops it.
class HttpServer {
 public:
  // Starts to serve. ERRORS: kInvalid (nothing to listen on; TCP without TLS beyond loopback; bad
  // TLS files), kExists (a live server holds the socket), kDenied, kIo.
  static Result<std::unique_ptr<HttpServer>> start(HttpServerOptions options, HttpHandler handler);
  ~HttpServer();  // stop()

  uint16_t tcp_port() const;  // 0 without TCP
  // Closes all connections and waits for handlers that run. Idempotent.
  void stop();

 private:
  struct Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::net
