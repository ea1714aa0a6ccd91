#include "image/signed_tag.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/component_tag.h"
#include "image/trusted_store.h"
#include "repository/memory_store.h"

namespace forerun::image {
namespace {

using repository::PrivateKey;
using repository::TrustPolicy;
using ::testing::HasSubstr;

const PrivateKey kOurs = *repository::parse_private_key(std::string(64, '1'));
const PrivateKey kTheirs = *repository::parse_private_key(std::string(64, '2'));

repository::ImageTag image_tag(const std::string& name = "a") {
  return {name, sha256(as_bytes("index")), 1, 1, "2026-11-21T02:40:00Z"};
}
ComponentTag component_tag(const std::string& name = "a") {
  ComponentTag tag;
  tag.name = name;
  tag.index = sha256(as_bytes("index"));
  tag.created = "2026-11-21T02:40:00Z";
  return tag;
}
template <typename Tag>
Tag signed_by(const PrivateKey& key, const std::string& path, Tag tag) {
  const std::string statement = repository::tag_statement(path, tag.index, tag.created);
  tag.signature = *repository::sign(key, as_bytes(statement));
  return tag;
}
TrustPolicy strict() { return {.trusted = {*repository::public_key_of(kOurs)}}; }
Status checked(const TrustPolicy& policy, const repository::ImageTag& tag) {
  return check_tag(policy, repository::image_path(tag.name), as_bytes(serialize(tag)));
}
Status checked(const TrustPolicy& policy, const ComponentTag& tag) {
  return check_tag(policy, component_tag_path(tag.name), as_bytes(serialize(tag)));
}

struct Refusal {
  std::string why;
  repository::ImageTag tag;
};

TEST(SignedTag, OfATrustedKeyIsBelieved) {
  EXPECT_TRUE(checked(strict(), signed_by(kOurs, "images/a.json", image_tag())));
  EXPECT_TRUE(checked(strict(), signed_by(kOurs, "component-tags/a.json", component_tag())));
}

TEST(SignedTag, RefusalsSayWhatAndWhy) {
  auto tampered = signed_by(kOurs, "images/a.json", image_tag());
  tampered.index = sha256(as_bytes("another"));
  auto later = signed_by(kOurs, "images/a.json", image_tag());
  later.created = "2027-01-01T00:00:00Z";
  // The signature of another name's tag, under this name; of a component's tag, for an image.
  const auto replayed = signed_by(kOurs, "images/b.json", image_tag());
  const auto of_component = signed_by(kOurs, "component-tags/a.json", image_tag());
  for (const auto& [why, tag] : std::vector<Refusal>{
           {"it is not signed", image_tag()},
           {"which is not trusted", signed_by(kTheirs, "images/a.json", image_tag())},
           {"is wrong", tampered},
           {"is wrong", later},
           {"is wrong", replayed},
           {"is wrong", of_component}}) {
    const Status status = checked(strict(), tag);
    ASSERT_FALSE(status) << why;
    EXPECT_EQ(status.error().code, ErrorCode::kDenied);
    EXPECT_THAT(status.error().message, HasSubstr("images/a.json"));
    EXPECT_THAT(status.error().message, HasSubstr(why));
  }
}

TEST(SignedTag, ARevokedKeyIsRefusedWhereUnsignedTagsAreAllowed) {
  TrustPolicy policy{.revoked = {*repository::public_key_of(kOurs)}, .is_unsigned_allowed = true};
  EXPECT_TRUE(checked(policy, component_tag()));
  EXPECT_TRUE(checked(policy, signed_by(kTheirs, "component-tags/a.json", component_tag())));
  const Status status = checked(policy, signed_by(kOurs, "component-tags/a.json", component_tag()));
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("revoked"));
}

TEST(SignedTag, OfAComponentSurvivesBeingWritten) {
  const ComponentTag tag = signed_by(kOurs, "component-tags/a.json", component_tag());
  const auto read = parse_component_tag(serialize(tag));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, tag);
  std::string spoilt = serialize(tag);
  spoilt.replace(spoilt.find("\"value\":\"") + 9, 2, "zz");
  EXPECT_EQ(parse_component_tag(spoilt).error().code, ErrorCode::kCorrupt);
}

TEST(SignedTag, IsReadAndSignedByItsPath) {
  const std::string text = serialize(component_tag());
  const auto claim = read_claim("component-tags/a.json", as_bytes(text));
  ASSERT_TRUE(claim);
  const auto signature = repository::sign(kOurs, as_bytes(claim->statement()));
  const auto with = with_signature("component-tags/a.json", as_bytes(text), *signature);
  ASSERT_TRUE(with);
  EXPECT_TRUE(checked(strict(), *parse_component_tag(*with)));
  EXPECT_EQ(read_claim("component-tags/b.json", as_bytes(text)).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(read_claim("indexes/a", as_bytes(text)).error().code, ErrorCode::kInvalid);
}

TEST(TrustedStore, SignsTagsAndNothingElse) {
  repository::MemoryStore plain;
  TrustedStore store(plain, strict(), kOurs);
  ASSERT_TRUE(store.put("images/a.json", as_bytes(serialize(image_tag()))));
  ASSERT_TRUE(store.put("component-tags/a.json", as_bytes(serialize(component_tag()))));
  ASSERT_TRUE(store.put("composed/a.1", as_bytes(serialize(image_tag()))));
  const auto text = [&](const std::string& path) {
    return std::string(as_text(*plain.fetch(path, 4096)));
  };
  EXPECT_TRUE(checked(strict(), *repository::parse_tag(text("images/a.json"))));
  EXPECT_TRUE(checked(strict(), *parse_component_tag(text("component-tags/a.json"))));
  EXPECT_EQ(text("composed/a.1"), serialize(image_tag()));
  // A signature that is there stays: it may be another's.
  const auto theirs = signed_by(kTheirs, "images/a.json", image_tag());
  ASSERT_TRUE(store.put("images/a.json", as_bytes(serialize(theirs))));
  EXPECT_EQ(*repository::parse_tag(text("images/a.json")), theirs);
}

TEST(TrustedStore, KeepsTagsBackThatAreNotTrusted) {
  repository::MemoryStore plain;
  ASSERT_TRUE(plain.put("images/a.json", as_bytes(serialize(image_tag()))));
  ASSERT_TRUE(plain.put("images/b.json", as_bytes("{")));
  ASSERT_TRUE(plain.put("composed/a.1", as_bytes("not a tag")));
  TrustedStore store(plain, strict(), std::nullopt);
  TrustedSource source(plain, strict());
  for (repository::Source* one :
       {static_cast<repository::Source*>(&store), static_cast<repository::Source*>(&source)}) {
    EXPECT_EQ(one->fetch("images/a.json", 4096).error().code, ErrorCode::kDenied);
    EXPECT_EQ(one->fetch("images/b.json", 4096).error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(one->fetch("images/c.json", 4096).error().code, ErrorCode::kNotFound);
    EXPECT_TRUE(one->fetch("composed/a.1", 4096));
  }
  TrustPolicy lenient{.is_unsigned_allowed = true};
  EXPECT_TRUE(TrustedSource(plain, lenient).fetch("images/a.json", 4096));
}

}  // namespace
}  // namespace forerun::image
