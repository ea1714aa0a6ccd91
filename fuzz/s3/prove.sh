#!/usr/bin/env bash
# Proves the fuzz target with a planted bug.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=s3
sources=(core/{id,result}.cpp os/file.cpp net/{s3_reply,s3_credentials}.cpp)
libraries=(-lexpat)
source "$(dirname "$0")/../prove_lib.sh"
prove s3 FORERUN_PLANT_BUG_S3
