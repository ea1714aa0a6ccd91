#!/usr/bin/env bash
# Proves both fuzz targets: with one bounds check taken out of a parser each must crash within a minute, and without
# that it must not within the same number of seconds.  usage: prove.sh [SECONDS]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-60}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # target, planted bug or nothing, output
  clang++-19 -std=c++23 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -fuse-ld=lld-19 \
    -include "$root/cmake/pch.h" -I"$root/src" ${2:+-D$2} "$root/fuzz/index/fuzz_$1.cpp" \
    "$root"/src/core/{id,result}.cpp "$root"/src/repository/{chunk,image_index,image_tag,signature}.cpp \
    "$root"/src/image/qcow2.cpp -lfmt -lzstd -lz -lcrypto -lboost_json -o "$3"
}

prove() { # target, planted bug
  build "$1" "$2" "$work/planted"
  build "$1" "" "$work/plain"
  mkdir -p "$work/new"
  local start=$SECONDS
  # No corpus: what it finds, it finds by itself.
  if "$work/planted" -seed=1 -max_total_time="$seconds" -artifact_prefix="$work/" "$work/new" >"$work/log" 2>&1; then
    echo "fuzz_$1: did NOT find $2 in $seconds s"
    return 1
  fi
  local took=$((SECONDS - start))
  grep -m1 -E 'ERROR: AddressSanitizer|runtime error|deadly signal' "$work/log"
  rm -rf "$work/new" && mkdir "$work/new"
  if ! "$work/plain" -seed=1 -max_total_time=$((took + 5)) -artifact_prefix="$work/" "$work/new" >"$work/log" 2>&1; then
    echo "fuzz_$1: crashes without the planted bug"
    tail -30 "$work/log"
    return 1
  fi
  echo "fuzz_$1: found $2 in $took s; without it: $(grep -m1 -E '^Done' "$work/log")"
}

prove index FORERUN_PLANT_BUG_INDEX
prove qcow2 FORERUN_PLANT_BUG_QCOW2
