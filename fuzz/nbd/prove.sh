#!/usr/bin/env bash
# Shows that each NBD fuzz target finds a planted bug: an export name copied to the stack before its length is checked
# (as in CVE-2017-15118), and a range check that wraps around. Prints how many runs that took.
# usage: fuzz/nbd/prove.sh [SECONDS]   (at most, for each target; default 60)
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
build=build/fuzz-planted
cmake --preset fuzz -B "$build" -DCMAKE_CXX_FLAGS=-DFORERUN_PLANT_BUG_NBD > /dev/null
cmake --build "$build" --parallel 2 --target fuzz_nbd_handshake fuzz_nbd_transmission > /dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
for target in nbd_handshake nbd_transmission; do
  if "$build/fuzz/nbd/fuzz_$target" -max_total_time="$seconds" -seed=1 -artifact_prefix="$work/" "$work" \
      > "$work/log" 2>&1; then
    echo "fuzz_$target: the planted bug was NOT found in $seconds s"
    failed=1
  else
    grep -q -E 'AddressSanitizer|deadly signal' "$work/log" || { cat "$work/log"; exit 1; }
    runs=$(grep -o -E '^#[0-9]+' "$work/log" | tail -1)
    echo "fuzz_$target: found after run ${runs:-#0}: $(grep -m1 -o -E 'AddressSanitizer: [a-z-]+|deadly signal' "$work/log")"
  fi
  rm -rf "${work:?}"/*
done
exit "$failed"
