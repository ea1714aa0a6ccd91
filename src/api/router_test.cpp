#include "api/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "api/fake_service.h"
#include "api/json_out.h"

namespace forerun::api {
namespace {

using ::testing::HasSubstr;

class RouterTest : public ::testing::Test {
 protected:
  net::HttpResponse get(std::string path) {
    return router_.handle({"GET", std::move(path), "", "", ""});
  }
  net::HttpResponse send(std::string method, std::string path, std::string body) {
    return router_.handle(
        {std::move(method), std::move(path), "", "application/json", std::move(body)});
  }

  FakeService service_;
  Router router_{service_, [] { return int64_t{1790000060}; }};
};

TEST_F(RouterTest, ImportsAnImageAsAnOperation) {
  const auto response =
      send("POST", "/api/v1/images", R"({"source_path":"/d.raw","name":"debian"})");
  EXPECT_EQ(response.status, 202);
  EXPECT_THAT(response.body, HasSubstr(R"("id":"o-1")"));
  EXPECT_THAT(response.body, HasSubstr(R"("progress_ratio":5E-1)"));
  EXPECT_THAT(response.headers, ::testing::Contains(std::pair<std::string, std::string>(
                                    "Location", "/api/v1/operations/o-1")));
  EXPECT_EQ(service_.import_request.source_path, "/d.raw");
}

TEST_F(RouterTest, ListsCarryItemsAndTime) {
  const auto response = get("/api/v1/images");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body,
            R"({"items":[{"name":"debian","digest":")" + std::string(64, 'a') +
                R"(","size_bytes":1073741824,"stored_bytes":1048576,"chunk_bytes":65536,)"
                R"("chunk_count":400,)"
                R"("zero_chunk_count":15984,"prior_chunk_count":60,"learned_boot_count":2}],)"
                R"("as_of":"2026-09-21T14:14:20Z"})");
}

TEST_F(RouterTest, MarksAComponent) {
  EXPECT_EQ(send("PATCH", "/api/v1/components/nginx", R"({"shareable":true})").status, 204);
  EXPECT_EQ(service_.asked_name, "nginx");
  EXPECT_THAT(get("/api/v1/components").body, HasSubstr(R"("shareable":true)"));
  const auto refused = send("PATCH", "/api/v1/components/nginx", "{}");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("shareable is missing"));
  EXPECT_EQ(send("PATCH", "/api/v1/components/nginx", R"({"shareable":1})").status, 400);
}

TEST_F(RouterTest, ImportsSayWhetherWhatTheyTeachIsShared) {
  const std::string path = "/api/v1/components";
  send("POST", path, R"({"source_path":"/d","name":"d"})");
  EXPECT_EQ(service_.component_request.is_shareable, std::nullopt);
  send("POST", path, R"({"source_path":"/d","name":"d","shareable":true})");
  EXPECT_EQ(service_.component_request.is_shareable, true);
}

TEST_F(RouterTest, AsksAnAgentForOtherProfiles) {
  const std::string path = "/api/v1/vms/web-1/profile";
  EXPECT_EQ(send("PATCH", path, R"({"period_ms":500})").status, 200);
  const auto both = send("PATCH", path, R"({"metrics":["cpu","disks"]})");
  EXPECT_THAT(both.body, HasSubstr(R"("asked":{"period_ms":500,"metrics":["cpu","disks"]})"));
  EXPECT_EQ(service_.asked_name, "web-1");
  const auto refused = send("PATCH", path, R"({"period_ms":1})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("period_ms must be a whole number from 100 to 3600000"));
  EXPECT_EQ(send("PATCH", path, R"({"mood":1})").status, 400);
  EXPECT_EQ(send("PUT", path, "{}").status, 405);
}

TEST_F(RouterTest, RunsAndStopsAVm) {
  EXPECT_EQ(send("POST", "/api/v1/vms", R"({"name":"web-1","image":"debian"})").status, 201);
  EXPECT_EQ(service_.run_request.image, "debian");
  EXPECT_EQ(send("POST", "/api/v1/vms/web-1/stop", R"({"force":true})").status, 200);
  EXPECT_EQ(service_.asked_name, "web-1");
  EXPECT_TRUE(service_.stop_request.force);
  const auto removed = send("DELETE", "/api/v1/vms/web-1", "");
  EXPECT_EQ(removed.status, 204);
  EXPECT_EQ(removed.body, "");
}

TEST_F(RouterTest, MovesAVm) {
  const auto response =
      send("POST", "/api/v1/vms/web-1/migrate",
           R"({"to":"b","mode":"postcopy","downtime_ms_max":50,"without_forwards":true})");
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(service_.asked_name, "web-1");
  EXPECT_EQ(service_.migrate_request.to, "b");
  EXPECT_EQ(service_.migrate_request.mode, MigrateMode::kPostcopy);
  EXPECT_EQ(service_.migrate_request.downtime_ms_max, 50u);
  EXPECT_TRUE(service_.migrate_request.without_forwards);
  const std::string path = "/api/v1/vms/web-1/migrate";
  EXPECT_THAT(send("POST", path, R"({})").body, HasSubstr("to must be"));
  EXPECT_EQ(send("POST", path, R"({"to":"b","downtime_ms_max":0})").status, 400);
  EXPECT_EQ(send("POST", path, R"({"to":"b","mode":"teleport"})").status, 400);
  EXPECT_EQ(send("GET", path, "").status, 405);
  EXPECT_EQ(send("POST", path + "/cancel", "").status, 204);
  EXPECT_THAT(get("/api/v1/hosts").body, HasSubstr(R"("reachable":true)"));
}

TEST_F(RouterTest, TellsWhatAMigrationWouldTakeAndWhatMigrationsTook) {
  const std::string path = "/api/v1/vms/web-1/migrate/forecast";
  const auto told =
      send("POST", path, R"({"to":"b","degradation_percent_max":10,"switch_within_ms":2000})");
  EXPECT_EQ(told.status, 200);
  EXPECT_THAT(told.body, HasSubstr(R"("total_s":{"expected":4E0,"low":3E0,"high":5E0})"));
  EXPECT_EQ(service_.migrate_request.degradation_percent_max, 10u);
  EXPECT_EQ(service_.migrate_request.switch_within_ms, 2000u);
  EXPECT_EQ(send("POST", path, R"({"to":"b","degradation_percent_max":101})").status, 400);
  EXPECT_EQ(send("GET", path, "").status, 405);
  const auto known = get("/api/v1/migrations");
  EXPECT_THAT(known.body, HasSubstr(R"("actual":{"total_s":4.5E0,"downtime_s":5E-2)"));
  EXPECT_THAT(known.body, HasSubstr(R"("factor":1.25E0)"));
  EXPECT_EQ(send("POST", "/api/v1/migrations", "{}").status, 405);
}

TEST_F(RouterTest, ErrorsAreProblems) {
  service_.error = Error{ErrorCode::kExists, "VM 'web-1' runs already", 0};
  const auto response = send("POST", "/api/v1/vms", R"({"name":"web-1","image":"debian"})");
  EXPECT_EQ(response.status, 409);
  EXPECT_EQ(response.content_type, "application/problem+json");
  EXPECT_EQ(response.body,
            R"({"type":"/problems/exists","title":"It exists already or is in use","status":409,)"
            R"("detail":"VM 'web-1' runs already","instance":"/api/v1/vms","code":"exists"})");
}

TEST_F(RouterTest, BadBodyIsAProblemThatNamesTheMember) {
  const auto response = send("POST", "/api/v1/vms", R"({"name":"a","image":"b","cpus":"2"})");
  EXPECT_EQ(response.status, 400);
  EXPECT_THAT(response.body, HasSubstr("cpus must be a whole number"));
}

TEST_F(RouterTest, BodiesMustBeSaidToBeJson) {
  const net::HttpRequest form{"POST", "/api/v1/vms", "", "text/plain",
                              R"({"name":"a","image":"b"})"};
  EXPECT_EQ(router_.handle(form).status, 415);
  EXPECT_EQ(service_.run_request.name, "");
}

TEST_F(RouterTest, UnknownPathsAndHostileNames) {
  for (const char* path :
       {"", "/", "/api/v1", "/api/v1/nothing", "/api/v1/vms/a/b", "/api/v1/vms/a/stats/x",
        "/api/v2/vms", "/metrics/x", "/api/v1/images/a/b", "//api/v1/vms"}) {
    EXPECT_EQ(get(path).status, 404) << path;
  }
  for (const char* path :
       {"/api/v1/vms/..", "/api/v1/vms/%2e%2e", "/api/v1/images/a%00", "/api/v1/vms/"}) {
    EXPECT_EQ(get(path).status, 400) << path;
  }
  EXPECT_EQ(get("/api/v1/" + std::string(100000, '/')).status, 404);
}

TEST_F(RouterTest, WrongMethodNamesTheRightOnes) {
  const auto response = send("PUT", "/api/v1/vms", "");
  EXPECT_EQ(response.status, 405);
  EXPECT_THAT(response.headers,
              ::testing::Contains(std::pair<std::string, std::string>("Allow", "GET, POST")));
  EXPECT_EQ(send("GET", "/api/v1/vms/a/stop", "").status, 405);
  EXPECT_EQ(send("POST", "/metrics", "").status, 405);
}

TEST_F(RouterTest, WorkOnTheRepositoryTellsWhatCameOfIt) {
  const auto verified = send("POST", "/api/v1/repository/verify", R"({"deep":true})");
  EXPECT_EQ(verified.status, 202);
  EXPECT_TRUE(service_.verify_request.deep);
  EXPECT_THAT(verified.body, HasSubstr(R"("needed_by":["images/debian.json"])"));
  EXPECT_EQ(send("POST", "/api/v1/repository/gc", "").status, 202);
  EXPECT_EQ(get("/api/v1/repository/gc").status, 405);
  EXPECT_EQ(get("/api/v1/repository/tags").status, 200);
  EXPECT_EQ(get("/api/v1/repository/none").status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/images/debian", "").status, 204);
  EXPECT_EQ(service_.asked_name, "debian");
}

TEST_F(RouterTest, GetNeverActs) {
  for (const char* path :
       {"/api/v1/vms", "/api/v1/vms/web-1", "/api/v1/vms/web-1/stop", "/api/v1/images"}) {
    get(path);
  }
  EXPECT_EQ(service_.run_request.name, "");
  EXPECT_FALSE(service_.stop_request.force);
}

TEST_F(RouterTest, ACheckpointIsCopiedToAHost) {
  const std::string path = "/api/v1/vms/web-1/checkpoints/3/copy";
  EXPECT_EQ(send("POST", path, R"({"to":"b","rate_bytes_per_s_max":1000})").status, 202);
  EXPECT_EQ(service_.asked_name, "web-1 3 b 1000");
  EXPECT_EQ(send("POST", path, "{}").status, 400);
  EXPECT_EQ(send("POST", path, R"({"to":"../b"})").status, 400);
  EXPECT_EQ(send("DELETE", path, "").status, 405);
}

TEST_F(RouterTest, ACheckpointPolicyIsChangedByWhatIsSaid) {
  const std::string path = "/api/v1/vms/web-1/checkpoint-policy";
  EXPECT_EQ(send("PATCH", path, R"({"auto":true,"budget_ratio":0.05})").status, 200);
  EXPECT_EQ(service_.checkpoint_policy_request.is_auto, true);
  EXPECT_EQ(service_.checkpoint_policy_request.budget_ratio, 0.05);
  EXPECT_FALSE(service_.checkpoint_policy_request.keep);
  EXPECT_THAT(get(path).body, HasSubstr(R"("why":"it is at rest")"));
  EXPECT_EQ(send("PATCH", path, R"({"auto":"yes"})").status, 400);
  EXPECT_EQ(send("PATCH", path, R"({"keep":0})").status, 400);
}

TEST_F(RouterTest, AShareIsChangedByWhatIsSaid) {
  const std::string path = "/api/v1/vms/web-1/share";
  EXPECT_EQ(send("PATCH", path, R"({"weight":250.5,"limit_bytes_per_s":1000000})").status, 200);
  EXPECT_EQ(service_.share_request.weight, 250.5);
  EXPECT_EQ(service_.share_request.limit_bytes_per_s, 1e6);
  EXPECT_FALSE(service_.share_request.reserved_bytes_per_s);
  const auto refused = send("PATCH", path, R"({"weight":"much"})");
  EXPECT_EQ(refused.status, 400);
  EXPECT_THAT(refused.body, HasSubstr("weight must be a number"));
  EXPECT_EQ(get(path).status, 405);
}

TEST_F(RouterTest, AsksForASeriesOfTheHistory) {
  const auto response = get("/api/v1/usage/vm/web-1/cpu_cores");
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.body, HasSubstr(R"("points":[[1790000040,5E-1,1.5E0]])"));
  EXPECT_EQ(service_.usage_request.name, (telemetry::SeriesName{"vm/web-1", "cpu_cores"}));
  EXPECT_EQ(service_.usage_request.last_seconds, 3600);
  const auto ask = [&](std::string query) {
    return router_.handle({"GET", "/api/v1/usage/host/memory_bytes", std::move(query), "", ""});
  };
  EXPECT_EQ(ask("last_seconds=86400&points_max=10&resolution=5m").status, 200);
  EXPECT_EQ(service_.usage_request.last_seconds, 86400);
  EXPECT_EQ(service_.usage_request.points_max, 10u);
  EXPECT_EQ(service_.usage_request.resolution, telemetry::Resolution::k5min);
  for (const char* query : {"last_seconds=0", "last_seconds=1x", "points_max=-1", "resolution=2m",
                            "colour=red", "last_seconds"})
    EXPECT_EQ(ask(query).status, 400) << query;
  EXPECT_EQ(get("/api/v1/usage/host/CPU").status, 400);
  EXPECT_EQ(get("/api/v1/usage/zone/cpu_cores").status, 404);
}

TEST_F(RouterTest, HistoryIsImportedAsAsked) {
  const std::string path = "/api/v1/usage/import";
  const auto done = send("POST", path,
                         R"({"url":"http://m:9090","instance":"h1","last_seconds":60,
                             "queries":[{"metric":"queue","select":"q{job=\"x\"}"}]})");
  EXPECT_EQ(done.status, 202) << done.body;
  EXPECT_EQ(service_.usage_import_request.url, "http://m:9090");
  EXPECT_EQ(service_.usage_import_request.last_seconds, 60);
  ASSERT_EQ(service_.usage_import_request.queries.size(), 1u);
  EXPECT_EQ(service_.usage_import_request.queries[0].metric, "queue");
  EXPECT_EQ(send("POST", path, R"({"last_seconds":0})").status, 400);
  const auto wrong = send("POST", path, R"({"queries":[{"metric":"queue","select":"q{"}]})");
  EXPECT_THAT(wrong.body, HasSubstr("queries[0]: selector needs a label at byte 2"));
  EXPECT_EQ(get(path).status, 405);
}

TEST_F(RouterTest, TakesAVmsOwnMetrics) {
  const std::string path = "/api/v1/vms/web-1/metrics";
  EXPECT_EQ(send("POST", path, R"({"values":{"queue":3,"rate":1.5}})").status, 204);
  EXPECT_EQ(service_.push_request, (PushRequest{{"queue", 3}, {"rate", 1.5}}));
  EXPECT_EQ(send("POST", path, R"({"values":{"queue":"long"}})").status, 400);
  EXPECT_EQ(send("POST", path, R"({"queue":3})").status, 400);
}

TEST_F(RouterTest, MetricsAndHealthAreText) {
  EXPECT_EQ(get("/metrics").body, "forerun_x_total 1\n");
  EXPECT_THAT(get("/metrics").content_type, HasSubstr("version=0.0.4"));
  EXPECT_EQ(get("/healthz").body, "ok\n");
}

TEST_F(RouterTest, WhatIsNoNumberIsNull) {
  service_.stats.stall_seconds = std::numeric_limits<double>::quiet_NaN();
  service_.stats.demand_p99_seconds = std::numeric_limits<double>::infinity();
  const auto response = get("/api/v1/vms/web-1/stats");
  EXPECT_THAT(response.body, HasSubstr(R"("stall_seconds":null)"));
  EXPECT_THAT(response.body, HasSubstr(R"("demand_p99_seconds":null)"));
}

TEST(RepairUtf8, KeepsWhatIsValidAndReplacesTheRest) {
  EXPECT_EQ(repair_utf8("plain ü € 😀"), "plain ü € 😀");
  EXPECT_EQ(repair_utf8("a\xff"), "a\xEF\xBF\xBD");
  EXPECT_EQ(repair_utf8("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");          // overlong
  EXPECT_EQ(repair_utf8("\xE2\x82"), "\xEF\xBF\xBD\xEF\xBF\xBD");          // cut short
  EXPECT_EQ(repair_utf8("\xED\xA0\x80").find('\xED'), std::string::npos);  // a surrogate
}

}  // namespace
}  // namespace forerun::api
