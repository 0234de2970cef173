# The rooms whose speed hangs on the instruction set as one shared library, and for the portable build
# the same at higher levels. In lib/ beside the program lies libmacadam_kernels for x86-64-v2, and below
# glibc-hwcaps/ those for v3 and v4, where glibc's dynamic loader looks first if the processor has them.
# Each is built by itself, in a build folder of its own, so that no file can get another level's code.
# On it stands libmacadam: the other rooms but the command line, for programs of others (Install.cmake).
#
# What of it is carried to another machine is `macadam` and `lib` beside it; that holds oneDNN too,
# if it was fetched.

# macadam_shared_library(TARGET NAME ROOMS...)
function(macadam_shared_library target name)
  list(TRANSFORM ARGN PREPEND macadam_ OUTPUT_VARIABLE rooms)
  list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
  add_library(${target} SHARED ${objects})
  # Before version 1 every minor version may change what programs are compiled against.
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} EXPORT_NAME ${name} LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
  # It calls its own copies of inline functions, not the program's, which are another level's.
  target_link_options(${target} PRIVATE -Wl,-Bsymbolic-functions)
endfunction()

macadam_shared_library(macadam_shared macadam_kernels base image synth kernels)  # they call nothing above
target_link_libraries(macadam_shared PRIVATE macadam_image macadam_synth macadam_kernels)

macadam_shared_library(macadam_library macadam engine models loader report run)
target_link_libraries(macadam_library PUBLIC macadam_shared)  # first, so that none of it is taken twice
target_link_libraries(macadam_library PRIVATE macadam_run)
target_include_directories(macadam_library INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/macadam>)
target_compile_features(macadam_library INTERFACE cxx_std_20)
set_target_properties(macadam_library PROPERTIES BUILD_RPATH "$ORIGIN")
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
