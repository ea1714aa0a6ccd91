#!/usr/bin/env bash
# Proves both fuzz targets with a planted bug each.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=component
sources=(core/{id,result}.cpp repository/{chunk,image_index}.cpp
         image/{file_tree,component_index,tree_builder,tar_format,tar_reader}.cpp)
source "$(dirname "$0")/../prove_lib.sh"
prove component FORERUN_PLANT_BUG_COMPONENT
prove tar FORERUN_PLANT_BUG_TAR
