#!/usr/bin/env bash
# Proves both fuzz targets with a planted bug each.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=index
sources=(core/{id,result}.cpp repository/{chunk,image_index,image_tag,signature}.cpp image/qcow2.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove index FORERUN_PLANT_BUG_INDEX
prove qcow2 FORERUN_PLANT_BUG_QCOW2
