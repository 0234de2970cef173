# Finds the two backends. Sets MACADAM_HAS_CUDA and MACADAM_HAS_ONEDNN; at least one must be there.

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

set(MACADAM_HAS_ONEDNN OFF)
if(NOT MACADAM_ONEDNN STREQUAL "OFF")
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp)
  find_library(DNNL_LIBRARY NAMES dnnl)
  if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
    set(MACADAM_HAS_ONEDNN ON)
  elseif(MACADAM_ONEDNN STREQUAL "ON")
    message(FATAL_ERROR "MACADAM_ONEDNN=ON: oneDNN was not found. Install libdnnl-dev.")
  endif()
endif()

if(NOT MACADAM_HAS_CUDA AND NOT MACADAM_HAS_ONEDNN)
  message(FATAL_ERROR "No backend: install oneDNN (libdnnl-dev), or CUDA >= 12.4 with cuDNN 9.")
endif()
message(STATUS "Backends: CUDA ${MACADAM_HAS_CUDA}, oneDNN ${MACADAM_HAS_ONEDNN}")
