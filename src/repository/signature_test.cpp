#include "repository/signature.h"

#include <gtest/gtest.h>

#include "repository/image_index.h"

namespace forerun::repository {
namespace {

// RFC 8032, section 7.1, tests 2 and 1.
constexpr std::string_view kPrivate =
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
constexpr std::string_view kPublic =
    "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
constexpr std::string_view kSignatureOf72 =
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
constexpr std::string_view kOtherPrivate =
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

PrivateKey key_of(std::string_view hex) { return *parse_private_key(hex); }

const std::string kStatement = tag_statement("images/a.json", Digest{}, "2026-11-21T02:40:00Z");

Signature signature_of(std::string_view private_hex) {
  return *sign(key_of(private_hex), as_bytes(kStatement));
}

TEST(Signature, IsTheOneOfTheSpecification) {
  const auto signature = sign(key_of(kPrivate), as_bytes("\x72"));
  ASSERT_TRUE(signature);
  EXPECT_EQ(signature->key.hex(), kPublic);
  EXPECT_EQ(signature->value_hex(), kSignatureOf72);
  EXPECT_TRUE(is_signed(*signature, as_bytes("\x72")));
}

TEST(Signature, HoldsForNothingElse) {
  const Signature signature = signature_of(kPrivate);
  Signature wrong_value = signature;
  wrong_value.value[5] ^= 1;
  Signature wrong_key = signature;
  wrong_key.key = *public_key_of(key_of(kOtherPrivate));

  EXPECT_TRUE(is_signed(signature, as_bytes(kStatement)));
  EXPECT_FALSE(is_signed(signature, as_bytes(kStatement + " ")));
  EXPECT_FALSE(is_signed(wrong_value, as_bytes(kStatement)));
  EXPECT_FALSE(is_signed(wrong_key, as_bytes(kStatement)));
  EXPECT_FALSE(is_signed({}, as_bytes(kStatement)));
}

TEST(Signature, SurvivesBeingWritten) {
  const Signature signature = signature_of(kPrivate);
  EXPECT_EQ(parse_signature(signature.key.hex(), signature.value_hex()), signature);
}

TEST(Signature, RefusesTextThatIsNone) {
  EXPECT_FALSE(parse_public_key(kPublic.substr(1)));
  EXPECT_FALSE(parse_public_key(std::string(64, 'g')));
  EXPECT_FALSE(parse_signature(kPublic, std::string(126, '0')));
  const auto secret = parse_private_key("4ccd089b");
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().message.find("4ccd"), std::string::npos);
}

TEST(Signature, IsOfOneNameOneIndexAndOneTime) {
  Digest other;
  other.bytes[0] = 1;
  EXPECT_NE(tag_statement("images/b.json", {}, "2026-11-21T02:40:00Z"), kStatement);
  EXPECT_NE(tag_statement("component-tags/a.json", {}, "2026-11-21T02:40:00Z"), kStatement);
  EXPECT_NE(tag_statement("images/a.json", other, "2026-11-21T02:40:00Z"), kStatement);
  EXPECT_NE(tag_statement("images/a.json", {}, "2026-11-21T02:40:01Z"), kStatement);
}

TEST(Signature, TravelsInTheTagOfAnImage) {
  ImageTag tag{"a", {}, 65536, 10, "2026-11-21T02:40:00Z"};
  EXPECT_EQ(serialize(tag).find("signature"), std::string::npos);
  tag.signature = signature_of(kPrivate);
  const auto parsed = parse_tag(serialize(tag));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, tag);
  EXPECT_TRUE(is_signed(*parsed->signature, as_bytes(kStatement)));
}

TEST(Signature, IsAWholeOneOrTheTagIsRefused) {
  ImageTag tag{"a", {}, 65536, 10, "2026-11-21T02:40:00Z"};
  const std::string plain = serialize(tag);
  const std::string open = plain.substr(0, plain.rfind('}'));
  for (const std::string field : {R"(7)", R"({})", R"({"key":"ab","value":"cd"})", R"(null)"}) {
    const auto parsed = parse_tag(open + R"(,"signature":)" + field + "}");
    ASSERT_FALSE(parsed) << field;
    EXPECT_EQ(parsed.error().code, ErrorCode::kCorrupt);
  }
}

struct TrustTest : testing::Test {
  const Signature good = signature_of(kPrivate);
  const Signature stranger = signature_of(kOtherPrivate);
  TrustPolicy policy{.trusted = {good.key}};

  std::string refusal(const std::optional<Signature>& signature) const {
    const Status status = check_trust(policy, kStatement, signature);
    if (status) return "";
    EXPECT_EQ(status.error().code, ErrorCode::kDenied);
    return status.error().message;
  }
};

TEST_F(TrustTest, BelievesTrustedKeysOnly) {
  EXPECT_EQ(refusal(good), "");
  EXPECT_NE(refusal(stranger).find("not trusted"), std::string::npos);
  EXPECT_EQ(refusal(std::nullopt), "it is not signed");
}

TEST_F(TrustTest, RefusesWrongSignaturesEvenWhereNoneIsNeeded) {
  policy.is_unsigned_allowed = true;
  Signature wrong = good;
  wrong.value[0] ^= 1;
  EXPECT_EQ(refusal(std::nullopt), "");
  EXPECT_NE(refusal(wrong).find("wrong"), std::string::npos);
}

TEST_F(TrustTest, RefusesRevokedKeysWhateverElseIsSaid) {
  policy.revoked = {good.key};
  policy.is_unsigned_allowed = true;
  EXPECT_NE(refusal(good).find("revoked"), std::string::npos);
}

}  // namespace
}  // namespace forerun::repository
