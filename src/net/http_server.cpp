// One coroutine per connection on one I/O thread; handlers on a pool, so that a slow one holds up
// only its own client. Coroutines take their parameters by value and are no lambdas.
#include "net/http_server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include "core/log.h"
#include "core/metrics.h"
#include "os/socket.h"

namespace forerun::net {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::awaitable;
using PlainStream = beast::basic_stream<asio::generic::stream_protocol>;
using TlsStream = asio::ssl::stream<PlainStream>;
using Reply = http::response<http::string_body>;
constexpr auto kNoThrow = asio::as_tuple(asio::use_awaitable);

// What the sessions share. Outlives them all.
struct Shared {
  HttpServerOptions options;
  HttpHandler handler;
  asio::ssl::context* tls = nullptr;  // of TCP; null: plain
  asio::thread_pool* workers = nullptr;
  size_t connections = 0;  // I/O thread only
};

// Counts a connection for as long as its session lives.
class Ticket {
 public:
  explicit Ticket(Shared* shared) : shared_(shared) { ++shared_->connections; }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() { --shared_->connections; }

 private:
  Shared* shared_;
};

HttpResponse problem(int status, std::string_view title) {
  return {status,
          "application/problem+json",
          fmt::format(R"({{"type":"/problems/http","title":"{}","status":{}}})", title, status),
          {}};
}

// Returns the answer to a request that could not be read, or nothing if the peer just went away.
std::optional<HttpResponse> answer_to(const beast::error_code& error) {
  if (error == http::error::body_limit) return problem(413, "the body is too large");
  if (error == http::error::header_limit) return problem(431, "the header is too large");
  const bool malformed =
      error.category() == http::make_error_code(http::error::bad_method).category();
  if (malformed && error != http::error::end_of_stream && error != http::error::partial_message) {
    return problem(400, "the request is no HTTP");
  }
  return std::nullopt;
}

bool is_loopback_host(std::string_view host) {
  if (host.starts_with('[')) return host.starts_with("[::1]");
  host = host.substr(0, host.find(':'));
  return host == "localhost" || host.starts_with("127.");
}

HttpRequest as_request(const http::request<http::string_body>& message) {
  HttpRequest request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t mark = target.find('?');
  request.path = std::string(target.substr(0, mark));
  if (mark != std::string_view::npos) request.query = std::string(target.substr(mark + 1));
  request.content_type = std::string(message[http::field::content_type]);
  request.body = message.body();
  return request;
}

Reply as_reply(HttpResponse response, unsigned version, bool keep_alive, bool head) {
  Reply reply(static_cast<http::status>(response.status), version);
  for (const auto& [name, value] : response.headers) reply.set(name, value);
  reply.set(http::field::content_type, response.content_type);
  reply.set("X-Content-Type-Options", "nosniff");
  reply.keep_alive(keep_alive);
  reply.content_length(response.body.size());
  if (!head) reply.body() = std::move(response.body);
  metrics::counter("forerun_http_requests_total", "HTTP requests answered, by status class",
                   fmt::format("class=\"{}xx\"", response.status / 100))
      .add();
  return reply;
}

// Runs on the pool.
awaitable<HttpResponse> call_handler(const Shared* shared, HttpRequest request) {
  try {
    co_return shared->handler(request);
  } catch (const std::exception& error) {  // from a library: our own code returns errors
    log::error("cannot answer {} {}: {}", request.method, request.path, error.what());
    co_return problem(500, "the daemon failed to answer");
  }
}

template <typename Stream>
awaitable<bool> send(Stream* stream, Shared* shared, Reply reply) {
  beast::get_lowest_layer(*stream).expires_after(shared->options.write_timeout);
  const auto [error, count] = co_await http::async_write(*stream, reply, kNoThrow);
  co_return !error && reply.keep_alive();
}

// Reads what the peer still sends, so that closing does not reset the connection before it saw our
// answer.
awaitable<void> drain(PlainStream* stream) {
  beast::error_code ignored;
  stream->socket().shutdown(asio::socket_base::shutdown_send, ignored);
  stream->expires_after(std::chrono::seconds(2));
  std::array<char, 4096> sink;
  for (size_t bytes = 0; bytes < (8u << 20);) {
    const auto [error, count] = co_await stream->async_read_some(asio::buffer(sink), kNoThrow);
    if (error) co_return;
    bytes += count;
  }
}

template <typename Stream>
awaitable<void> serve_requests(Stream* stream, Shared* shared, bool check_host) {
  beast::flat_buffer buffer(shared->options.header_bytes_max + shared->options.body_bytes_max);
  PlainStream& plain = beast::get_lowest_layer(*stream);
  for (bool again = true; again;) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<uint32_t>(shared->options.header_bytes_max));
    parser.body_limit(shared->options.body_bytes_max);
    plain.expires_after(shared->options.read_timeout);
    const auto [error, count] = co_await http::async_read(*stream, buffer, parser, kNoThrow);
    if (error) {
      if (auto answer = answer_to(error)) {
        co_await send(stream, shared, as_reply(std::move(*answer), 11, false, false));
        co_await drain(&plain);
      }
      co_return;
    }
    plain.expires_never();
    const auto& message = parser.get();
    const bool head = message.method() == http::verb::head;
    // A page in a browser can make it send requests to loopback under a name of its own.
    const bool foreign = check_host && (!is_loopback_host(message[http::field::host]) ||
                                        message.count(http::field::origin) != 0);
    HttpResponse response = problem(403, "only for clients on this host that are no browser");
    if (!foreign) {
      response = co_await asio::co_spawn(
          *shared->workers, call_handler(shared, as_request(message)), asio::use_awaitable);
    }
    again =
        co_await send(stream, shared,
                      as_reply(std::move(response), message.version(), message.keep_alive(), head));
  }
  beast::error_code ignored;
  plain.socket().shutdown(asio::socket_base::shutdown_send, ignored);
}

awaitable<void> serve(PlainStream stream, Shared* shared, bool tcp) {
  const Ticket ticket(shared);
  const size_t connections_max = shared->options.connections_max;
  if (shared->connections > 2 * connections_max) co_return;  // a flood gets no answer
  if (shared->connections > connections_max) {
    const HttpResponse full = problem(503, "too many connections");
    if (!tcp || !shared->tls) co_await send(&stream, shared, as_reply(full, 11, false, false));
    co_await drain(&stream);
    co_return;
  }
  if (!tcp || !shared->tls) {
    co_await serve_requests(&stream, shared, tcp);
    co_return;
  }
  TlsStream secure(std::move(stream), *shared->tls);
  secure.next_layer().expires_after(shared->options.read_timeout);
  const auto [error] = co_await secure.async_handshake(asio::ssl::stream_base::server, kNoThrow);
  if (error) co_return;
  co_await serve_requests(&secure, shared, false);
}

void on_session_end(std::exception_ptr failure) {  // NOLINT(performance-unnecessary-value-param)
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    log::warn("an API connection ended early: {}", error.what());
  }
}

template <typename Acceptor>
awaitable<void> accept_all(Acceptor* acceptor, Shared* shared, bool tcp) {
  const auto executor = acceptor->get_executor();
  asio::steady_timer pause(executor);
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept(kNoThrow);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {  // out of descriptors: connections that end will give some back
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(kNoThrow);
      continue;
    }
    asio::generic::stream_protocol::socket plain(std::move(socket));
    asio::co_spawn(executor, serve(PlainStream(std::move(plain)), shared, tcp), &on_session_end);
  }
}

Status check(const HttpServerOptions& options) {
  if (options.unix_path.empty() && options.tcp_address.empty()) {
    return fail(ErrorCode::kInvalid,
                "the API has neither a unix socket nor an address to listen on");
  }
  if (options.tcp_address.empty()) return {};
  beast::error_code error;
  const auto address = asio::ip::make_address(options.tcp_address, error);
  if (error) {
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not a numeric address", options.tcp_address));
  }
  if (!address.is_loopback() && options.tls.certificate_path.empty()) {
    return fail(ErrorCode::kInvalid,
                fmt::format("the API listens on {} only with TLS and client certificates",
                            options.tcp_address));
  }
  return {};
}

Status configure_tls(asio::ssl::context& context, const HttpServerTls& files) {
  const auto failed = [](const std::string& path, const beast::error_code& error) {
    return fail(ErrorCode::kInvalid, fmt::format("cannot use {}: {}", path, error.message()));
  };
  beast::error_code error;
  if (context.use_certificate_chain_file(files.certificate_path, error)) {
    return failed(files.certificate_path, error);
  }
  if (context.use_private_key_file(files.key_path, asio::ssl::context::pem, error)) {
    return failed(files.key_path, error);
  }
  if (context.load_verify_file(files.client_ca_path, error)) {
    return failed(files.client_ca_path, error);
  }
  context.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
  return {};
}

}  // namespace

struct HttpServer::Impl {
  Shared shared;
  asio::io_context io{1};
  asio::ssl::context tls{asio::ssl::context::tls_server};
  asio::thread_pool workers;
  asio::local::stream_protocol::acceptor unix_acceptor{io};
  asio::ip::tcp::acceptor tcp_acceptor{io};
  uint16_t tcp_port = 0;
  std::jthread thread;

  explicit Impl(size_t worker_count) : workers(worker_count) {}

  Status listen() {
    const HttpServerOptions& options = shared.options;
    beast::error_code error;
    if (!options.unix_path.empty()) {
      FR_TRY(os::Fd fd, os::listen_unix(options.unix_path, options.unix_mode));
      // The umask took bits away when the name was made.
      if (::chmod(options.unix_path.c_str(), options.unix_mode) != 0) {
        return fail_errno(fmt::format("set the mode of {}", options.unix_path), errno);
      }
      unix_acceptor.assign(asio::local::stream_protocol(), fd.release(), error);
      if (error) return fail(ErrorCode::kIo, fmt::format("cannot listen: {}", error.message()));
    }
    if (options.tcp_address.empty()) return {};
    FR_TRY(os::Fd fd, os::listen_tcp(options.tcp_address, options.tcp_port));
    FR_TRY(tcp_port, os::local_port(fd.get()));
    const bool v4 = asio::ip::make_address(options.tcp_address, error).is_v4();
    tcp_acceptor.assign(v4 ? asio::ip::tcp::v4() : asio::ip::tcp::v6(), fd.release(), error);
    if (error) return fail(ErrorCode::kIo, fmt::format("cannot listen: {}", error.message()));
    return {};
  }

  void run() {
    if (unix_acceptor.is_open()) {
      asio::co_spawn(io, accept_all(&unix_acceptor, &shared, false), &on_session_end);
    }
    if (tcp_acceptor.is_open()) {
      asio::co_spawn(io, accept_all(&tcp_acceptor, &shared, true), &on_session_end);
    }
    thread = std::jthread([this] { io.run(); });
  }
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { stop(); }

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options,
                                                      HttpHandler handler) {
  FR_CHECK(check(options));
  auto impl = std::make_unique<Impl>(options.workers);
  impl->shared.options = std::move(options);
  impl->shared.handler = std::move(handler);
  impl->shared.workers = &impl->workers;
  if (!impl->shared.options.tls.certificate_path.empty()) {
    FR_CHECK(configure_tls(impl->tls, impl->shared.options.tls));
    impl->shared.tls = &impl->tls;
  }
  FR_CHECK(impl->listen());
  impl->run();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

uint16_t HttpServer::tcp_port() const { return impl_ ? impl_->tcp_port : 0; }

void HttpServer::stop() {
  if (!impl_) return;
  impl_->io.stop();
  impl_->thread.join();
  impl_->workers.stop();
  impl_->workers.join();
  const std::string& path = impl_->shared.options.unix_path;
  if (!path.empty()) ::unlink(path.c_str());
  impl_.reset();  // ends the sessions, which closes their sockets
}

}  // namespace forerun::net
