#include "predict/model.h"

#include <fmt/core.h>

namespace forerun::predict {

Status Model::restore(ByteView, std::span<const ComponentId>) {
  return fail(ErrorCode::kUnsupported, fmt::format("model '{}' keeps nothing", name()));
}

}  // namespace forerun::predict
