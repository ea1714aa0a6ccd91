#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=migrate
sources=(core/result.cpp migrate/{ram_blocks,stream_reader,stream_writer,return_path}.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove migration FORERUN_PLANT_BUG_MIGRATION
