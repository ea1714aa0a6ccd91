#include "net/journal_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/codec.h"
#include "core/id.h"

namespace forerun::net {
namespace {

std::string index_path(char digit) { return "indexes/" + std::string(64, digit); }

struct JournalFileTest : testing::Test {
  JournalFileTest() {
    std::string pattern = testing::TempDir() + "forerun-journal-XXXXXX";
    folder = mkdtemp(pattern.data());
    descriptor = os::Fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    auto made = JournalFile::create(descriptor.get(), "journal", 7, folder + "/journal");
    EXPECT_TRUE(made) << made.error().message;
    journal.emplace(std::move(*made));
  }
  ~JournalFileTest() override { std::filesystem::remove_all(folder); }
  Buffer content() const { return *os::read_file(folder + "/journal", kJournalBytesMax); }
  void append(const std::string& path, std::string_view data) {
    const Status appended = journal->append({encode({path, Nanos(5), as_bytes(data)})});
    EXPECT_TRUE(appended) << appended.error().message;
  }

  std::string folder;
  os::Fd descriptor;
  std::optional<JournalFile> journal;
};

TEST(PutKind, IsToldFromThePath) {
  const std::string digest(64, 'a');
  for (const std::string& path : {"chunks/aa/" + digest, "indexes/" + digest,
                                  "compositions/" + digest, "components/" + digest})
    EXPECT_EQ(put_kind(path), PutKind::kImmutable) << path;
  for (const std::string& path : {"priors/" + digest, "priors/" + digest + ".12",
                                  "component-priors/" + digest, "composed/" + digest + ".3"})
    EXPECT_EQ(put_kind(path), PutKind::kHint) << path;
  for (const std::string& path :
       {std::string("images/a.json"), std::string("images.json"), std::string("component-tags/a"),
        "images/" + digest, "chunks/bb/" + digest, "chunks/" + digest, "indexes/a" + digest,
        "indexes/../" + digest, "indexes/x/" + digest, std::string("indexes/1"), std::string()})
    EXPECT_EQ(put_kind(path), PutKind::kTag) << path;
}

TEST_F(JournalFileTest, GivesBackItsBatches) {
  ASSERT_TRUE(journal->append({encode({index_path('a'), Nanos(5), as_bytes("one")}),
                               encode({index_path('b'), Nanos(6), {}})}));
  append(index_path('c'), "three");

  const Buffer file = content();
  const auto parsed = parse_journal(file);

  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->epoch, 7u);
  ASSERT_EQ(parsed->entries.size(), 3u);
  EXPECT_EQ(parsed->entries[0].path, index_path('a'));
  EXPECT_EQ(as_text(parsed->entries[0].data), "one");
  EXPECT_EQ(parsed->entries[1].modified, Nanos(6));
  EXPECT_EQ(as_text(parsed->entries[2].data), "three");
}

TEST_F(JournalFileTest, OneNeverWrittenToHoldsNothing) {
  EXPECT_TRUE(parse_journal({})->entries.empty());
  EXPECT_TRUE(parse_journal(Buffer(4096))->entries.empty());
  EXPECT_TRUE(parse_journal(content())->entries.empty());
}

TEST_F(JournalFileTest, DropsABatchThatIsCutOffAtAnyByte) {
  append(index_path('a'), "first");
  const size_t first_end = content().size();
  append(index_path('b'), std::string(1000, 'x'));
  const Buffer whole = content();
  ASSERT_EQ(parse_journal(whole)->entries.size(), 2u);
  for (size_t size = first_end; size + 512 < whole.size(); ++size) {
    const auto parsed = parse_journal(ByteView(whole).first(size));
    ASSERT_TRUE(parsed) << size;
    ASSERT_EQ(parsed->entries.size(), 1u) << size;
  }
}

TEST_F(JournalFileTest, DropsABatchWithAnyByteChanged) {
  append(index_path('a'), "first");
  const size_t first_end = content().size();
  append(index_path('b'), "second");
  Buffer file = content();
  const size_t used = first_end + 64 + 48 + index_path('b').size() + 6;
  for (size_t at = first_end; at < used; ++at) {
    file[at] ^= std::byte{1};
    const auto parsed = parse_journal(file);
    ASSERT_TRUE(parsed) << at;
    ASSERT_EQ(parsed->entries.size(), 1u) << at;
    file[at] ^= std::byte{1};
  }
}

TEST_F(JournalFileTest, ForgetsWhatStandsBehindANewEpoch) {
  append(index_path('a'), "old");
  append(index_path('b'), "older than it looks");
  ASSERT_TRUE(journal->clear(8));
  EXPECT_EQ(journal->held_bytes(), 0u);
  EXPECT_TRUE(parse_journal(content())->entries.empty());
  append(index_path('c'), "new");
  const Buffer file = content();
  const auto parsed = parse_journal(file);
  ASSERT_EQ(parsed->entries.size(), 1u);
  EXPECT_EQ(parsed->entries[0].path, index_path('c'));
}

TEST_F(JournalFileTest, RefusesWhatIsNoJournalAndSaysWhere) {
  const auto error_of = [](const Buffer& file) {
    const auto parsed = parse_journal(file);
    EXPECT_FALSE(parsed);
    return parsed ? Error{} : parsed.error();
  };
  EXPECT_EQ(error_of(Buffer(600, std::byte{'x'})).code, ErrorCode::kCorrupt);
  EXPECT_NE(error_of(Buffer(600, std::byte{'x'})).message.find("byte 0"), std::string::npos);
  Buffer file = content();
  file[16] ^= std::byte{1};  // the epoch
  EXPECT_EQ(error_of(file).code, ErrorCode::kCorrupt);
  file = content();
  file[8] = std::byte{2};  // the version
  EXPECT_EQ(error_of(file).code, ErrorCode::kUnsupported);
  file = content();
  file.resize(100);
  EXPECT_EQ(error_of(file).code, ErrorCode::kCorrupt);
}

TEST_F(JournalFileTest, RefusesAPathThatItMayNotHold) {
  for (const char* path : {"images/a.json", "../../etc/passwd", "tmp/x"}) {
    ASSERT_TRUE(journal->clear(8));
    append(index_path('a'), "fine");
    append(path, "not fine");
    const auto parsed = parse_journal(content());
    ASSERT_FALSE(parsed) << path;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(parsed.error().message.find("byte 1088"), std::string::npos)
        << parsed.error().message;
    EXPECT_NE(parsed.error().message.find(path), std::string::npos);
  }
}

TEST_F(JournalFileTest, DoesNotGrowOverItsLimit) {
  // As large as an entry that just does not fit; the pages are never touched.
  Buffer entry = encode({index_path('a'), {}, {}});
  entry.resize(kJournalBytesMax);
  EXPECT_EQ(journal->append({entry}).error().code, ErrorCode::kTooLarge);
  append(index_path('b'), "still works");
  EXPECT_EQ(parse_journal(content())->entries.size(), 1u);
}

}  // namespace
}  // namespace forerun::net
