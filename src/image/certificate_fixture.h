// A certificate for tests: openssl req -x509 -newkey ec -subj "/O=Forerun/CN=Test authority".
#pragma once

#include <string_view>

namespace forerun::image {

inline constexpr std::string_view kTestCertificate =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBrDCCAVOgAwIBAgIUahLGVev6iNS8oVjPOQe05HmeuvcwCgYIKoZIzj0EAwIw\n"
    "KzEQMA4GA1UECgwHRm9yZXJ1bjEXMBUGA1UEAwwOVGVzdCBhdXRob3JpdHkwIBcN\n"
    "MjYxMTIxMTAxMjA4WhgPMjEyNjEwMjgxMDEyMDhaMCsxEDAOBgNVBAoMB0ZvcmVy\n"
    "dW4xFzAVBgNVBAMMDlRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAEeQqPQ4uEsbAgpXdIjtPEiqSZMLB2k0Is58sPOLKOdDb4Y9FtOtcZXucB\n"
    "dLIPf4ZNBBxQh9+GOsipDC1/FK76fqNTMFEwHQYDVR0OBBYEFITzZuO0wYT37R2B\n"
    "lFXXYpTxNRcsMB8GA1UdIwQYMBaAFITzZuO0wYT37R2BlFXXYpTxNRcsMA8GA1Ud\n"
    "EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgSIQ/Z/MWSaHrKpeWjYHLApWb\n"
    "QtYdG4HaAYW110BLsO0CIHr0txFRKDgBsLIR8t2rbDh4zUs5Ve5gOSv3oTp1sJZ6\n"
    "-----END CERTIFICATE-----\n";
inline constexpr std::string_view kTestCertificateHash = "800c98ef";  // openssl x509 -hash

}  // namespace forerun::image
