// All kinds of objects that a repository holds, and what each needs: what verification, garbage
// collection and export walk.
#pragma once

#include "repository/object_kind.h"

namespace forerun::image {

// Returns images, component tags, compositions with their notes, components, indexes and priors.
// has_others: whether components of compositions may be in other repositories, and missing here.
repository::ObjectKinds repository_kinds(bool has_others = false);

}  // namespace forerun::image
