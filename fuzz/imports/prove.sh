#!/usr/bin/env bash
# Proves both fuzz targets with a planted bug each.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=imports
sources=(core/{id,result}.cpp repository/{chunk,image_index,image_tag,source,fetch,memory_store,object_kind,put_chunk}.cpp
         image/{file_tree,component_index,component_tag,tree_builder,tar_format,tar_reader,tar_import,decompress}.cpp
         image/{content_hasher,chunk_sink,component_builder,ar_reader,deb_control,deb_import}.cpp
         image/{oci_blobs,oci_manifest,oci_import}.cpp)
libraries=(-llzma)
source "$(dirname "$0")/../prove_lib.sh"
prove deb FORERUN_PLANT_BUG_DEB
prove oci FORERUN_PLANT_BUG_OCI
