#include "image/certificate.h"

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

namespace forerun::image {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;

// A password must never be asked for.
int no_password(char*, int, int, void*) { return 0; }

X509Ptr next_in(BIO* in) {
  return {PEM_read_bio_X509(in, nullptr, no_password, nullptr), X509_free};
}

}  // namespace

Result<Certificate> read_certificate(std::string_view text) {
  const auto wrong = [] {
    ERR_clear_error();
    return fail(ErrorCode::kInvalid, "it is not one certificate in PEM");
  };
  if (text.size() > INT_MAX) return wrong();
  const Bio in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free);
  const X509Ptr certificate = in ? next_in(in.get()) : X509Ptr(nullptr, X509_free);
  if (!certificate || next_in(in.get())) return wrong();
  int is_hashed = 0;
  const unsigned long hash =
      X509_NAME_hash_ex(X509_get_subject_name(certificate.get()), nullptr, nullptr, &is_hashed);
  const Bio out(BIO_new(BIO_s_mem()), BIO_free);
  if (!is_hashed || !out || PEM_write_bio_X509(out.get(), certificate.get()) != 1) return wrong();
  ERR_clear_error();  // that nothing follows is an error to OpenSSL
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return Certificate{std::string(data, static_cast<size_t>(size)), fmt::format("{:08x}", hash)};
}

}  // namespace forerun::image
