#include "lab/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::lab {
namespace {

using testing::HasSubstr;
using testing::Not;

PlanOptions in_folder() { return {.folder = "/run/lab"}; }

std::string refusal(const PlanOptions& options) {
  const auto plan = plan_lab(options);
  return plan ? "" : plan.error().message;
}

TEST(Plan, NamesHostsAndTheirAddresses) {
  const auto plan = plan_lab({.folder = "/run/lab", .hosts = 3, .prefix = "x"});
  ASSERT_TRUE(plan);
  ASSERT_EQ(plan->hosts.size(), 3u);
  EXPECT_EQ(plan->hosts[0].name, "a");
  EXPECT_EQ(plan->hosts[2].address, "10.77.0.3");
  EXPECT_EQ(plan->hosts[2].name_space, "x-c");
  EXPECT_EQ(plan->hosts[2].api_socket(), "/run/lab/c/run/forerund.sock");
}

TEST(Plan, TakesAnotherSubnet) {
  PlanOptions options = in_folder();
  options.subnet = "192.168.7.32/27";
  const auto plan = plan_lab(options);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->hosts[1].address, "192.168.7.34");
  EXPECT_THAT(network_commands(*plan, plan->hosts[1]), HasSubstr("192.168.7.34/27"));
}

TEST(Plan, RefusesWhatIsNoSubnet) {
  for (const char* subnet : {"", "10.77.0.0", "10.77.0.1/24", "10.77.0.0/28", "10.77.0.0/7",
                             "10.77.0/24", "10.77.0.256/24", "10.77.0.0/24 ", "a.b.c.d/24"}) {
    PlanOptions options = in_folder();
    options.subnet = subnet;
    EXPECT_THAT(refusal(options), HasSubstr("subnet")) << subnet;
  }
}

TEST(Plan, RefusesTooFewAndTooManyHosts) {
  for (const size_t hosts : {0, 1, 17}) {
    PlanOptions options = in_folder();
    options.hosts = hosts;
    EXPECT_THAT(refusal(options), HasSubstr("hosts")) << hosts;
  }
}

TEST(Plan, RefusesAFolderThatSocketsOrConfigurationCannotBear) {
  for (const std::string& folder : {std::string("lab"), "/" + std::string(60, 'x'),
                                    std::string("/a\"b"), std::string("/a\nb")}) {
    PlanOptions options = in_folder();
    options.folder = folder;
    EXPECT_THAT(refusal(options), HasSubstr("folder")) << folder;
  }
}

TEST(Plan, RefusesAPrefixThatIsNoName) {
  for (const std::string& prefix : {std::string("../x"), std::string(), std::string(33, 'x')}) {
    PlanOptions options = in_folder();
    options.prefix = prefix;
    EXPECT_THAT(refusal(options), HasSubstr("prefix")) << prefix;
  }
}

TEST(Plan, TellsEachDaemonItsFolders) {
  const auto plan = plan_lab(in_folder());
  ASSERT_TRUE(plan);
  const std::string config = daemon_config(*plan, plan->hosts[1]);
  EXPECT_THAT(config, HasSubstr("state_dir = \"/run/lab/b/state\""));
  EXPECT_THAT(config, HasSubstr("path = \"/run/lab/repository\""));
  EXPECT_THAT(config, HasSubstr("listen = \"10.77.0.2:9760\""));
  EXPECT_THAT(config, HasSubstr("[hosts.a]\naddress = \"10.77.0.1:9760\""));
  EXPECT_THAT(config, Not(HasSubstr("[hosts.b]")));
}

TEST(Plan, CertifiesAHostsNameAndAddress) {
  const auto plan = plan_lab(in_folder());
  ASSERT_TRUE(plan);
  EXPECT_THAT(certificate_request(plan->hosts[1]), HasSubstr("DNS:b,IP:10.77.0.2"));
}

}  // namespace
}  // namespace forerun::lab
