#!/usr/bin/env bash
# Builds every fuzz target and runs each for a while, from its corpus. For continuous integration.
# usage: fuzz/run_short.sh [SECONDS]   (each; default 10)
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-10}
cmake --preset fuzz > /dev/null
targets=()
for source in fuzz/*/fuzz_*.cpp; do targets+=("$(basename "$source" .cpp)"); done
cmake --build --preset fuzz --target "${targets[@]}"
for source in fuzz/*/fuzz_*.cpp; do
  target=$(basename "$source" .cpp)
  folder=$(dirname "$source")
  new=build/fuzz/new/$target
  mkdir -p "$new"
  corpus=()
  [[ -d $folder/corpus/${target#fuzz_} ]] && corpus=("$folder/corpus/${target#fuzz_}")
  echo "== $target, $seconds s"
  if ! "build/fuzz/$folder/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
      -artifact_prefix="$new/" "$new" "${corpus[@]}" > "$new.log" 2>&1; then
    tail -40 "$new.log"
    echo "$target failed; its input is in $new"
    exit 1
  fi
  grep 'stat::number_of_executed' "$new.log"
done
