# Compiler settings shared by every room, and the functions that declare a room.

find_program(CCACHE ccache)
if(CCACHE)
  # A clone in another folder finds what this one has compiled.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
               ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher})
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)

add_library(macadam_flags INTERFACE)
target_include_directories(macadam_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(macadam_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;$<$<BOOL:${MACADAM_WERROR}>:-Werror>>"
  # GCC 12 sees overlapping copies in std::string that are not there (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>>
  # clang tells of every `omp simd` loop that it could not vectorise.
  $<$<CXX_COMPILER_ID:Clang>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-pass-failed>>
  # Exact IEEE results stay; only errno and floating-point traps, which nothing reads, are given up.
  $<$<COMPILE_LANGUAGE:CXX>:-fno-math-errno -fno-trapping-math>)
target_compile_options(macadam_flags INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${MACADAM_CPU_OPTIONS}>")
target_link_options(macadam_flags INTERFACE ${MACADAM_CPU_LINK_OPTIONS})
if(MACADAM_SANITIZE)
  # Instrumented code makes GCC 12 see uninitialised members in the standard library.
  target_compile_options(macadam_flags INTERFACE
    $<$<CXX_COMPILER_ID:GNU>:$<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>>
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${MACADAM_SANITIZE} -fno-omit-frame-pointer>
    # A finding of UndefinedBehaviorSanitizer ends the test, as one of AddressSanitizer does.
    $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=undefined>)
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
