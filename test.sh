#!/usr/bin/env bash
# Installs what the tests need, builds and runs every test.
#
#   ./test.sh          the release build: unit, golden, emulator and command-line tests
#   ./test.sh --asan [OPTION...]  the tests under AddressSanitizer and UndefinedBehaviorSanitizer;
#                      options are ctest's
#   ./test.sh --all    the formatting, then both
#   ./test.sh --isa    all tests under each instruction set that oneDNN can be limited to here (six
#                      or seven times on a CPU with AVX-512), then those of the builds v3 (AVX2) and
#                      portable: three builds, and hours on 2 cores
#   ./test.sh --tsan   the loader, and the server's connections and batches, under ThreadSanitizer
#   ./test.sh --fuzz [SECONDS]  each reader of foreign bytes under libFuzzer, for 10 seconds
#   ./test.sh --tidy [COMMIT]  the formatting; clang-tidy over every C++ source (ten minutes on 2 cores),
#                      or over those that have changed since COMMIT
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
# What judges the viewer's accessibility; without it that test alone is skipped.
[[ -d build/axe ]] || python3 -m pip install -q --no-deps --target build/axe axe-core-python || true

if [[ ${1:-} == --tsan ]]; then
  # clang: its OpenMP tells the sanitizer what waits for what.
  say "The loader and the server under ThreadSanitizer"
  cmake --preset tsan
  cmake --build --preset tsan --target test_loader test_server
  export TSAN_OPTIONS=ignore_noninstrumented_modules=1
  build/tsan/test_loader
  build/tsan/test_server
  exit
fi

# The values of ONEDNN_MAX_CPU_ISA that this machine's oneDNN obeys: one it does not have changes nothing.
instruction_sets() {
  local isa
  for isa in SSE41 AVX AVX2 AVX2_VNNI AVX512_CORE AVX512_CORE_VNNI AVX512_CORE_BF16 \
    AVX512_CORE_FP16 AVX512_CORE_AMX AVX512_CORE_AMX_FP16; do
    if ONEDNN_MAX_CPU_ISA=$isa "$1" info --json | grep -qi "\"convolution_isa\": *\"$isa\""; then
      echo "$isa"
    fi
  done
}

if [[ ${1:-} == --isa ]]; then
  options=(-DMACADAM_TESTS=ON -DMACADAM_BENCH=OFF -DMACADAM_CUDA=OFF)
  for build in release v3 portable; do
    say "Build $build"
    cmake --preset "$build" "${options[@]}"
    cmake --build --preset "$build"
  done
  for isa in $(instruction_sets build/release/macadam); do
    say "Tests with oneDNN limited to $isa"
    ONEDNN_MAX_CPU_ISA=$isa run_tests build/release -LE 'isa|emulator'
  done
  for build in v3 portable; do
    say "Tests of the build $build"
    run_tests "build/$build"
  done
  for hidden in -AVX512F -AVX512F,-AVX2; do
    say "The portable program on a processor without ${hidden//-/}"
    GLIBC_TUNABLES=glibc.cpu.hwcaps=$hidden run_tests build/portable -R '^app$'
  done
  exit
fi

if [[ ${1:-} == --fuzz ]]; then
  say "The readers of foreign bytes under libFuzzer"
  cmake -G Ninja -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DMACADAM_FUZZ=ON -DMACADAM_CUDA=OFF
  ninja -C build/fuzz fuzz
  export SECONDS_EACH=${2:-10}
  find build/fuzz -maxdepth 1 -name 'fuzz_*' -type f | sort | xargs -P "$jobs" -n 1 tests/fuzz/run.sh
  exit
fi

check_format() {
  say "Formatting"
  git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
}

if [[ ${1:-} == --tidy ]]; then
  check_format
  say "clang-tidy"
  cmake -G Ninja -S . -B build/tidy -DCMAKE_CXX_COMPILER=clang++ -DMACADAM_CUDA=OFF
  if [[ -n ${2:-} ]]; then
    git diff --name-only --diff-filter=d "$2" -- '*.cpp' ':!kernels/cuda' ':!tests'
  else
    git ls-files '*.cpp' ':!kernels/cuda' ':!tests'
  fi | xargs -r -P "$jobs" -n 1 clang-tidy -p build/tidy --quiet
  exit
fi

[[ ${1:-} != --all ]] || check_format

if [[ ${1:-} == --all || ${1:-} == --asan ]]; then
  say "Build with AddressSanitizer and UndefinedBehaviorSanitizer"
  cmake --preset asan
  cmake --build --preset asan
  say "Tests under AddressSanitizer and UndefinedBehaviorSanitizer"
  run_tests build/asan "${@:2}"
  [[ $1 == --all ]] || exit 0
fi

say "Release build"
cmake --preset release -DMACADAM_TESTS=ON -DMACADAM_BENCH=ON ${MACADAM_CMAKE_OPTIONS:-}
cmake --build --preset release
say "Tests"
run_tests build/release
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "No GPU here: the tests labelled 'gpu' were skipped; the CUDA kernels ran in the emulator."
fi
