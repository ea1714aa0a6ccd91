#include "vmm/migration_control.h"

#include <gmock/gmock.h>

#include "vmm/qmp_fixture.h"

namespace forerun::vmm {
namespace {

TEST(MigrationStatus, ReadsWhatTheSourceSays) {
  const auto status = parse_migration_status(
      R"({"status":"active","expected-downtime":1041,"ram":{"total":168517632,"remaining":1000,
          "transferred":151000000,"dirty-sync-count":3,"postcopy-requests":7,
          "dirty-pages-rate":6000,"page-size":4096,"mbps":200.0}})");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, "active");
  EXPECT_FALSE(status->is_over());
  EXPECT_EQ(status->total_bytes, 168517632u);
  EXPECT_EQ(status->remaining_bytes, 1000u);
  EXPECT_EQ(status->transferred_bytes, 151000000u);
  EXPECT_EQ(status->rounds, 3u);
  EXPECT_EQ(status->page_requests, 7u);
  EXPECT_EQ(status->downtime_ms, 1041u);
  EXPECT_DOUBLE_EQ(status->dirty_bytes_per_s, 6000 * 4096.0);
  EXPECT_DOUBLE_EQ(status->rate_bytes_per_s, 25e6);
}

TEST(MigrationStatus, BeforeAnyMigrationItIsNone) {
  const auto status = parse_migration_status("{}");
  ASSERT_TRUE(status);
  EXPECT_EQ(status->state, "none");
}

TEST(MigrationStatus, TellsFailureInQemusWords) {
  const auto status = parse_migration_status(R"({"status":"failed","error-desc":"Broken pipe"})");
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->has_failed());
  EXPECT_EQ(status->error, "Broken pipe");
}

TEST(MigrationStatus, RefusesWhatIsNoObject) {
  EXPECT_FALSE(parse_migration_status("[]"));
  EXPECT_FALSE(parse_migration_status("{"));
}

TEST(MemoryBlocks, AreReadAsQemuTellsThem) {
  const auto blocks = parse_memory_blocks(
      "              Block Name    PSize              Offset               Used              "
      "Total\n"
      "                  pc.ram    4 KiB  0x0000000000000000 0x000000000c002000 "
      "0x000000000c002000\r\n"
      "    /rom@etc/acpi/tables    4 KiB  0x000000000c0c0000 0x0000000000020000 "
      "0x0000000000200000\r\n");
  ASSERT_TRUE(blocks) << blocks.error().message;
  EXPECT_THAT(*blocks, testing::ElementsAre(MemoryBlock{"pc.ram", 0xc002000},
                                            MemoryBlock{"/rom@etc/acpi/tables", 0x20000}));
}

TEST(MemoryBlocks, RefusesWhatIsNoTable) {
  EXPECT_FALSE(parse_memory_blocks("unknown command: 'info ramblock'\n"));
  EXPECT_FALSE(parse_memory_blocks("head\n pc.ram 4 KiB 0x0 many 0x1\n"));
  EXPECT_FALSE(parse_memory_blocks("head\n pc.ram 4 KiB\n"));
}

// Whoever is cancelled may stand still, waiting to be told to go on.
TEST(MigrationControl, TellsACancelledOneToGoOn) {
  std::string written;
  auto qmp = QmpClient::start(std::make_unique<ScriptedStream>(
      std::string(kHello) + "{\"return\": {}}\n{\"return\": {\"status\": \"cancelling\"}}\n" +
          "{\"return\": {}}\n{\"return\": {\"status\": \"cancelled\"}}\n",
      &written));
  ASSERT_TRUE(qmp);
  MigrationControl control(std::move(*qmp));
  ASSERT_TRUE(control.cancel());
  EXPECT_EQ(control.status_of_cancelled()->state, "cancelling");
  EXPECT_THAT(written, testing::HasSubstr("\"execute\":\"migrate-continue\""));
  EXPECT_THAT(written, testing::HasSubstr(R"("arguments":{"state":"cancelling"})"));
  const size_t before = written.size();
  EXPECT_EQ(control.status_of_cancelled()->state, "cancelled");
  EXPECT_THAT(written.substr(before), testing::Not(testing::HasSubstr("migrate-continue")));
}

TEST(MigrationControl, OneThatEndedMeanwhileMayRefuse) {
  std::string written;
  auto qmp = QmpClient::start(std::make_unique<ScriptedStream>(
      std::string(kHello) + "{\"return\": {\"status\": \"cancelling\"}}\n" +
          "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not in expected state\"}}\n",
      &written));
  ASSERT_TRUE(qmp);
  MigrationControl control(std::move(*qmp));
  EXPECT_TRUE(control.status_of_cancelled());
}

}  // namespace
}  // namespace forerun::vmm
