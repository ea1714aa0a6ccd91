#include "image/certificate.h"

#include <gtest/gtest.h>

#include "image/certificate_fixture.h"

namespace forerun::image {
namespace {

TEST(Certificate, IsKnownByItsSubjectsHash) {
  const auto certificate = read_certificate(fmt::format("a comment\n{}\n", kTestCertificate));
  ASSERT_TRUE(certificate) << certificate.error().message;
  EXPECT_EQ(certificate->pem, kTestCertificate);
  EXPECT_EQ(certificate->subject_hash, kTestCertificateHash);
}

TEST(Certificate, OnlyOneIsTaken) {
  EXPECT_FALSE(read_certificate(""));
  EXPECT_FALSE(read_certificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
  EXPECT_FALSE(read_certificate(kTestCertificate.substr(0, 200)));
  EXPECT_FALSE(read_certificate(fmt::format("{0}{0}", kTestCertificate)));
}

}  // namespace
}  // namespace forerun::image
