#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=trace
sources=(core/{result,id}.cpp trace/{text_lines,block_trace,launch_trace}.cpp
         predict/{rnn_form,saved_form,gru,rnn,gap_tokens}.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove traces FORERUN_PLANT_BUG_TRACES
