# Everything below the command line as one shared library, libmacadam, and for the portable build the
# same at higher levels of the instruction set. In lib/ beside the program lies libmacadam for x86-64-v2, and below
# glibc-hwcaps/ those for v3 and v4, where glibc's dynamic loader looks first if the processor has them.
# Each is built by itself, in a build folder of its own, so that no file can get another level's code.
#
# What of it is carried to another machine is `macadam` and `lib` beside it; that holds oneDNN too,
# if it was fetched.

set(rooms base image synth kernels engine models loader report run)
list(TRANSFORM rooms PREPEND macadam_)
list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
add_library(macadam_shared SHARED ${objects})
target_link_libraries(macadam_shared PRIVATE ${rooms})  # for the libraries behind them
# Before version 1 every minor version may change what programs are compiled against.
set_target_properties(macadam_shared PROPERTIES
  OUTPUT_NAME macadam EXPORT_NAME macadam LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_include_directories(macadam_shared INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/macadam>)
target_compile_features(macadam_shared INTERFACE cxx_std_20)
# It calls its own copies of inline functions, not the program's, which are another level's.
target_link_options(macadam_shared PRIVATE -Wl,-Bsymbolic-functions)
if(NOT MACADAM_CPU STREQUAL "portable")  # one of its levels
  return()
endif()

include(ExternalProject)

set_target_properties(macadam_shared PROPERTIES BUILD_RPATH "$ORIGIN")
if(ONEDNN_IS_FETCHED)
  file(COPY ${ONEDNN_LIBRARY} DESTINATION ${CMAKE_LIBRARY_OUTPUT_DIRECTORY} FOLLOW_SYMLINK_CHAIN)
endif()

set(shared_settings)
foreach(name CMAKE_BUILD_TYPE CMAKE_CXX_COMPILER CMAKE_CXX_FLAGS CMAKE_PREFIX_PATH MACADAM_CUDA
             MACADAM_CUDA_ARCHITECTURES MACADAM_ONEDNN MACADAM_ONEDNN_ROOT MACADAM_ONNX MACADAM_HDF5
             MACADAM_SANITIZE MACADAM_WERROR)
  list(APPEND shared_settings "-D${name}:STRING=${${name}}")
endforeach()

set(after macadam_shared)  # one after the other: each build takes all cores
foreach(level x86-64-v3 x86-64-v4)
  ExternalProject_Add(macadam_${level}
    SOURCE_DIR ${CMAKE_SOURCE_DIR}
    BINARY_DIR ${CMAKE_BINARY_DIR}/${level}
    PREFIX ${CMAKE_BINARY_DIR}/${level}/steps
    CMAKE_CACHE_ARGS ${shared_settings}
      -DMACADAM_CPU:STRING=${level} -DMACADAM_SHARED:BOOL=ON
      -DMACADAM_TESTS:BOOL=OFF -DMACADAM_BENCH:BOOL=OFF
      -DCMAKE_BUILD_RPATH:STRING=$ORIGIN/../..
      -DCMAKE_LIBRARY_OUTPUT_DIRECTORY:PATH=${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/glibc-hwcaps/${level}
    BUILD_COMMAND ${CMAKE_COMMAND} --build <BINARY_DIR> --target macadam_shared
    INSTALL_COMMAND ""
    DEPENDS ${after} BUILD_ALWAYS ON USES_TERMINAL_BUILD ON)
  add_dependencies(macadam macadam_${level})
  set(after macadam_${level})
endforeach()
