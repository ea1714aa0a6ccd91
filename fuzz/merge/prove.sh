#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=merge
sources=(core/{id,result}.cpp image/{file_tree,tree_builder,tree_merge,generated_tree,link_follow}.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove merge FORERUN_PLANT_BUG_MERGE
