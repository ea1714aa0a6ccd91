// The contract on the etcd that ETCD_ENDPOINTS names (URLs, separated by commas), with the
// certificates in ETCD_TLS_DIR.
#include <atomic>
#include <cstdlib>
#include <thread>

#include "cluster/etcd_state_store.h"
#include "cluster/state_store_contract_fixture.h"
#include "os/clock.h"

namespace forerun::cluster {
namespace {

EtcdOptions options_from_environment() {
  EtcdOptions options;
  const char* const endpoints = std::getenv("ETCD_ENDPOINTS");
  std::string rest = endpoints == nullptr ? "" : endpoints;
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    options.endpoints.push_back(rest.substr(0, comma));
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  if (const char* const folder = std::getenv("ETCD_TLS_DIR"))
    options.tls = {folder + std::string("/client-cert.pem"),
                   folder + std::string("/client-key.pem"), folder + std::string("/ca-cert.pem")};
  return options;
}

class RealEtcd final : public StoreUnderTest {
 public:
  RealEtcd() {
    static std::atomic<int> tests{0};
    prefix_ = fmt::format("test/{}/{}/", ::getpid(), ++tests);
    auto created = EtcdStateStore::create(options_from_environment(), clock_);
    if (!created) ADD_FAILURE() << created.error().message;
    store_ = std::move(*created);
  }
  StateStore& store() override { return *store_; }
  void let_pass(Nanos time) override { std::this_thread::sleep_for(time); }
  std::string prefix() const override { return prefix_; }
  Nanos patience() const override { return std::chrono::seconds(30); }

 private:
  os::SystemClock clock_;
  std::string prefix_;
  std::unique_ptr<EtcdStateStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Etcd, StateStoreContract,
                         testing::Values([]() -> std::unique_ptr<StoreUnderTest> {
                           return std::make_unique<RealEtcd>();
                         }));

}  // namespace
}  // namespace forerun::cluster
