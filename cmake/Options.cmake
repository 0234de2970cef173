# Compiler settings shared by every room, and the functions that declare a room.

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

add_library(macadam_flags INTERFACE)
target_include_directories(macadam_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(macadam_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror>
  # GCC 12 sees overlapping copies in std::string that are not there (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>>
  # clang tells of every `omp simd` loop that it could not vectorise.
  $<$<CXX_COMPILER_ID:Clang>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-pass-failed>>
  # Exact IEEE results stay; only errno and floating-point traps, which nothing reads, are given up.
  $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno -fno-trapping-math>)
if(MACADAM_NATIVE)
  target_compile_options(macadam_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-mprefer-vector-width=512 MACADAM_HAS_VECTOR_WIDTH)
  if(MACADAM_HAS_VECTOR_WIDTH)
    target_compile_options(macadam_flags INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-mprefer-vector-width=512>)
  endif()
  # With AVX-512, GCC 12.2 turns the constant {1, 1, 1, 0} of int64_t into {1, 1, 1, 1} when it
  # copies it by 32-byte moves (tests/kernels/compiler_test.cpp); 16-byte moves are sound.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(macadam_flags INTERFACE
      $<$<COMPILE_LANGUAGE:CXX>:-mmove-max=128 -mstore-max=128>)
  endif()
endif()
if(MACADAM_SANITIZE)
  # Instrumented code makes GCC 12 see uninitialised members in the standard library.
  target_compile_options(macadam_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>>
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${MACADAM_SANITIZE} -fno-omit-frame-pointer>)
  target_link_options(macadam_flags INTERFACE -fsanitize=${MACADAM_SANITIZE})
endif()
target_link_libraries(macadam_flags INTERFACE OpenMP::OpenMP_CXX Threads::Threads fmt::fmt)

# macadam_room(NAME DEPENDS...): a static library of every .cpp below the current folder.
function(macadam_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS *.cpp)
  add_library(macadam_${name} STATIC ${sources})
  set_target_properties(macadam_${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_link_libraries(macadam_${name} PUBLIC macadam_flags ${ARGN})
endfunction()
