#include "net/http_connection.h"

#include <poll.h>

#include <boost/beast/http.hpp>
#include <charconv>
#include <optional>

#include "core/bytes.h"
#include "os/socket.h"

namespace forerun::net {
namespace {

namespace http = boost::beast::http;
namespace asio = boost::asio;
using Parser = http::response_parser<http::string_body>;

constexpr size_t kReadBytes = 64 << 10;

bool is_host(std::string_view host) {
  const auto is_good = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == ':' ||
           c == '_';
  };
  return !host.empty() && host.size() <= 253 && std::all_of(host.begin(), host.end(), is_good);
}

}  // namespace

std::string HttpEndpoint::name() const {
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format("http{}://{}{}{}:{}", is_https ? "s" : "", is_v6 ? "[" : "", host,
                     is_v6 ? "]" : "", port);
}

Result<HttpEndpoint> parse_endpoint(const std::string& url) {
  const auto bad = [&] {
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is not http://HOST:PORT or https://HOST:PORT", url));
  };
  HttpEndpoint endpoint;
  endpoint.is_https = url.starts_with("https://");
  if (!endpoint.is_https && !url.starts_with("http://")) return bad();
  const std::string rest = url.substr(endpoint.is_https ? 8 : 7);
  const size_t colon = rest.rfind(':');
  if (colon == std::string::npos) return bad();
  endpoint.host = rest.substr(0, colon);
  const bool is_bracketed = endpoint.host.starts_with('[') && endpoint.host.ends_with(']');
  if (is_bracketed) endpoint.host = endpoint.host.substr(1, endpoint.host.size() - 2);
  const bool has_colon = endpoint.host.find(':') != std::string::npos;
  const char* const end = rest.data() + rest.size();
  const auto parsed = std::from_chars(rest.data() + colon + 1, end, endpoint.port);
  if (!is_host(endpoint.host) || has_colon != is_bracketed || parsed.ec != std::errc() ||
      parsed.ptr != end || endpoint.port == 0)
    return bad();
  return endpoint;
}

struct HttpConnection::Impl {
  Impl(HttpEndpoint of, const Clock& with, const Options& within)
      : endpoint(std::move(of)), clock(with), options(within) {}

  const HttpEndpoint endpoint;
  const Clock& clock;
  const Options options;
  std::unique_ptr<os::SocketStream> plain;
  std::unique_ptr<os::ByteStream> secure;  // null: plain; goes first, for it is over `plain`
  std::optional<Parser> parser;            // of the answer that is being read
  std::string received;                    // and not yet parsed
  bool is_clean = true;                    // the last answer was read whole, and more may follow

  os::ByteStream& stream() { return secure ? *secure : *plain; }
  std::unexpected<Error> failed(Error error) const {
    return std::unexpected(std::move(error).within(endpoint.name()));
  }
  Status send(const std::string& target, std::string_view body, Time deadline);
  Status receive(Time deadline);
  Status parse();
  void begin_answer(uint64_t body_bytes_max);
};

HttpConnection::HttpConnection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpConnection::~HttpConnection() = default;

Result<std::unique_ptr<HttpConnection>> HttpConnection::connect(const HttpEndpoint& endpoint,
                                                                TlsClient* tls, const Clock& clock,
                                                                const Options& options) {
  const Time deadline = clock.now() + options.connect_timeout;
  auto impl = std::make_unique<Impl>(endpoint, clock, options);
  if (endpoint.is_https && tls == nullptr)
    return impl->failed({ErrorCode::kInvalid, "https needs certificates, and there are none"});
  auto fd = os::connect_tcp(endpoint.host, endpoint.port, options.connect_timeout);
  if (!fd) {
    // Refused or unreachable: who else may try.
    if (fd.error().code != ErrorCode::kTimedOut) fd.error().code = ErrorCode::kUnavailable;
    return impl->failed(std::move(fd.error()));
  }
  impl->plain = std::make_unique<os::SocketStream>(std::move(*fd));
  if (endpoint.is_https) {
    const Nanos left = std::max<Nanos>(deadline - clock.now(), std::chrono::milliseconds(1));
    auto secure = tls->connect(*impl->plain, endpoint.host, left);
    if (!secure) return impl->failed(std::move(secure.error()));
    impl->secure = std::move(*secure);
  }
  return std::unique_ptr<HttpConnection>(new HttpConnection(std::move(impl)));
}

Status HttpConnection::Impl::send(const std::string& target, std::string_view body, Time deadline) {
  const std::string header = fmt::format(
      "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
      // The gateway hands this on: a member without a leader ends a watch instead of being silent.
      "Grpc-Metadata-hasleader: true\r\n\r\n",
      target, endpoint.name().substr(endpoint.is_https ? 8 : 7), body.size());
  const iovec parts[] = {{const_cast<char*>(header.data()), header.size()},
                         {const_cast<char*>(body.data()), body.size()}};
  const Nanos left = deadline - clock.now();
  if (left <= Nanos::zero()) return fail(ErrorCode::kTimedOut, "no time is left to ask");
  FR_CHECK(stream().set_timeout(left));
  return stream().write_all(parts);
}

void HttpConnection::Impl::begin_answer(uint64_t body_bytes_max) {
  parser.emplace();
  parser->eager(true);
  parser->header_limit(static_cast<uint32_t>(options.header_bytes_max));
  parser->body_limit(body_bytes_max);
}

// Hands what was received to the parser.
Status HttpConnection::Impl::parse() {
  while (!received.empty() && !parser->is_done()) {
    boost::beast::error_code error;
    const size_t used = parser->put(asio::buffer(received), error);
    received.erase(0, used);
    if (error == http::error::need_more) return {};
    if (error == http::error::body_limit || error == http::error::header_limit)
      return fail(ErrorCode::kTooLarge, "the answer is too large");
    if (error)
      return fail(ErrorCode::kCorrupt, fmt::format("the answer is no HTTP: {}", error.message()));
    if (used == 0) return {};
  }
  return {};
}

// Reads once, and parses it. ERRORS: kTimedOut: nothing came.
Status HttpConnection::Impl::receive(Time deadline) {
  const Nanos left = deadline - clock.now();
  if (left <= Nanos::zero()) return fail(ErrorCode::kTimedOut, "no answer came in time");
  FR_CHECK(stream().set_timeout(std::max<Nanos>(left, std::chrono::milliseconds(1))));
  const size_t before = received.size();
  received.resize(before + kReadBytes);
  const auto got =
      stream().read_some({reinterpret_cast<std::byte*>(received.data() + before), kReadBytes});
  received.resize(before + got.value_or(0));
  if (!got) return std::unexpected(got.error());
  if (*got > 0) return parse();
  is_clean = false;
  boost::beast::error_code error;
  parser->put_eof(error);
  if (error || !parser->is_done())
    return fail(ErrorCode::kUnavailable, "the server hung up before its answer's end");
  return {};
}

Result<HttpConnection::Answer> HttpConnection::post(const std::string& target,
                                                    std::string_view body, Nanos timeout) {
  Impl& impl = *impl_;
  const Time deadline = impl.clock.now() + timeout;
  const bool was_clean = std::exchange(impl.is_clean, false);
  if (!was_clean) return impl.failed({ErrorCode::kInternal, "the connection is used up"});
  impl.begin_answer(impl.options.body_bytes_max);
  const Status done = [&]() -> Status {
    FR_CHECK(impl.send(target, body, deadline));
    impl.is_clean = true;  // unless what follows says otherwise
    while (!impl.parser->is_done()) FR_CHECK(impl.receive(deadline));
    return {};
  }();
  if (!done) {
    impl.is_clean = false;
    return impl.failed(done.error());
  }
  if (!impl.parser->keep_alive() || !impl.received.empty()) impl.is_clean = false;
  Answer answer{static_cast<int>(impl.parser->get().result_int()),
                std::move(impl.parser->get().body())};
  impl.parser.reset();
  return answer;
}

Result<int> HttpConnection::begin_post(const std::string& target, std::string_view body,
                                       Nanos timeout) {
  Impl& impl = *impl_;
  const Time deadline = impl.clock.now() + timeout;
  impl.is_clean = false;
  impl.begin_answer(UINT64_MAX);
  const Status done = [&]() -> Status {
    FR_CHECK(impl.send(target, body, deadline));
    while (!impl.parser->is_header_done()) FR_CHECK(impl.receive(deadline));
    return {};
  }();
  if (!done) return impl.failed(done.error());
  return static_cast<int>(impl.parser->get().result_int());
}

Result<std::string> HttpConnection::read_more(Nanos timeout) {
  Impl& impl = *impl_;
  if (!impl.parser) return impl.failed({ErrorCode::kInternal, "no answer is being read"});
  const Time deadline = impl.clock.now() + timeout;
  std::string& body = impl.parser->get().body();
  while (body.empty() && !impl.parser->is_done())
    if (const Status done = impl.receive(deadline); !done) return impl.failed(done.error());
  return std::exchange(body, {});
}

bool HttpConnection::is_reusable() const {
  if (!impl_->is_clean) return false;
  // Nothing is asked, so whatever there is to read is the server's farewell.
  pollfd wait{impl_->plain->fd(), POLLIN, 0};
  return ::poll(&wait, 1, 0) == 0;
}

void HttpConnection::shut_down() { impl_->plain->shut_down(); }

}  // namespace forerun::net
