#include "export/nbd_handshake.h"

#include <map>

namespace forerun::nbd {
namespace {

using Next = NbdHandshake::Next;

class FakeExports final : public HandshakeExports {
 public:
  std::map<std::string, ExportInfo, std::less<>> exports{
      {"disk", {.description = "a disk", .size_bytes = 1 << 20}},
      {"rom", {.size_bytes = 4096, .read_only = true, .multi_conn = false}}};
  bool is_full = false;
  size_t opened = 0;

  std::optional<ExportInfo> describe(std::string_view name) override {
    const auto found = exports.find(name);
    if (found == exports.end()) return std::nullopt;
    return found->second;
  }
  std::expected<ExportInfo, OpenRefusal> open(std::string_view name) override {
    if (is_full) return std::unexpected(OpenRefusal::kTooManyConnections);
    const auto info = describe(name);
    if (!info) return std::unexpected(OpenRefusal::kUnknown);
    ++opened;
    return *info;
  }
  std::vector<ExportEntry> list(const std::string* after, size_t count_max) override {
    std::vector<ExportEntry> entries;
    for (auto entry = after == nullptr ? exports.begin() : exports.upper_bound(*after);
         entry != exports.end() && entries.size() < count_max; ++entry)
      entries.push_back({entry->first, entry->second.description});
    return entries;
  }
};

template <typename T>
std::string be(T value) {
  std::string text(sizeof value, '\0');
  store_be(reinterpret_cast<std::byte*>(text.data()), value);
  return text;
}

std::string option(uint32_t type, const std::string& payload = "") {
  return be(kOptionMagic) + be(type) + be(static_cast<uint32_t>(payload.size())) + payload;
}

std::string counted(const std::string& text) {
  return be(static_cast<uint32_t>(text.size())) + text;
}

std::string go(const std::string& name, const std::vector<uint16_t>& infos = {}) {
  std::string payload = counted(name) + be(static_cast<uint16_t>(infos.size()));
  for (const uint16_t info : infos) payload += be(info);
  return payload;
}

std::string meta(const std::string& name, const std::vector<std::string>& queries) {
  std::string payload = counted(name) + be(static_cast<uint32_t>(queries.size()));
  for (const std::string& query : queries) payload += counted(query);
  return payload;
}

struct Reply {
  uint32_t option = 0;
  uint32_t type = 0;
  std::string payload;
};

class HandshakeTest : public testing::Test {
 protected:
  explicit HandshakeTest(HandshakeOptions options = {}) : handshake_(options, exports_) {
    Buffer greeting;
    handshake_.begin(greeting);
    EXPECT_EQ(greeting.size(), 18u);
    EXPECT_EQ(load_be<uint64_t>(greeting.data()), kGreetingMagic);
    EXPECT_EQ(load_be<uint64_t>(greeting.data() + 8), kOptionMagic);
    EXPECT_EQ(load_be<uint16_t>(greeting.data() + 16), 3);
  }

  // Feeds `bytes` and whatever the machine wants to say more; `output_` receives all of it.
  Next feed(const std::string& bytes) {
    ByteView input = as_bytes(bytes);
    Next next = Next::kSend;
    while (next == Next::kSend) {
      Buffer part;
      next = handshake_.feed(input, part);
      largest_output_ = std::max(largest_output_, part.size());
      output_ += as_text(part);
    }
    left_ = input.size();
    return next;
  }
  Next begin(uint32_t flags = 3) { return feed(be(flags)); }

  std::vector<Reply> take_replies() {
    std::vector<Reply> replies;
    ByteView rest = as_bytes(output_);
    while (rest.size() >= kOptionReplyHeaderBytes) {
      EXPECT_EQ(load_be<uint64_t>(rest.data()), kOptionReplyMagic);
      const uint32_t size = load_be<uint32_t>(rest.data() + 16);
      replies.push_back({load_be<uint32_t>(rest.data() + 8), load_be<uint32_t>(rest.data() + 12),
                         std::string(as_text(rest.subspan(20, size)))});
      rest = rest.subspan(20 + size);
    }
    EXPECT_TRUE(rest.empty());
    output_.clear();
    return replies;
  }
  uint32_t last_type() {
    const std::vector<Reply> replies = take_replies();
    return replies.empty() ? 0 : replies.back().type;
  }

  FakeExports exports_;
  NbdHandshake handshake_;
  std::string output_;
  size_t left_ = 0;
  size_t largest_output_ = 0;
};

TEST_F(HandshakeTest, GoOpensAnExport) {
  begin();

  EXPECT_EQ(feed(option(kOptGo, go("disk", {kInfoName, kInfoDescription, kInfoBlockSize}))),
            Next::kTransmission);

  const std::vector<Reply> replies = take_replies();
  ASSERT_EQ(replies.size(), 5u);
  EXPECT_EQ(replies[0].payload, be(uint16_t{0}) + be(uint64_t{1 << 20}) + be(uint16_t{0x0d6d}));
  EXPECT_EQ(replies[1].payload, be(uint16_t{3}) + be(1u) + be(4096u) + be(32u << 20));
  EXPECT_EQ(replies[2].payload, be(uint16_t{1}) + "disk");
  EXPECT_EQ(replies[3].payload, be(uint16_t{2}) + "a disk");
  EXPECT_EQ(replies[4].type, kRepAck);
  EXPECT_EQ(handshake_.negotiated().export_name, "disk");
  EXPECT_EQ(exports_.opened, 1u);
}

TEST_F(HandshakeTest, TakesItsInputByteByByte) {
  begin();
  const std::string bytes = option(kOptStructuredReply) + option(99, "some payload") +
                            option(kOptInfo, go("disk")) + option(kOptGo, go("disk"));

  Next next = Next::kReceive;
  for (const char byte : bytes) {
    EXPECT_EQ(next, Next::kReceive);
    next = feed(std::string(1, byte));
  }

  EXPECT_EQ(next, Next::kTransmission);
  EXPECT_TRUE(handshake_.negotiated().structured_replies);
}

TEST_F(HandshakeTest, LeavesRequestsBehindTheHandshakeAlone) {
  begin();

  EXPECT_EQ(feed(option(kOptGo, go("disk")) + "12345"), Next::kTransmission);

  EXPECT_EQ(left_, 5u);
}

TEST_F(HandshakeTest, ReadOnlyExportOffersNoWrites) {
  begin();

  feed(option(kOptInfo, go("rom")));

  EXPECT_EQ(take_replies()[0].payload, be(uint16_t{0}) + be(uint64_t{4096}) + be(uint16_t{0x0407}));
}

TEST_F(HandshakeTest, InfoDoesNotOpen) {
  begin();

  EXPECT_EQ(feed(option(kOptInfo, go("disk"))), Next::kReceive);

  EXPECT_EQ(exports_.opened, 0u);
}

TEST_F(HandshakeTest, ExportNamePadsUnlessToldNotTo) {
  begin(kFlagFixedNewstyle);

  EXPECT_EQ(feed(option(kOptExportName, "disk")), Next::kTransmission);

  EXPECT_EQ(output_.size(), 10u + 124u);
}

TEST_F(HandshakeTest, ExportNameWithoutPadding) {
  begin();

  EXPECT_EQ(feed(option(kOptExportName, "disk")), Next::kTransmission);

  EXPECT_EQ(output_, be(uint64_t{1 << 20}) + be(uint16_t{0x0d6d}));
}

TEST_F(HandshakeTest, UnknownExportNameEndsTheConnection) {
  begin();

  EXPECT_EQ(feed(option(kOptExportName, "nothing")), Next::kClose);

  EXPECT_TRUE(output_.empty());
}

TEST_F(HandshakeTest, OldNewstyleClientMayOnlyNameAnExport) {
  begin(0);

  EXPECT_EQ(feed(option(kOptList)), Next::kClose);
}

TEST_F(HandshakeTest, RefusesUnknownClientFlags) { EXPECT_EQ(begin(1u << 7), Next::kClose); }

TEST_F(HandshakeTest, RefusesAnUnknownExportAndGoesOn) {
  begin();
  feed(option(kOptGo, go("nothing")));
  EXPECT_EQ(last_type(), kRepErrUnknown);

  EXPECT_EQ(feed(option(kOptGo, go("disk"))), Next::kTransmission);
}

TEST_F(HandshakeTest, SaysThatAnExportHasNoRoom) {
  begin();
  exports_.is_full = true;

  EXPECT_EQ(feed(option(kOptGo, go("disk"))), Next::kReceive);

  EXPECT_EQ(last_type(), kRepErrPolicy);
}

TEST_F(HandshakeTest, ListsExports) {
  begin();

  feed(option(kOptList));

  const std::vector<Reply> replies = take_replies();
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies[0].payload, counted("disk") + "a disk");
  EXPECT_EQ(replies[1].payload, counted("rom"));
  EXPECT_EQ(replies[2].type, kRepAck);
}

TEST_F(HandshakeTest, SendsALongListInParts) {
  begin();
  for (int i = 0; i < 2000; ++i) exports_.exports[fmt::format("export-{:04}", i)] = {};

  feed(option(kOptList));

  EXPECT_EQ(take_replies().size(), 2003u);
  EXPECT_LT(largest_output_, 20u << 10);
}

TEST_F(HandshakeTest, RefusesAListWithPayload) {
  begin();
  feed(option(kOptList, "x"));
  EXPECT_EQ(last_type(), kRepErrInvalid);
}

TEST_F(HandshakeTest, SkipsThePayloadOfAnUnknownOption) {
  begin();

  EXPECT_EQ(feed(option(77, std::string(1 << 20, 'x')) + option(kOptAbort)), Next::kClose);

  const std::vector<Reply> replies = take_replies();
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0].type, kRepErrUnsupported);
  EXPECT_EQ(replies[1].type, kRepAck);
  EXPECT_TRUE(handshake_.close_reason().empty());
}

TEST_F(HandshakeTest, RefusesALongPayloadOfAKnownOption) {
  begin();
  feed(option(kOptGo, std::string(17 << 10, 'x')));
  EXPECT_EQ(last_type(), kRepErrTooBig);
}

TEST_F(HandshakeTest, RefusesALongName) {
  begin();
  feed(option(kOptGo, go(std::string(4097, 'a'))));
  EXPECT_EQ(last_type(), kRepErrTooBig);
}

TEST_F(HandshakeTest, AcceptsTheLongestName) {
  begin();
  const std::string name(4096, 'a');
  exports_.exports[name] = {};

  EXPECT_EQ(feed(option(kOptExportName, name)), Next::kTransmission);
}

TEST_F(HandshakeTest, RefusesMalformedGo) {
  begin();
  for (const std::string& payload :
       {std::string(), std::string("abc"), be(100u) + "disk", counted("disk"),
        counted("disk") + be(uint16_t{1}), counted("disk") + be(uint16_t{0}) + "x",
        be(0xffffffffu) + be(uint16_t{0})}) {
    feed(option(kOptGo, payload));
    EXPECT_EQ(last_type(), kRepErrInvalid);
  }
}

TEST_F(HandshakeTest, EndsAtTheOptionLimit) {
  begin();
  for (int i = 0; i < 64; ++i) EXPECT_EQ(feed(option(77)), Next::kReceive);

  EXPECT_EQ(feed(option(77)), Next::kClose);
}

TEST_F(HandshakeTest, EndsAtTheByteLimitBeforeThePayloadComes) {
  begin();

  EXPECT_EQ(feed(be(kOptionMagic) + be(77u) + be((16u << 20) - 15)), Next::kClose);
}

TEST_F(HandshakeTest, EndsAtAWrongMagic) {
  begin();
  EXPECT_EQ(feed(be(kOptionMagic + 1) + be(3u) + be(0u)), Next::kClose);
}

TEST_F(HandshakeTest, ChoosesBaseAllocation) {
  begin();

  EXPECT_EQ(feed(option(kOptStructuredReply) +
                 option(kOptSetMetaContext, meta("disk", {"qemu:x", "base:allocation"})) +
                 option(kOptGo, go("disk"))),
            Next::kTransmission);

  EXPECT_EQ(take_replies()[1].payload, be(1u) + "base:allocation");
  EXPECT_TRUE(handshake_.negotiated().base_allocation);
}

TEST_F(HandshakeTest, ListsContexts) {
  begin();
  feed(option(kOptStructuredReply));
  take_replies();
  for (const std::vector<std::string>& queries :
       {std::vector<std::string>{}, {"base:"}, {"base:allocation"}}) {
    feed(option(kOptListMetaContext, meta("disk", queries)));
    EXPECT_EQ(take_replies().front().payload, be(0u) + "base:allocation");
  }
  feed(option(kOptListMetaContext, meta("disk", {"other:"})));
  EXPECT_EQ(take_replies().size(), 1u);
  EXPECT_FALSE(handshake_.negotiated().base_allocation);
}

TEST_F(HandshakeTest, ContextsNeedStructuredReplies) {
  begin();
  feed(option(kOptSetMetaContext, meta("disk", {"base:allocation"})));
  EXPECT_EQ(last_type(), kRepErrInvalid);
}

TEST_F(HandshakeTest, RefusesMalformedContexts) {
  begin();
  feed(option(kOptStructuredReply));
  take_replies();
  for (const std::string& payload :
       {std::string(), counted("disk"), counted("disk") + be(0xffffffffu),
        counted("disk") + be(1u) + be(50u) + "base:", meta("disk", {"base:"}) + "x"}) {
    feed(option(kOptSetMetaContext, payload));
    EXPECT_EQ(last_type(), kRepErrInvalid);
  }
}

TEST_F(HandshakeTest, ContextsOfAnotherExportDoNotHold) {
  begin();

  feed(option(kOptStructuredReply) + option(kOptSetMetaContext, meta("rom", {"base:allocation"})) +
       option(kOptGo, go("disk")));

  EXPECT_FALSE(handshake_.negotiated().base_allocation);
}

TEST_F(HandshakeTest, AFailedChoiceForgetsTheFormerOne) {
  begin();

  feed(option(kOptStructuredReply) + option(kOptSetMetaContext, meta("disk", {"base:allocation"})) +
       option(kOptSetMetaContext, meta("nothing", {"base:allocation"})) +
       option(kOptGo, go("disk")));

  EXPECT_FALSE(handshake_.negotiated().base_allocation);
}

TEST_F(HandshakeTest, RefusesTlsThatIsNotThere) {
  begin();
  feed(option(kOptStartTls));
  EXPECT_EQ(last_type(), kRepErrUnsupported);
}

class OfferedTlsTest : public HandshakeTest {
 protected:
  OfferedTlsTest() : HandshakeTest({.tls = TlsPolicy::kOffered}) {}
};

// CVE-2021-3716: what was agreed in plain text must not hold inside TLS.
TEST_F(OfferedTlsTest, TlsForgetsWhatWasAgreed) {
  begin();
  feed(option(kOptStructuredReply) + option(kOptSetMetaContext, meta("disk", {"base:allocation"})));
  ASSERT_TRUE(handshake_.negotiated().base_allocation);

  EXPECT_EQ(feed(option(kOptStartTls)), Next::kStartTls);
  handshake_.tls_started();

  EXPECT_EQ(feed(option(kOptGo, go("disk"))), Next::kTransmission);
  EXPECT_FALSE(handshake_.negotiated().structured_replies);
  EXPECT_FALSE(handshake_.negotiated().base_allocation);
}

TEST_F(OfferedTlsTest, ShowsBytesInjectedBehindStartTls) {
  begin();

  EXPECT_EQ(feed(option(kOptStartTls) + option(kOptGo, go("disk"))), Next::kStartTls);

  EXPECT_GT(left_, 0u);
  EXPECT_EQ(exports_.opened, 0u);
}

TEST_F(OfferedTlsTest, RefusesTlsInsideTls) {
  begin();
  feed(option(kOptStartTls));
  handshake_.tls_started();
  feed(option(kOptStartTls));
  EXPECT_EQ(last_type(), kRepErrInvalid);
}

class RequiredTlsTest : public HandshakeTest {
 protected:
  RequiredTlsTest() : HandshakeTest({.tls = TlsPolicy::kRequired}) {}
};

TEST_F(RequiredTlsTest, RefusesEverythingElseInPlainText) {
  begin();
  for (const uint32_t type : {uint32_t{kOptList}, uint32_t{kOptInfo}, uint32_t{kOptGo},
                              uint32_t{kOptStructuredReply}, uint32_t{kOptSetMetaContext}, 77u}) {
    feed(option(type, go("disk")));
    EXPECT_EQ(last_type(), kRepErrTlsRequired);
  }
  EXPECT_EQ(feed(option(kOptExportName, "disk")), Next::kClose);
  EXPECT_EQ(exports_.opened, 0u);
}

TEST_F(RequiredTlsTest, ServesInsideTls) {
  begin();
  EXPECT_EQ(feed(option(kOptStartTls)), Next::kStartTls);
  handshake_.tls_started();

  EXPECT_EQ(feed(option(kOptGo, go("disk"))), Next::kTransmission);
}

}  // namespace
}  // namespace forerun::nbd
