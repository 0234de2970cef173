# cmake --install: the program, and where MACADAM_SHARED is on (the presets package and portable) also
# the libraries with their headers, a CMake package (macadam::macadam) and a pkg-config file.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS macadam)
file(RELATIVE_PATH libraries /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR})
set_target_properties(macadam PROPERTIES INSTALL_RPATH "$ORIGIN/${libraries}")
if(ONEDNN_IS_FETCHED)  # it lies in this repository
  cmake_path(GET ONEDNN_LIBRARY PARENT_PATH folder)
  install(DIRECTORY ${folder}/ DESTINATION ${CMAKE_INSTALL_LIBDIR}
          FILES_MATCHING PATTERN "libdnnl.so*")
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
if(NOT MACADAM_SHARED)
  return()
endif()

set_target_properties(macadam_shared macadam_library PROPERTIES INSTALL_RPATH "$ORIGIN")
install(TARGETS macadam_shared macadam_library EXPORT macadam)
if(MACADAM_CPU STREQUAL "portable")
  install(DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/glibc-hwcaps
          DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY base image kernels engine models loader report run
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/macadam
        FILES_MATCHING PATTERN "*.h"
        PATTERN "kernels/cpu" EXCLUDE PATTERN "kernels/cuda" EXCLUDE
        PATTERN "kernels/reference" EXCLUDE)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/macadam)
install(EXPORT macadam NAMESPACE macadam:: FILE macadam-targets.cmake DESTINATION ${package})
file(WRITE ${CMAKE_BINARY_DIR}/macadam-config.cmake.in
     "@PACKAGE_INIT@\ninclude(\${CMAKE_CURRENT_LIST_DIR}/macadam-targets.cmake)\n")
configure_package_config_file(${CMAKE_BINARY_DIR}/macadam-config.cmake.in
  ${CMAKE_BINARY_DIR}/macadam-config.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/macadam-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/macadam-config.cmake
              ${CMAKE_BINARY_DIR}/macadam-config-version.cmake DESTINATION ${package})

file(RELATIVE_PATH to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)  # it may be moved
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/macadam.pc @ONLY CONTENT [[
prefix=${pcfiledir}/@to_prefix@
libdir=${prefix}/@CMAKE_INSTALL_LIBDIR@
Name: macadam
Description: Training and serving of semantic segmentation networks for driving scenes
Version: @PROJECT_VERSION@
Cflags: -std=c++20 -I${prefix}/@CMAKE_INSTALL_INCLUDEDIR@/macadam
Libs: -L${libdir} -lmacadam -lmacadam_kernels
]])
install(FILES ${CMAKE_BINARY_DIR}/macadam.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
