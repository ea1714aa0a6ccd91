// From a manifest to a bootable image in a repository: finds its components, merges what they all
// change, applies the settings, composes the disk, and puts metadata, composition and tag.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/composer.h"
#include "image/composition.h"
#include "image/first_boot.h"
#include "image/manifest.h"
#include "repository/source.h"

namespace forerun::image {

struct AssembleOptions {
  std::string image_name;
  std::string created;  // RFC 3339, UTC: the tag's time
  // False: the image gets no tag. It is for this process, at once; the collector takes it later.
  bool is_tagged = true;
  // When the first boot is foreseen: for a disk that others will boot, before its tag is returned;
  // for one that starts at once, beside that; for one that is not to boot, never.
  enum class Foresees : uint8_t { kNow, kLater, kNever } foresees = Foresees::kNow;
  ParallelFor parallel_for;    // work on processors; empty: one after the other
  ParallelFor parallel_fetch;  // waits for the store
};

struct AssembledImage {
  repository::ImageTag tag;
  bool is_reused = false;  // the same was composed before: only the tag is new, the rest is empty
  Composition composition;
  ComposeStatistics statistics;
  // Chunks that the first boot is expected to read; 0: the disk tells nothing.
  size_t prior_block_count = 0;
  std::shared_ptr<const FirstBoot> first_boot;  // what is left to do, if that was left for later
};

// Composes `manifest` in `store`, where its components are, and tags it; nothing of their data is
// read but the few files that are merged. The same manifest and components give the same digest;
// what was composed before is found again by them.
// ERRORS: kInvalid: conflicts, with both sides named; those of resolve_components, merge_by_kind,
// apply_settings, compose and the store.
Result<AssembledImage> assemble(const Manifest& manifest, repository::Store& store,
                                const AssembleOptions& options);

}  // namespace forerun::image
