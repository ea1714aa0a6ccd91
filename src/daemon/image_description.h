// What `image show` says: the parts of a disk, with whom they are shared, and where their data is.
#pragma once

#include "api/service.h"
#include "daemon/histories.h"
#include "daemon/image_catalog.h"
#include "tier/tier.h"

namespace forerun::daemon {

// Returns what its tag and its layout say.
api::ImageInfo describe(const std::string& name, const ImageCatalog::Image& image,
                        Histories& histories);

// Adds the parts, where their data is, and with which of the other images they are shared. Those
// that cannot be opened count as sharing nothing.
Status add_parts(const ImageCatalog::Image& image, ImageCatalog& catalog, const tier::Tier& tier,
                 api::ImageInfo& info);

}  // namespace forerun::daemon
