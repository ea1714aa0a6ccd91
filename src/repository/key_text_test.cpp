#include "repository/key_text.h"

#include <gtest/gtest.h>

namespace forerun::repository {
namespace {

TEST(KeyText, IsReadAsItIsWritten) {
  const auto key = generate_private_key();
  ASSERT_TRUE(key);
  const auto again = parse_private_key_text(key_text(*key));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->bytes, key->bytes);
  EXPECT_NE(generate_private_key()->bytes, key->bytes);
  const auto public_key = public_key_of(*key);
  EXPECT_EQ(*parse_public_key_text(key_text(*public_key)), *public_key);
}

TEST(KeyText, OfOneKindIsNotTheOther) {
  const PrivateKey key = *generate_private_key();
  EXPECT_FALSE(parse_public_key_text(key_text(key)));
  EXPECT_FALSE(parse_private_key_text(key_text(*public_key_of(key))));
  EXPECT_FALSE(parse_public_key_text(public_key_of(key)->hex()));
  EXPECT_FALSE(parse_public_key_text("ed25519:aa"));
  const auto refused = parse_private_key_text("ed25519-private:secret");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace forerun::repository
