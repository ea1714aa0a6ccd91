#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=telemetry
sources=(core/result.cpp telemetry/{profile_parse,profile_write,behaviour,profile_window,line_splitter,control}.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove profile FORERUN_PLANT_BUG_PROFILE
