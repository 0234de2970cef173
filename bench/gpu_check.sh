#!/usr/bin/env bash
# shellcheck disable=SC2317
# Everything that only a GPU can tell, in one go, on the machine that has it.
#
#   bench/gpu_check.sh OUT [section...]
#
# Sections, in this order unless some are named; one that has passed into OUT is not run again
# (FORCE=1 runs it anyway), so that an interrupted check is resumed by the same command:
#   build      the programs in $BUILD run here; else they are built there
#   tests      every test binary; a CUDA test that is skipped is a failure here
#   sanitizer  compute-sanitizer memcheck and racecheck over the kernel tests
#   kernels    the Google Benchmark suites, their CUDA cases
#   training   UNet-mini for a few epochs at bf16 and fp32, and its evaluation
#   peers      the same network in PyTorch
#   real       UNet-mini on CamVid ($CAMVID) until it segments
# and, where there is no GPU, to prepare a $BUILD that can be carried to one:
#   bundle     builds for any x86-64-v3 machine, stripped, with the libraries that it needs
#
# OUT receives results.json, report.md and log.txt. Environment:
#   BUILD      build folder (build/gpu)          CAMVID     a CamVid folder in SegNet layout
#   WORK       scratch (/tmp/macadam_gpu_check)  SECONDS_MAX  a section's limit (530)
#   CUDNN_PATH cuDNN, where it is neither PyTorch's nor in /usr/local/cuda
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${BUILD:-$root/build/gpu}")
work=${WORK:-/tmp/macadam_gpu_check}
report="$root/bench/gpu_report.py"
all_sections=(build tests sanitizer kernels training peers real)

fail() {
  echo "gpu_check: error: $*" >&2
  exit 1
}

# A program of the build, or a clear end.
program() {
  [[ -x $build/$1 ]] || fail "$1: not in $build: run the section 'build', or build the target $1"
  echo "$build/$1"
}

# The libraries that the programs find at run time: carried ones, CUDA's, PyTorch's cuDNN.
set_library_path() {
  local wheel
  wheel=$(python3 -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
  if [[ -z ${CUDNN_PATH:-} && -n $wheel && -d $wheel/lib ]]; then
    export CUDNN_PATH=$wheel
  fi
  local folder path=
  for folder in "$build/lib" ${CUDNN_PATH:+"$CUDNN_PATH/lib" "$CUDNN_PATH/lib64"} \
    ${wheel:+"$wheel/../cu13/lib" "$wheel/../cuda_nvrtc/lib"} /usr/local/cuda/lib64 \
    /usr/local/cuda/lib; do
    if [[ -d $folder ]]; then path=$path$folder:; fi
  done
  export LD_LIBRARY_PATH=$path${LD_LIBRARY_PATH:-}
}

# Tests hold the absolute path of the sources; a carried build finds them through a link.
link_sources() {
  local built_from
  built_from=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
  if [[ -n $built_from && ! -e $built_from ]]; then
    mkdir -p "$(dirname "$built_from")"
    ln -s "$root" "$built_from"
  fi
}

# compile FOLDER option...
compile() {
  local folder=$1
  shift
  cmake -G Ninja -S "$root" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DMACADAM_CUDA=ON \
    -DMACADAM_ONEDNN=OFF "$@"
  ninja -C "$folder" -j "${JOBS:-$(nproc)}"
}

section_bundle() {
  local folder=$work/bundle file
  compile "$folder" -DMACADAM_NATIVE=OFF -DCMAKE_CXX_FLAGS=-march=x86-64-v3 \
    "-DMACADAM_CUDA_ARCHITECTURES=${ARCHITECTURES:-90}"
  mkdir -p "$build/lib"
  cp "$folder/CMakeCache.txt" "$build"
  for file in "$folder"/{macadam,test_*,bench_*}; do
    [[ -x $file && -f $file ]] || continue
    strip -o "$build/$(basename "$file")" "$file"
    ldd "$file" | awk '$3 ~ /^\// {print $3}'
  done | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libcud[a-z]*|libnv[a-z]*)\.so' |
    xargs -r cp -Lt "$build/lib"
  du -sh "$build"
  echo '{}' >"$work/bundle.json"
}

section_build() {
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader ||
    fail "nvidia-smi: no GPU here: this check is for a machine that has one"
  local how=carried
  if ! "$build/test_kernels" --gtest_list_tests >/dev/null 2>"$work/build_error"; then
    cat "$work/build_error"
    how="built here"
    compile "$build" -DMACADAM_CUDA_ARCHITECTURES=native
  fi
  "$build/test_kernels" --gtest_list_tests >/dev/null
  python3 "$report" machine "$how" >"$work/build.json"
}

section_tests() {
  local file failed=0
  rm -f "$work"/gtest_*.json
  for file in "$build"/test_*; do
    [[ -x $file && -f $file ]] || continue
    echo "--- $(basename "$file")"
    (cd "$work" && "$file" --gtest_brief=1 "--gtest_output=json:$work/gtest_$(basename "$file").json") ||
      failed=1
  done
  compgen -G "$work/gtest_*.json" >/dev/null || fail "no test binary in $build"
  python3 "$report" tests "$work"/gtest_*.json >"$work/tests.json" || failed=1
  return "$failed"
}

section_sanitizer() {
  local tool test name status failed=0
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  [[ -x $tool ]] || fail "compute-sanitizer: not installed: it comes with the CUDA toolkit"
  test=$(program test_kernels)
  declare -A filter=(
    [memcheck]='Cuda*-*conv_*:*TooMuchMemory*'
    [racecheck]='Cuda/*norm*:Cuda/*loss*:Cuda/*confusion*:Cuda/*pool*:Cuda/*upsample*:Cuda/*augment*'
    [convolutions]='Cuda/*conv_*_2x5x9x*'
  )
  : >"$work/sanitizer.tsv"
  # A third of the cases of each, taken in turns from the whole table.
  export GTEST_TOTAL_SHARDS=${SANITIZER_SHARDS:-3} GTEST_SHARD_INDEX=0
  for name in memcheck racecheck convolutions; do
    status=passed
    timeout 170 "$tool" --tool "${name/convolutions/memcheck}" --error-exitcode 9 \
      --print-limit 20 "$test" --gtest_brief=1 "--gtest_filter=${filter[$name]}" \
      >"$work/$name.log" 2>&1 || status="exit $?"
    grep -qE '\[  PASSED  \] [1-9]' "$work/$name.log" || status="$status, no test passed"
    tail -25 "$work/$name.log"
    printf '%s\t%s\n' "$name" "$status" >>"$work/sanitizer.tsv"
    [[ $status == passed ]] || failed=1
  done
  python3 "$report" table "$work/sanitizer.tsv" >"$work/sanitizer.json"
  return "$failed"
}

section_kernels() {
  local file cases=${KERNEL_FILTER:-[Cc]uda} found=0
  rm -f "$work"/bench_*.json
  for file in "$build"/bench_*; do
    [[ -x $file && -f $file ]] || continue
    "$file" --benchmark_list_tests "--benchmark_filter=$cases" 2>/dev/null | grep -q . || continue
    found=1
    "$file" "--benchmark_filter=$cases" --benchmark_min_time=0.2 \
      "--benchmark_out=$work/$(basename "$file").json" --benchmark_out_format=json
  done
  [[ $found == 1 ]] || fail "no bench_* in $build has a case that matches '$cases'"
  python3 "$report" benchmarks "$work"/bench_*.json >"$work/kernels.json"
}

# train NAME DATASET HEIGHT WIDTH LABELS key=value...: a run in $work/runs/NAME, and eval_NAME.json.
train() {
  local name=$1 dataset=$2 height=$3 width=$4 labels=$5
  shift 5
  cat >"$work/$name.toml" <<TOML
network   = "unet_mini"
dataset   = "$dataset"
label_set = "$labels"
size      = [$height, $width]
batch     = 8
seed      = 1
name      = "$name"
device    = "cuda"
TOML
  rm -rf "$work/runs/$name"
  (cd "$work" && "$(program macadam)" train "$name.toml" "$@" &&
    "$(program macadam)" eval "runs/$name/best.safetensors" "$dataset" --json >"eval_$name.json")
}

section_training() {
  program macadam >/dev/null
  local dataset=$work/streets height=512 width=1024 labels=categories8 precision
  if [[ -n ${CAMVID:-} ]]; then
    dataset=$CAMVID height=360 width=480 labels=camvid11
  elif [[ ! -d $dataset ]]; then
    "$build/macadam" synth "$dataset" --images 200 --size 1024x512 --seed 1
  fi
  for precision in bf16 fp32; do
    train "short_$precision" "$dataset" "$height" "$width" "$labels" "precision=$precision" epochs=4
  done
  python3 "$report" runs "$work" short_bf16 short_fp32 >"$work/training.json"
}

section_peers() {
  python3 -c 'import torch; assert torch.cuda.is_available()' ||
    fail "PyTorch with CUDA: not here: install it, or leave out the section 'peers'"
  python3 "$root/bench/peers/unet_mini_torch.py" --height 512 --width 1024 --batch 8 \
    >"$work/peers.json"
  cat "$work/peers.json"
}

section_real() {
  [[ -n ${CAMVID:-} ]] || fail "CAMVID: not set: name a CamVid folder in SegNet layout"
  [[ -d $CAMVID ]] || fail "$CAMVID: no such folder"
  train camvid "$CAMVID" 360 480 camvid11 "epochs=${EPOCHS:-60}"
  python3 "$report" runs "$work" camvid >"$work/real.json"
}

if [[ ${1:-} == --section ]]; then # one section, under the time limit that the loop below sets
  set_library_path
  if [[ $2 != build && $2 != bundle ]]; then
    [[ -f $build/CMakeCache.txt ]] || fail "$build: no build: run the section 'build' first"
    link_sources
  fi
  "section_$2"
  exit
fi

[[ $# -ge 1 ]] || fail "where to: usage: bench/gpu_check.sh OUT [section...]"
mkdir -p "$1" "$work"
out=$(realpath "$1")
shift
if [[ $# -gt 0 ]]; then sections=("$@"); else sections=("${all_sections[@]}"); fi
for section in "${sections[@]}"; do
  declare -F "section_$section" >/dev/null ||
    fail "$section: no such section: use ${all_sections[*]} or bundle"
done

export WORK=$work BUILD=$build
result=0
for section in "${sections[@]}"; do
  if [[ ${FORCE:-0} != 1 ]] && python3 "$report" passed "$out" "$section"; then
    echo "=== $section: passed before"
    continue
  fi
  echo "=== $section"
  rm -f "$work/$section.json"
  started=$(date +%s)
  status=0
  timeout --kill-after=10 "${SECONDS_MAX:-530}" "${BASH_SOURCE[0]}" --section "$section" 2>&1 |
    tee "$work/$section.log" || status=$?
  { echo "=== $section (exit $status)" && cat "$work/$section.log"; } >>"$out/log.txt"
  python3 "$report" merge "$out" "$section" "$status" $(($(date +%s) - started)) \
    "$work/$section.json" "$work/$section.log"
  if [[ $status != 0 ]]; then
    echo "=== $section: FAILED (exit $status)"
    result=1
  fi
done
cat "$out/report.md"
exit $result
