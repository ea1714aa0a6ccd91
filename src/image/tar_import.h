// A tar archive as a component.
#pragma once

#include "core/result.h"
#include "image/component_builder.h"
#include "image/tar_reader.h"

namespace forerun::image {

// Adds every entry of the archive to `builder`. ERRORS: those of both, with the entry named.
Status add_tar(TarReader& archive, ComponentBuilder& builder);

}  // namespace forerun::image
