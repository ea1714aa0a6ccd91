// forerun-link: a slow link in user space, for tests, benchmarks and the demo. See README.md.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <string>

#include "proxy.h"

namespace {

using forerun::ErrorCode;
using forerun::Result;
using forerun::link::Proxy;
using forerun::link::ProxyOptions;

struct Endpoint {
  std::string address;
  uint16_t port = 0;
};

Result<Endpoint> parse_endpoint(const std::string& text) {
  const size_t colon = text.rfind(':');
  unsigned port = 65536;
  if (colon != std::string::npos) {
    const char* begin = text.data() + colon + 1;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size()) port = 65536;
  }
  if (port > 65535) {
    return forerun::fail(ErrorCode::kInvalid, "\"" + text + "\" is not ADDRESS:PORT");
  }
  return Endpoint{text.substr(0, colon), static_cast<uint16_t>(port)};
}

struct Arguments {
  std::string listen = "127.0.0.1:0";
  std::string to;
  std::string rate = "none";
  std::string delay = "0";
  std::string control;
};

forerun::Status serve(const Arguments& arguments) {
  ProxyOptions options;
  FR_TRY(const Endpoint listen, parse_endpoint(arguments.listen));
  FR_TRY(const Endpoint to, parse_endpoint(arguments.to));
  FR_TRY(options.link.rate_bytes_per_s, forerun::link::parse_rate(arguments.rate));
  FR_TRY(options.link.delay, forerun::link::parse_delay(arguments.delay));
  options.listen_address = listen.address;
  options.listen_port = listen.port;
  options.to_address = to.address;
  options.to_port = to.port;
  options.control_path = arguments.control;
  FR_TRY(const auto proxy, Proxy::create(options));
  std::printf("ready %u\n", unsigned{proxy->port()});
  std::fflush(stdout);
  return proxy->run();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"A slow link in user space: a TCP proxy with a rate and a delay.", "forerun-link"};
  Arguments arguments;
  app.add_option("--listen", arguments.listen, "address:port, 0 picks one")->capture_default_str();
  app.add_option("--to", arguments.to, "address:port of the server")->required();
  app.add_option("--rate", arguments.rate, "each way: 20mbit, or none")->capture_default_str();
  app.add_option("--delay", arguments.delay, "one way: 10ms")->capture_default_str();
  app.add_option("--control", arguments.control, "unix socket for cut, heal, rate, delay, stats");
  CLI11_PARSE(app, argc, argv);
  if (const auto status = serve(arguments); !status) {
    std::fprintf(stderr, "forerun-link: %s\n", status.error().message.c_str());
    return 1;
  }
  return 0;
}
