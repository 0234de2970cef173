#!/usr/bin/env bash
# Installs a build and uses it as a stranger would, from another folder than it was installed to.
#   test.sh BUILD CXX
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1 cxx=$2
work=$build/package_test
rm -rf "$work"
mkdir -p "$work"
cmake --install "$build" --prefix "$work/first" >"$work/install.log"
mv "$work/first" "$work/prefix"  # nothing in it knows where it was
prefix=$work/prefix

"$prefix/bin/macadam" --version
test -e "$prefix/lib"*/libmacadam.so.0.1 || ls "$prefix"/lib/*/libmacadam.so.0.1

cmake -S "$here" -B "$work/cmake" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake" >/dev/null
"$work/cmake/uses_macadam"

pc=$(find "$prefix" -name macadam.pc -printf %h)
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs macadam)
# shellcheck disable=SC2086  # several flags
"$cxx" "$here/main.cpp" $flags -Wl,-rpath,"$(PKG_CONFIG_PATH=$pc pkg-config --variable=libdir macadam)" -o "$work/by_pkg_config"
"$work/by_pkg_config"
