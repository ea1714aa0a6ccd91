#include "daemon/migration_messages.h"

namespace forerun::daemon {
namespace {

TEST(PeerMessage, SurvivesARoundTrip) {
  PeerMessage message;
  message.kind = PeerMessageKind::kPrepare;
  message.id = "m-1";
  message.vm = "web";
  message.record = "{\"name\":\"web\"}\n";
  message.ownership = UINT64_MAX;
  message.is_postcopy = true;
  const auto parsed = parse_peer_message(encode(message));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, message);
}

TEST(PeerMessage, RefusesWhatIsNone) {
  EXPECT_EQ(parse_peer_message("[]").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(parse_peer_message(R"({"kind":"ping"})").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(parse_peer_message(R"({"kind":"dance","version":1})").error().code,
            ErrorCode::kCorrupt);
  EXPECT_EQ(parse_peer_message(R"({"kind":"ask","version":1,"id":7})").error().code,
            ErrorCode::kCorrupt);
  EXPECT_EQ(parse_peer_message(R"({"kind":"commit","version":1,"ownership":-1})").error().code,
            ErrorCode::kCorrupt);
}

TEST(PeerMessage, NamesAVersionThatIsNotKnown) {
  const auto parsed = parse_peer_message(R"({"kind":"ping","version":2})");
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().code, ErrorCode::kUnsupported);
}

TEST(PeerMessage, EveryKindHasItsName) {
  for (int kind = 0; kind <= static_cast<int>(PeerMessageKind::kReturned); ++kind) {
    PeerMessage message;
    message.kind = PeerMessageKind(kind);
    EXPECT_EQ(parse_peer_message(encode(message))->kind, message.kind);
  }
}

}  // namespace
}  // namespace forerun::daemon
