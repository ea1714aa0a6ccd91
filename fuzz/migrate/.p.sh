#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=migrate
libraries=(-lxxhash)
sources=(core/{result,id}.cpp migrate/{ram_blocks,stream_reader,stream_writer,return_path}.cpp
  migrate/{page_tables,page_records,memory_frames,batch_codec,memory_receiver,memory_sender,memory_profile}.cpp
  migrate/{page_injector,working_set}.cpp predict/{model,markov,markov_form,stride,saved_form}.cpp)
source "$(dirname "$0")/../prove_lib.sh"

prove memory FORERUN_PLANT_BUG_MEMORY
