// The repositories of the configuration, opened.
#pragma once

#include <memory>
#include <vector>

#include "daemon/config.h"
#include "daemon/trust.h"
#include "repository/signature.h"
#include "repository/source.h"

namespace forerun::daemon {

struct Repositories {
  std::vector<std::unique_ptr<repository::Source>> owned;
  // The same, as they are believed: no tag comes out of them that [trust] refuses.
  std::vector<std::unique_ptr<repository::Source>> trusted;
  std::vector<repository::Source*> sources;  // the trusted ones, in the order of the configuration
  // The first folder or bucket: what is made here goes into it. A folder in the state folder if
  // there is none, before the others.
  repository::Store* store = nullptr;
  repository::Store* local = nullptr;        // `store`, if it is a folder
  repository::Store* plain_store = nullptr;  // `store` with all its tags, and without a key
  repository::TrustPolicy store_trust;       // of its tags
};

// Asks nothing of a server yet. Takes the keys of S3 out of the environment, so that no child
// inherits them: call it before there are threads. ERRORS: kInvalid, naming the repository; those
// of the folders and of the files that the configuration names.
Result<Repositories> open_repositories(const Config& config, const Trust& trust);

}  // namespace forerun::daemon
