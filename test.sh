#!/usr/bin/env bash
# Installs what the tests need, builds and runs every test.
#
#   ./test.sh          the release build: unit, golden, emulator and command-line tests
#   ./test.sh --all    also the formatting, and the tests again under AddressSanitizer and
#                      UndefinedBehaviorSanitizer
#   ./test.sh --tsan   the loader alone, under ThreadSanitizer
#   ./test.sh --tidy   clang-tidy over every C++ source (ten minutes on 2 cores)
#
# Tests that need a GPU are skipped without one, and the summary says so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source cmake/install_packages.sh
source cmake/fetch_onednn.sh

say() { printf '\n== %s\n' "$*"; }
jobs=$(nproc)

# run_tests BUILD [ctest arguments...]
run_tests() {
  local build=$1
  shift
  # Tests leave the user's cache of cuDNN plans alone.
  MACADAM_CACHE='' ctest --test-dir "$build" -j "$jobs" --output-on-failure --no-tests=error "$@"
}

say "Packages"
install_packages test
fetch_onednn

if [[ ${1:-} == --tsan ]]; then
  # clang: its OpenMP tells the sanitizer what waits for what.
  say "The loader under ThreadSanitizer"
  cmake --preset tsan
  cmake --build --preset tsan --target test_loader
  TSAN_OPTIONS=ignore_noninstrumented_modules=1 build/tsan/test_loader
  exit
fi

if [[ ${1:-} == --tidy ]]; then
  say "clang-tidy"
  cmake -G Ninja -S . -B build/tidy -DCMAKE_CXX_COMPILER=clang++ -DMACADAM_CUDA=OFF
  git ls-files '*.cpp' ':!kernels/cuda' ':!tests' |
    xargs -P "$jobs" -n 1 clang-tidy -p build/tidy --quiet
  exit
fi

if [[ ${1:-} == --all ]]; then
  say "Formatting"
  git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
fi

say "Release build"
cmake --preset release -DMACADAM_TESTS=ON -DMACADAM_BENCH=ON ${MACADAM_CMAKE_OPTIONS:-}
cmake --build --preset release

if [[ ${1:-} == --all ]]; then
  say "Build with AddressSanitizer and UndefinedBehaviorSanitizer"
  cmake --preset asan
  cmake --build --preset asan
  say "Tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  run_tests build/asan
fi

say "Tests"
run_tests build/release
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "No GPU here: the tests labelled 'gpu' were skipped; the CUDA kernels ran in the emulator."
fi
