// The bytes of rnn_pretrained.bin, which `forerun model pretrain` made (docs/replay.md). The build
// puts them into the program.
#pragma once

#include "core/bytes.h"

namespace forerun::predict {

extern const ByteView kRnnPretrained;

}  // namespace forerun::predict
