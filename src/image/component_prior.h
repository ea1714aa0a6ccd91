// What first boots are expected to read of a component, whatever else is in the disk: the union of
// what the compositions with it foresaw (boot_prior.h), each block with the share of them that did.
// Kept as component-priors/<component digest>, beside the component: a host that composes it with
// others, far from its data, foresees the boot without reading programs and units over the link.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/id.h"
#include "core/result.h"
#include "predict/sequence.h"
#include "repository/source.h"

namespace forerun::image {

inline constexpr std::string_view kComponentPriorFolder = "component-priors";
inline constexpr size_t kComponentPriorBytesMax = 2 << 20;

std::string component_prior_path(const Digest& component);

// Returns the two as one: a block's support is its mean over all compositions, its place that of
// those that have it. The weight of earlier ones is bounded.
std::shared_ptr<const predict::BlockSequence> united(const predict::BlockSequence& known,
                                                     const predict::BlockSequence& next);

// Adds what one more composition foresees of the component. What stands there and cannot be read is
// replaced: it is no more than a guess.
Status learn_component_prior(const Digest& component, const predict::BlockSequence& next,
                             repository::Store& store);

}  // namespace forerun::image
