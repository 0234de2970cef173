# Finds the two backends. Sets MACADAM_HAS_CUDA and MACADAM_HAS_ONEDNN; at least one must be there.
# ONEDNN_IS_FETCHED tells that oneDNN lies in this repository.
# Finds what decodes images, which is required: makes the targets macadam_jpeg and macadam_deflate.
# Finds ONNX and HDF5 too, which are never required: sets MACADAM_HAS_ONNX and makes the target
# macadam_onnx; sets MACADAM_HAS_HDF5 and makes the target macadam_hdf5.

set(MACADAM_HAS_CUDA OFF)
if(NOT MACADAM_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  check_language(CUDA)
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS $ENV{CUDNN_PATH} $ENV{CUDA_HOME} /usr/local/cuda
            PATH_SUFFIXES include)
  find_library(CUDNN_LIBRARY NAMES cudnn libcudnn.so.9
               HINTS $ENV{CUDNN_PATH} $ENV{CUDA_HOME} /usr/local/cuda PATH_SUFFIXES lib lib64)
  if(CMAKE_CUDA_COMPILER AND CUDNN_INCLUDE_DIR AND CUDNN_LIBRARY)
    set(CMAKE_CUDA_ARCHITECTURES ${MACADAM_CUDA_ARCHITECTURES})
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 (Debian 12) does not know nvcc's
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    endif()
    set(CMAKE_CUDA_STANDARD 20)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    find_package(CUDAToolkit 12.4 REQUIRED)
    set(MACADAM_HAS_CUDA ON)
  elseif(MACADAM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "MACADAM_CUDA=ON: nvcc or cuDNN 9 was not found. Install both (set "
                        "CUDNN_PATH when cuDNN lies elsewhere), or use MACADAM_CUDA=OFF.")
  endif()
endif()

# find_onednn([FOLDER]): oneDNN below FOLDER, or where the system keeps it. Sets ONEDNN_LIBRARY (false
# where there is none), ONEDNN_INCLUDE_DIR and ONEDNN_VERSION. Nothing is cached: a copy may come later.
function(find_onednn)
  set(where)
  if(ARGC GREATER 0)
    set(where PATHS ${ARGV0} NO_DEFAULT_PATH)
  endif()
  find_path(include oneapi/dnnl/dnnl_version.h ${where} PATH_SUFFIXES include NO_CACHE)
  find_library(library NAMES dnnl ${where}
               PATH_SUFFIXES lib lib64 lib/${CMAKE_LIBRARY_ARCHITECTURE} NO_CACHE)
  set(version 0)
  if(include AND library)
    file(STRINGS ${include}/oneapi/dnnl/dnnl_version.h lines
         REGEX "define DNNL_VERSION_(MAJOR|MINOR|PATCH) ")
    list(TRANSFORM lines REPLACE "^.* ([0-9]+)$" "\\1" OUTPUT_VARIABLE numbers)
    list(JOIN numbers "." version)
  else()
    set(library OFF)
  endif()
  set(ONEDNN_INCLUDE_DIR ${include} PARENT_SCOPE)
  set(ONEDNN_LIBRARY ${library} PARENT_SCOPE)
  set(ONEDNN_VERSION ${version} PARENT_SCOPE)
endfunction()

set(MACADAM_HAS_ONEDNN OFF)
if(NOT MACADAM_ONEDNN STREQUAL "OFF")
  set(fetched ${CMAKE_SOURCE_DIR}/build/onednn)  # by cmake/fetch_onednn.sh
  if(MACADAM_ONEDNN_ROOT)
    find_onednn(${MACADAM_ONEDNN_ROOT})
    if(NOT ONEDNN_LIBRARY)
      message(FATAL_ERROR "MACADAM_ONEDNN_ROOT=${MACADAM_ONEDNN_ROOT}: no oneDNN there. Name the "
                          "folder that holds its include and lib folders.")
    endif()
  else()
    find_onednn()
    if(ONEDNN_VERSION VERSION_LESS 3 AND EXISTS ${fetched})
      find_onednn(${fetched})
    endif()
  endif()
  if(ONEDNN_LIBRARY)
    set(MACADAM_HAS_ONEDNN ON)
    cmake_path(IS_PREFIX CMAKE_SOURCE_DIR ${ONEDNN_LIBRARY} ONEDNN_IS_FETCHED)
    if(ONEDNN_IS_FETCHED)  # programs find it from where they lie: the repository may be moved
      cmake_path(GET ONEDNN_LIBRARY PARENT_PATH folder)
      cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
      list(APPEND CMAKE_BUILD_RPATH "$ORIGIN/${folder}")
    endif()
  elseif(MACADAM_ONEDNN STREQUAL "ON")
    message(FATAL_ERROR "MACADAM_ONEDNN=ON: oneDNN was not found. Install libdnnl-dev.")
  endif()
endif()

if(NOT MACADAM_HAS_CUDA AND NOT MACADAM_HAS_ONEDNN)
  message(FATAL_ERROR "No backend: install oneDNN (libdnnl-dev), or CUDA >= 12.4 with cuDNN 9.")
endif()
message(STATUS "Backends: CUDA ${MACADAM_HAS_CUDA}, oneDNN ${MACADAM_HAS_ONEDNN} ${ONEDNN_VERSION}")

set(MACADAM_HAS_ONNX OFF)
if(NOT MACADAM_ONNX STREQUAL "OFF")
  find_path(ONNX_INCLUDE_DIR onnx/onnx_pb.h)
  find_library(ONNX_PROTO_LIBRARY NAMES onnx_proto)
  find_library(PROTOBUF_LIBRARY NAMES protobuf)
  find_path(PROTOBUF_INCLUDE_DIR google/protobuf/message.h)
  if(ONNX_INCLUDE_DIR AND ONNX_PROTO_LIBRARY AND PROTOBUF_LIBRARY AND PROTOBUF_INCLUDE_DIR)
    set(MACADAM_HAS_ONNX ON)
    add_library(macadam_onnx INTERFACE)
    target_include_directories(macadam_onnx SYSTEM INTERFACE
      ${ONNX_INCLUDE_DIR} ${PROTOBUF_INCLUDE_DIR})
    target_compile_definitions(macadam_onnx INTERFACE
      MACADAM_HAS_ONNX ONNX_ML=1 ONNX_NAMESPACE=onnx)  # as the library was built
    target_link_libraries(macadam_onnx INTERFACE ${ONNX_PROTO_LIBRARY} ${PROTOBUF_LIBRARY})
  elseif(MACADAM_ONNX STREQUAL "ON")
    message(FATAL_ERROR "MACADAM_ONNX=ON: the ONNX library was not found. Install libonnx-dev and "
                        "libprotobuf-dev.")
  endif()
endif()
message(STATUS "ONNX files: ${MACADAM_HAS_ONNX}")

set(MACADAM_HAS_HDF5 OFF)
if(NOT MACADAM_HDF5 STREQUAL "OFF")
  # Debian keeps the serial build apart from those for MPI.
  find_path(HDF5_INCLUDE_DIR hdf5.h PATH_SUFFIXES hdf5/serial)
  find_library(HDF5_LIBRARY NAMES hdf5_serial hdf5)
  if(HDF5_INCLUDE_DIR AND HDF5_LIBRARY)
    set(MACADAM_HAS_HDF5 ON)
    add_library(macadam_hdf5 INTERFACE)
    target_include_directories(macadam_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIR})
    target_compile_definitions(macadam_hdf5 INTERFACE MACADAM_HAS_HDF5)
    target_link_libraries(macadam_hdf5 INTERFACE ${HDF5_LIBRARY})
  elseif(MACADAM_HDF5 STREQUAL "ON")
    message(FATAL_ERROR "MACADAM_HDF5=ON: HDF5 was not found. Install libhdf5-dev.")
  endif()
endif()
message(STATUS "Keras .h5 weights: ${MACADAM_HAS_HDF5}")

find_path(JPEG_INCLUDE_DIR jpeglib.h)
find_library(JPEG_LIBRARY NAMES jpeg)
if(NOT JPEG_INCLUDE_DIR OR NOT JPEG_LIBRARY)
  message(FATAL_ERROR "libjpeg-turbo was not found. Install libjpeg-dev.")
endif()
add_library(macadam_jpeg INTERFACE)
target_include_directories(macadam_jpeg SYSTEM INTERFACE ${JPEG_INCLUDE_DIR})
target_link_libraries(macadam_jpeg INTERFACE ${JPEG_LIBRARY})

find_path(DEFLATE_INCLUDE_DIR libdeflate.h)
find_library(DEFLATE_LIBRARY NAMES deflate)
if(NOT DEFLATE_INCLUDE_DIR OR NOT DEFLATE_LIBRARY)
  message(FATAL_ERROR "libdeflate was not found. Install libdeflate-dev.")
endif()
add_library(macadam_deflate INTERFACE)
target_include_directories(macadam_deflate SYSTEM INTERFACE ${DEFLATE_INCLUDE_DIR})
target_link_libraries(macadam_deflate INTERFACE ${DEFLATE_LIBRARY})
