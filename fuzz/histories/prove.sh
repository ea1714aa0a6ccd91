#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=histories
source_dir=$(cd "$(dirname "$0")/../../src" && pwd)
mapfile -t sources < <(cd "$source_dir" && ls core/{result,id}.cpp predict/*.cpp score/*.cpp | grep -v _test.cpp)
pretrained=$(mktemp -d)/pretrained.cpp
python3 "$source_dir/../tools/embed.py" "$source_dir/predict/rnn_pretrained.bin" "$pretrained" predict/rnn_pretrained.h \
  forerun::predict kRnnPretrained
libraries=("$pretrained")
source "$(dirname "$0")/../prove_lib.sh"
prove saved FORERUN_PLANT_BUG_SAVED
