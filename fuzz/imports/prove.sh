#!/usr/bin/env bash
# Proves both fuzz targets with a planted bug each.  usage: prove.sh [SECONDS]
seconds=${1:-60}
part=imports
sources=(core/{id,result}.cpp predict/{sequence,saved_form}.cpp
         repository/{chunk,image_index,image_tag,source,fetch,memory_store,object_kind,put_chunk,signature}.cpp
         image/{file_tree,component_index,component_tag,component_prior,tree_builder,tar_format,tar_reader,tar_import}.cpp
         image/{decompress,content_hasher,chunk_sink,component_builder,ar_reader,deb_control,deb_import}.cpp
         image/{oci_blobs,oci_manifest,oci_import}.cpp
         # What a component's tag may need besides: the prior of its first boot.
         image/{boot_prior,boot_graph,boot_reads,boot_modules,systemd_boot,systemd_unit,path_finder,elf}.cpp
         image/{hwdb,python_imports}.cpp
         image/{ext4,ext4_channel,ext4_format,partitions}.cpp)
libraries=(-llzma -lext2fs -lcom_err)
source "$(dirname "$0")/../prove_lib.sh"
prove deb FORERUN_PLANT_BUG_DEB
prove oci FORERUN_PLANT_BUG_OCI
