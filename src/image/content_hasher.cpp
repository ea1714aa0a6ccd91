#include "image/content_hasher.h"

#include <openssl/evp.h>

namespace forerun::image {

struct ContentHasher::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(),
                                                                  &EVP_MD_CTX_free};
  void begin() {
    FR_ASSERT(EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1, "no SHA-256");
  }
};

ContentHasher::ContentHasher() : state_(std::make_unique<State>()) { state_->begin(); }
ContentHasher::~ContentHasher() = default;

void ContentHasher::add(ByteView bytes) {
  FR_ASSERT(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1);
}

Digest ContentHasher::finish() {
  Digest digest;
  unsigned int size = 0;
  FR_ASSERT(EVP_DigestFinal_ex(state_->context.get(), digest.bytes.data(), &size) == 1 &&
            size == digest.bytes.size());
  state_->begin();
  return digest;
}

}  // namespace forerun::image
