// The SHA-256 of bytes that come in pieces.
#pragma once

#include <memory>

#include "core/bytes.h"
#include "core/id.h"

namespace forerun::image {

// One thread.
class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;

  void add(ByteView bytes);
  // Returns the digest of all that was added, and begins anew.
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace forerun::image
