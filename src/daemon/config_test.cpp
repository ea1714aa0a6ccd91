#include "daemon/config.h"

namespace forerun::daemon {
namespace {

Config base() {
  Config config = default_config();
  config.state_dir = "/var/lib/forerun";
  config.run_dir = "/run/forerun";
  return config;
}

TEST(Config, DefaultsAreInOrder) { EXPECT_TRUE(check(base())); }

TEST(Config, FileNamesHostsToMigrateTo) {
  Config config = base();
  ASSERT_TRUE(apply_toml(config, R"(
[migration]
listen = "[::1]:7070"
certificate = "/etc/a.pem"
key = "/etc/a.key"
ca = "/etc/ca.pem"
[hosts.c]
address = "10.0.0.3:7070"
[hosts.b]
address = "10.0.0.2:7071"
)",
                         "f.toml"));
  const std::vector<HostConfig> expected{{"b", "10.0.0.2:7071"}, {"c", "10.0.0.3:7070"}};
  EXPECT_EQ(config.hosts, expected);
  EXPECT_TRUE(check(config));
  EXPECT_EQ(parse_address(config.migration_listen)->host, "::1");
  EXPECT_EQ(parse_address(config.migration_listen)->port, 7070);
}

TEST(Config, RefusesHostsThatCannotBeReached) {
  const auto why = [](const char* text) {
    Config config = base();
    config.migration_certificate = config.migration_key = config.migration_ca = "/etc/x.pem";
    Status status = apply_toml(config, text, "f.toml");
    if (status) status = check(config);
    return status ? std::string("accepted") : status.error().message;
  };
  EXPECT_EQ(why("[hosts.b]\naddress = \"10.0.0.2\"\n"), "hosts.b.address must be ADDRESS:PORT");
  EXPECT_EQ(why("[hosts.b]\naddress = \"b:99999\"\n"), "hosts.b.address must be ADDRESS:PORT");
  EXPECT_EQ(why("[hosts.'a/b']\naddress = \"b:1\"\n"), "hosts 'a/b' cannot name a host");
  EXPECT_EQ(why("[hosts.b]\nport = 1\n"), "f.toml:2: hosts.b.port is no known key");
  EXPECT_EQ(why("[hosts.b]\naddress = \"b:1\"\n[migration]\nkey = \"\"\n"),
            "migration.key is needed to move VMs between hosts");
}

TEST(Config, FileSetsValuesOfEveryKind) {
  Config config = base();
  const Status applied = apply_toml(config, R"(
[daemon]
state_dir = "/srv/forerun"
[[repository]]
url = "http://127.0.0.1:8080/"
allow_unsigned = true
[[repository]]
path = "/srv/repository"
[[repository]]
s3 = "s3://images/forerun"
endpoint = "http://10.0.0.1:7480"
region = "eu"
access_key_file = "/etc/forerun/keys"
path_style = false
[tier]
memory_bytes = 1_000_000_000
[prefetch]
mode = "observe"
probability_min = 0.4
models = ["replay"]
models_work = []
probability_min_work = 0.7
[fetch]
threads = 8
[trust]
keys = ["ed25519:aa", "/etc/forerun/key.pub"]
revoked = ["ed25519:bb"]
signing_key = "/etc/forerun/key"
)",
                                    "f.toml");
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(config.state_dir, "/srv/forerun");
  ASSERT_EQ(config.repositories.size(), 3u);
  EXPECT_EQ(config.repositories[0].url, "http://127.0.0.1:8080/");
  EXPECT_EQ(config.repositories[1].path, "/srv/repository");
  EXPECT_TRUE(config.repositories[1].is_path_style);
  const RepositoryConfig expected{.s3 = "s3://images/forerun",
                                  .endpoint = "http://10.0.0.1:7480",
                                  .region = "eu",
                                  .access_key_file = "/etc/forerun/keys",
                                  .is_path_style = false};
  EXPECT_EQ(config.repositories[2], expected);
  EXPECT_TRUE(check(config));
  EXPECT_EQ(config.tier_memory_bytes, 1'000'000'000u);
  EXPECT_EQ(config.prefetch, PrefetchPolicy::kObserve);
  EXPECT_DOUBLE_EQ(config.probability_min, 0.4);
  EXPECT_THAT(config.models, testing::ElementsAre("replay"));
  EXPECT_TRUE(config.models_work.empty());
  EXPECT_EQ(config.probability_min_work, 0.7);
  EXPECT_EQ(config.fetch_threads, 8u);
  EXPECT_EQ(config.repositories[0].allow_unsigned, true);
  EXPECT_EQ(config.repositories[1].allow_unsigned, std::nullopt);
  EXPECT_THAT(config.trust_keys, testing::ElementsAre("ed25519:aa", "/etc/forerun/key.pub"));
  EXPECT_THAT(config.trust_revoked, testing::ElementsAre("ed25519:bb"));
  EXPECT_EQ(config.trust_signing_key, "/etc/forerun/key");
}

struct BadFile {
  const char* text;
  const char* expected;
};
class ConfigRefuses : public testing::TestWithParam<BadFile> {};

TEST_P(ConfigRefuses, NamingKeyAndLine) {
  Config config = base();
  Status status = apply_toml(config, GetParam().text, "f.toml");
  if (status) status = check(config);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr(GetParam().expected));
}

INSTANTIATE_TEST_SUITE_P(
    Files, ConfigRefuses,
    testing::Values(
        BadFile{"[tier]\nmemory_byte = 1\n", "f.toml:2: tier.memory_byte is no known key"},
        BadFile{"[tier]\nmemory_bytes = \"1\"\n", "must be a whole number"},
        BadFile{"[tier]\nmemory_bytes = -1\n", "cannot be negative"},
        BadFile{"[tier]\nmemory_bytes = 1000\n", "at least 8 MiB"},
        BadFile{"[tier]\navailable_low_ratio = 0.2\n", "tier.available_low_ratio must be"},
        BadFile{"[tier]\nstall_ratio = 0\n", "tier.stall_ratio must be"},
        BadFile{"[daemon\n", "f.toml:1"},
        BadFile{"[prefetch]\nmode = \"sometimes\"\n", "one of on, observe, off"},
        BadFile{"[launches]\nmode = \"trace_replay_fifo\"\n", "launches.mode is one of on"},
        BadFile{"[launches]\nperiod_seconds = 7\n", "must be 1 … 64 times"},
        BadFile{"[launches]\nperiod_seconds = 0\n", "must be in 1 … 3600"},
        BadFile{"[launches]\nhistory = [\"x\"]\n", "must be absolute paths"},
        BadFile{"[history]\nprometheus_ca = \"ca.pem\"\n", "must be absolute paths"},
        BadFile{"[prefetch]\nmodels = [1]\n", "list of strings"},
        BadFile{"[repository]\npath = \"/x\"\n", "[[repository]]"},
        BadFile{"[[repository]]\npath = \"/x\"\nurl = \"http://y\"\n", "either path or url"},
        BadFile{"[[repository]]\nurl = \"ftp://y\"\n", "http:// or https://"},
        BadFile{"[[repository]]\ns3 = \"bucket\"\n",
                "repository.s3: 'bucket' must begin with s3://"},
        BadFile{"[[repository]]\ns3 = \"s3://bucket\"\nurl = \"http://y\"\n", "or s3"},
        BadFile{"[[repository]]\ns3 = \"s3://bucket\"\nendpoint = \"h:80\"\n",
                "endpoint must begin"},
        BadFile{"[[repository]]\npath = \"/x\"\nregion = \"eu\"\n", "only with s3"},
        BadFile{"[[repository]]\ns3 = \"s3://bucket\"\npath_style = \"no\"\n", "true or false"},
        BadFile{"[[repository]]\ns3 = \"s3://bucket\"\nsecret = \"x\"\n", "no known key"},
        BadFile{"[[repository]]\npath = \"/x\"\nallow_unsigned = 1\n", "f.toml:3: repository."},
        BadFile{"[trust]\nkeys = [\"aa\"]\n", "trust.keys are ed25519"},
        BadFile{"[trust]\nrevoked = [\"x/y\"]\n", "trust.revoked are ed25519"},
        BadFile{"[trust]\nsigning_key = \"key\"\n", "trust.signing_key must be an absolute"},
        BadFile{"[nbd]\nlisten = \"0.0.0.0:10809\"\n", "needs nbd.tls_dir"},
        BadFile{"[daemon]\nstate_dir = \"relative\"\n", "absolute"},
        BadFile{"level = 3\n", "stands in no section"}));

TEST(Config, EnvironmentOverridesTheFile) {
  Config config = base();
  ASSERT_TRUE(apply_toml(config, "[tier]\nmemory_bytes = 100000000\n", "f.toml"));
  ASSERT_TRUE(apply_environment(
      config, {{"FORERUN_TIER_MEMORY_BYTES", "200000000"}, {"FORERUN_PREFETCH_MODE", "off"}}));
  EXPECT_EQ(config.tier_memory_bytes, 200000000u);
  EXPECT_EQ(config.prefetch, PrefetchPolicy::kOff);
  const Status bad = apply_environment(config, {{"FORERUN_FETCH_THREADS", "many"}});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, testing::HasSubstr("FORERUN_FETCH_THREADS"));
}

}  // namespace
}  // namespace forerun::daemon
