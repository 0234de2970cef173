# What MACADAM_CPU means. Sets MACADAM_CPU_OPTIONS, the compiler's, and MACADAM_CPU_LINK_OPTIONS.
#   native        what this machine has
#   baseline      what the compiler takes by itself: any processor of this kind, slowly
#   x86-64-vN     a level of the x86-64 psABI: 2 has SSE4.2, 3 has AVX2, 4 has AVX-512
#   portable      the level of the processor that runs it, chosen when it starts (Portable.cmake)

include(CheckCXXCompilerFlag)
include(CheckLinkerFlag)

set(cpus native baseline x86-64-v2 x86-64-v3 x86-64-v4 portable)
set_property(CACHE MACADAM_CPU PROPERTY STRINGS ${cpus})
if(NOT MACADAM_CPU IN_LIST cpus)
  list(JOIN cpus ", " cpus)
  message(FATAL_ERROR "MACADAM_CPU=${MACADAM_CPU}: no such processors. Use one of ${cpus}.")
endif()

set(MACADAM_CPU_OPTIONS)
set(MACADAM_CPU_LINK_OPTIONS)
set(level ${MACADAM_CPU})
if(MACADAM_CPU STREQUAL "portable")
  set(level x86-64-v2)  # the program and what it falls back on
  set(MACADAM_SHARED ON)
endif()
if(MACADAM_SHARED)
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
endif()

if(level MATCHES "^x86-64-v")
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    message(FATAL_ERROR "MACADAM_CPU=${MACADAM_CPU} is for x86-64, and this is "
                        "${CMAKE_SYSTEM_PROCESSOR}. Use native or baseline.")
  endif()
  list(APPEND MACADAM_CPU_OPTIONS -march=${level})
  # The dynamic loader says which level is missing, where the code would end by an illegal instruction.
  check_linker_flag(CXX -Wl,-z,${level} MACADAM_CAN_MARK_${level})
  if(MACADAM_CAN_MARK_${level})
    list(APPEND MACADAM_CPU_LINK_OPTIONS -Wl,-z,${level})
  endif()
elseif(level STREQUAL "native")
  list(APPEND MACADAM_CPU_OPTIONS -march=native)
endif()

if(level MATCHES "^(native|x86-64-v4)$")
  check_cxx_compiler_flag(-mprefer-vector-width=512 MACADAM_HAS_VECTOR_WIDTH)
  if(MACADAM_HAS_VECTOR_WIDTH)
    list(APPEND MACADAM_CPU_OPTIONS -mprefer-vector-width=512)
  endif()
  # With AVX-512, GCC 12.2 turns the constant {1, 1, 1, 0} of int64_t into {1, 1, 1, 1} when it
  # copies it by 32-byte moves (tests/kernels/compiler_test.cpp); 16-byte moves are sound.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND MACADAM_CPU_OPTIONS -mmove-max=128 -mstore-max=128)
  endif()
endif()
