#!/usr/bin/env bash
# For the prove.sh of a part: prove TARGET BUG shows that fuzz_TARGET crashes within a minute when the bounds check that
# BUG names is taken out of a parser, and does not in the same number of seconds without that. Expects `part`, the
# folder, and `sources`, what the targets are linked of, and may have more `libraries`.
set -euo pipefail
libraries=("${libraries[@]}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # target, planted bug or nothing, output
  clang++-19 -std=c++23 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -fuse-ld=lld-19 \
    -include "$root/cmake/pch.h" -I"$root/src" ${2:+-D$2} "$root/fuzz/$part/fuzz_$1.cpp" \
    "${sources[@]/#/$root/src/}" -lfmt -lzstd -lz -lcrypto -lboost_json "${libraries[@]}" -o "$3"
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
