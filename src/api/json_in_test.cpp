#include "api/json_in.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::api {
namespace {

using ::testing::HasSubstr;

TEST(JsonIn, RunRequestWithEverything) {
  const auto request = parse_run_request(R"({
    "name": "web-1", "image": "debian", "memory_bytes": 1073741824, "cpus": 2,
    "forwards": [{"host_port": 8080, "guest_port": 80},
                 {"protocol": "tcp", "host_address": "0.0.0.0",
                  "host_port": 2222, "guest_port": 22}],
    "kernel": "/boot/vmlinuz", "initrd": "/boot/initrd", "append": "quiet", "disk_bus": "nvme",
    "bridge": "br0", "mac": "06:00:00:00:00:01",
    "prefetch": "observe", "disk_only": true, "a_future_member": {"x": [1]}})");
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_EQ(request->name, "web-1");
  EXPECT_EQ(request->memory_bytes, 1ull << 30);
  EXPECT_EQ(request->cpus, 2u);
  EXPECT_EQ(request->forwards,
            (std::vector<PortForward>{{"127.0.0.1", 8080, 80}, {"0.0.0.0", 2222, 22}}));
  EXPECT_EQ(request->kernel, "/boot/vmlinuz");
  EXPECT_EQ(request->disk_bus, DiskBus::kNvme);
  EXPECT_EQ(request->bridge, "br0");
  EXPECT_EQ(request->mac, "06:00:00:00:00:01");
  EXPECT_EQ(request->prefetch, PrefetchMode::kObserve);
  EXPECT_TRUE(request->disk_only);
}

TEST(JsonIn, AbsentAndNullMembersKeepDefaults) {
  const auto request = parse_run_request(R"({"name":"a","image":"b","cpus":null,"kernel":null})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->cpus, 1u);
  EXPECT_EQ(request->memory_bytes, 512ull << 20);
  EXPECT_EQ(request->prefetch, PrefetchMode::kOn);
}

struct Refusal {
  std::string_view body;
  std::string_view said;
};

TEST(JsonIn, RefusalsNameTheMember) {
  for (const auto& [body, said] : std::initializer_list<Refusal>{
           {R"({"image":"b"})", "name must"},
           {R"({"name":"../x","image":"b"})", "name must"},
           {R"({"name":7,"image":"b"})", "name must be a string"},
           {R"({"name":"a","image":"b","cpus":"2"})", "cpus must be a whole number from 1 to 255"},
           {R"({"name":"a","image":"b","cpus":0})", "cpus must"},
           {R"({"name":"a","image":"b","cpus":-1})", "cpus must"},
           {R"({"name":"a","image":"b","cpus":1.5})", "cpus must"},
           {R"({"name":"a","image":"b","cpus":1e999})", "cpus must"},
           {R"({"name":"a","image":"b","memory_bytes":18446744073709551616})", "memory_bytes must"},
           {R"({"name":"a","image":"b","memory_bytes":1})", "memory_bytes must"},
           {R"({"name":"a","image":"b","kernel":"vmlinuz"})", "kernel must be an absolute path"},
           {R"({"name":"a","image":"b","kernel":"/x\u0000y"})", "kernel holds a zero byte"},
           {R"({"name":"a","image":"b","disk_bus":"ide"})", "disk_bus must be one of virtio, nvme"},
           {R"({"name":"a","image":"b","disk_only":1})", "disk_only must be true or false"},
           {R"({"name":"a","image":"b","base":"c"})", "exclude each other"},
           {R"({"name":"a","manifest":"b","base":"c"})", "exclude each other"},
           {R"({"name":"a","with":["c"]})", "with needs base"},
           {R"({"name":"a","base":"b","with":["c\"]\n[x"]})", "with must name components"},
           {R"({"name":"a","base":"b","with":["c@12"]})", "with must name components"},
           {R"({"name":"a","base":"b@"})", "base must name components"},
           {R"({"name":"a","base":7})", "base must be a string"},
           {R"({"name":"a","image":"b","forwards":{}})", "forwards must be a list"},
           {R"({"name":"a","image":"b","forwards":[7]})", "forwards[0]. must be an object"},
           {R"({"name":"a","image":"b","forwards":[{"host_port":1}]})",
            "forwards[0].guest_port is missing"},
           {R"({"name":"a","image":"b","forwards":[{"host_port":65536,"guest_port":1}]})",
            "forwards[0].host_port must"},
           {R"({"name":"a","image":"b","forwards":[{"protocol":"udp"}]})",
            "forwards[0].protocol must"}}) {
    const auto request = parse_run_request(body);
    ASSERT_FALSE(request) << body;
    EXPECT_EQ(request.error().code, ErrorCode::kInvalid);
    EXPECT_THAT(request.error().message, HasSubstr(said)) << body;
  }
}

TEST(JsonIn, HostileBodies) {
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("\"x\""), std::string("{"),
        std::string("{\"a\":\"\xff\"}"), std::string(R"({"name":"a"} x)"),
        "{\"x\":" + std::string(40, '[') + std::string(40, ']') + "}"}) {
    EXPECT_EQ(parse_run_request(body).error().code, ErrorCode::kInvalid) << body;
  }
  const std::string huge = "{\"x\":\"" + std::string(kRequestBytesMax, 'x') + "\"}";
  EXPECT_EQ(parse_run_request(huge).error().code, ErrorCode::kTooLarge);
}

TEST(JsonIn, TooManyForwardsAndTooLongTexts) {
  std::string forwards;
  for (int i = 0; i < 65; ++i) forwards += R"({"host_port":1,"guest_port":1},)";
  forwards.pop_back();
  EXPECT_THAT(
      parse_run_request(fmt::format(R"({{"name":"a","image":"b","forwards":[{}]}})", forwards))
          .error()
          .message,
      HasSubstr("over 64"));
  EXPECT_THAT(parse_run_request(fmt::format(R"({{"name":"a","image":"b","append":"{}"}})",
                                            std::string(2001, 'x')))
                  .error()
                  .message,
              HasSubstr("append is over 2000 bytes"));
}

TEST(JsonIn, ComponentRequestNamesItsSource) {
  const auto tar = parse_component_request(R"({"source_path":"/d.tar","name":"d"})");
  ASSERT_TRUE(tar) << tar.error().message;
  EXPECT_EQ(tar->source, ComponentSource::kTar);
  EXPECT_THAT(
      parse_component_request(R"({"source":"rpm","source_path":"/d","name":"d"})").error().message,
      HasSubstr("source must be one of tar"));
  EXPECT_THAT(parse_component_request(R"({"source":"tar","name":"d"})").error().message,
              HasSubstr("source_path"));
  const auto oci = parse_component_request(
      R"({"source":"oci","source_path":"/i","name":"d","depends":["a","b"],"reference":"12",)"
      R"("platform":"linux/arm64"})");
  ASSERT_TRUE(oci) << oci.error().message;
  EXPECT_EQ(oci->source, ComponentSource::kOci);
  EXPECT_THAT(oci->depends, testing::ElementsAre("a", "b"));
  EXPECT_EQ(oci->reference, "12");
  EXPECT_EQ(oci->platform, "linux/arm64");
  const std::string pinned =
      fmt::format(R"({{"source":"deb","source_path":"/i","name":"d","depends":["a@{}"]}})",
                  std::string(64, '0'));
  EXPECT_THAT(parse_component_request(pinned).error().message,
              HasSubstr("depends must name components without their digests"));
}

TEST(JsonIn, ComponentRequestNamesWhatItIsToldBy) {
  const auto tar = parse_component_request(R"({"source_path":"/d","name":"d","delta_from":"c"})");
  ASSERT_TRUE(tar) << tar.error().message;
  EXPECT_EQ(tar->delta_from, "c");
  EXPECT_THAT(parse_component_request(R"({"source_path":"/d","name":"d","delta_from":"../c"})")
                  .error()
                  .message,
              HasSubstr("delta_from cannot name a component"));
  EXPECT_THAT(
      parse_component_request(R"({"source":"oci","source_path":"/d","name":"d","delta_from":"c"})")
          .error()
          .message,
      HasSubstr("delta_from goes with one component"));
}

TEST(JsonIn, ComponentRequestOfPackages) {
  const auto built =
      parse_component_request(R"({"source":"apt","name":"web","on":["debian-12","kern"],)"
                              R"("packages":["nginx-light","g++=4:12.2-3"]})");
  ASSERT_TRUE(built) << built.error().message;
  EXPECT_THAT(built->on, testing::ElementsAre("debian-12", "kern"));
  EXPECT_THAT(built->packages, testing::ElementsAre("nginx-light", "g++=4:12.2-3"));
  for (const char* evil : {"-oDPkg::Options=x", "a b", "a;b", "$(a)", "", "a\\nb", "*"})
    EXPECT_THAT(parse_component_request(
                    fmt::format(R"({{"source":"apt","name":"w","packages":["{}"]}})", evil))
                    .error()
                    .message,
                HasSubstr("packages must name"))
        << evil;
  EXPECT_THAT(
      parse_component_request(R"({"source":"base","name":"w","suite":"a b"})").error().message,
      HasSubstr("suite must name"));
}

TEST(JsonIn, ImportRequest) {
  const auto request =
      parse_import_request(R"({"source_path":"/d.raw","name":"d","format":"raw"})");
  ASSERT_TRUE(request);
  EXPECT_EQ(request->source_path, "/d.raw");
  EXPECT_EQ(request->format, ImageFormat::kRaw);
  EXPECT_THAT(parse_import_request(R"({"name":"d"})").error().message, HasSubstr("source_path"));
  EXPECT_THAT(
      parse_import_request(R"({"source_path":"/d","name":"d","format":"vmdk"})").error().message,
      HasSubstr("format must be one of auto, raw, qcow2"));
}

TEST(JsonIn, RequestsToTheRepository) {
  EXPECT_FALSE(parse_verify_request("")->deep);
  EXPECT_TRUE(parse_verify_request(R"({"deep":true,"resume":true})")->resume);
  EXPECT_FALSE(parse_verify_request(R"({"resume":true})"));
  EXPECT_EQ(parse_gc_request("")->grace, Nanos(24h));
  EXPECT_EQ(parse_gc_request(R"({"grace_seconds":1.5})")->grace, Nanos(1500ms));
  EXPECT_FALSE(parse_gc_request(R"({"grace_seconds":-1})"));
  const auto tree = parse_export_request(R"({"folder":"/srv/x","names":["a","b"]})");
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->names, (std::vector<std::string>{"a", "b"}));
  for (const char* bad : {"{}", R"({"folder":"x"})", R"({"folder":"/x","car_file":"/y"})",
                          R"({"folder":"/x","names":["../a"]})", R"({"folder":"/x","names":[1]})"})
    EXPECT_FALSE(parse_export_request(bad)) << bad;
  EXPECT_EQ(parse_sign_request(R"({"path":"images/a.json","key":"k"})")->path, "images/a.json");
}

TEST(JsonIn, StopRequest) {
  EXPECT_FALSE(parse_stop_request("")->force);
  EXPECT_EQ(parse_stop_request("")->timeout, 60s);
  EXPECT_TRUE(parse_stop_request(R"({"force":true})")->force);
  EXPECT_EQ(parse_stop_request(R"({"timeout_seconds":1.5})")->timeout, 1500ms);
  EXPECT_FALSE(parse_stop_request(R"({"timeout_seconds":-1})"));
  EXPECT_FALSE(parse_stop_request(R"({"timeout_seconds":3601})"));
  EXPECT_FALSE(parse_stop_request(R"({"timeout_seconds":"1"})"));
}

}  // namespace
}  // namespace forerun::api
