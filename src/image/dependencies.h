// From the components that a manifest names to those that its disk is made of: what others need is
// added, in an order in which everything follows what it was built on.
#pragma once

#include <vector>

#include "core/result.h"
#include "image/component_index.h"
#include "image/manifest.h"
#include "image/parallel_for.h"
#include "repository/source.h"

namespace forerun::image {

// Returns `manifest` with its base and the components it names pinned to what their names mean now.
// parallel_fetch: empty: one tag after the other. ERRORS: as fetch_component_tag.
Result<Manifest> pin_manifest(Manifest manifest, repository::Source& source,
                              const ParallelFor& parallel_fetch = {});

struct ResolvedComponent {
  ComponentWish wish;  // pinned
  ComponentIndex index;
  std::vector<uint32_t> built_on;  // what it depends on, directly and through others, sorted
  bool knows_base = false;         // it depends on the base, directly or through others
};

// Returns the base and the components of `pinned` with all that they depend on, which neither the
// manifest nor the base has: the component whose tag has the name, or the only one that provides
// it. The base comes first; others in the manifest's order, each behind what it depends on (in the
// order of their names).
// ERRORS, each with the chain that leads there: kNotFound: a component or a dependency is missing;
// kInvalid: a cycle, several that provide a name, a component twice, one built on another base;
// kTooLarge: over kManifestComponentsMax.
Result<std::vector<ResolvedComponent>> resolve_components(const Manifest& pinned,
                                                          repository::Store& store,
                                                          const ParallelFor& parallel_fetch = {});

}  // namespace forerun::image
