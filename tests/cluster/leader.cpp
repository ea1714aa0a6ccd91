// A host that acts without looking whether it still leads: what a process does that was stopped
// between the two. usage: cluster_leader NAME LEASE_SECONDS; etcd by ETCD_ENDPOINTS.
// Prints "leads TOKEN" when it wins, and for each plan that it writes "wrote TOKEN REVISION" or
// "refused TOKEN". The fence holds if no revision under a token is beyond the next token.
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "cluster/etcd_state_store.h"
#include "cluster/member.h"
#include "os/clock.h"

namespace {

using namespace forerun;

std::vector<std::string> endpoints() {
  std::vector<std::string> urls;
  const char* const text = std::getenv("ETCD_ENDPOINTS");
  std::string rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    urls.push_back(rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return urls;
}

void say(const std::string& line) {
  std::puts(line.c_str());
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const os::SystemClock clock;
  auto store = cluster::EtcdStateStore::create({.endpoints = endpoints()}, clock);
  if (!store) {
    say(store.error().message);
    return 1;
  }
  cluster::ClusterState state(**store, "fencing");
  cluster::MemberOptions options;
  options.self.name = options.self.id = argv[1];
  options.lease = std::chrono::seconds(std::atoi(argv[2]));
  cluster::Member member(state, clock, options);
  const std::jthread stepper([&member](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::min<Nanos>(member.step(), std::chrono::milliseconds(200)));
      member.look_again();
    }
  });
  uint64_t token = 0;
  for (;;) {
    const cluster::Leadership now = member.leadership();
    if (now.is_leader && now.token != token) {
      token = now.token;
      say(fmt::format("leads {}", token));
    }
    if (token != 0) {
      cluster::Document plan;
      plan.token = token;
      const auto written = state.put_plan(plan);
      if (written) say(fmt::format("wrote {} {}", token, *written));
      if (!written && written.error().code == ErrorCode::kDenied)
        say(fmt::format("refused {}", token));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}
