#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=peer
sources=(core/{result,id}.cpp os/{socket,file}.cpp net/{peer_mux,peer_connection}.cpp
  daemon/migration_messages.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove peer FORERUN_PLANT_BUG_PEER
