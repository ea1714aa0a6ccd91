// Certificates of authorities, as a manifest gives them.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::image {

struct Certificate {
  std::string pem;           // one block, as OpenSSL writes it
  std::string subject_hash;  // "5ed36f99": what OpenSSL's links are named by, openssl-rehash(1)
};

// Returns the certificate in `text`. ERRORS: kInvalid: it is not exactly one in PEM.
Result<Certificate> read_certificate(std::string_view text);

}  // namespace forerun::image
