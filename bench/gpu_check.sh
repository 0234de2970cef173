#!/usr/bin/env bash
# shellcheck disable=SC2317
# Everything that only a GPU can tell, in one go, on the machine that has it.
#
#   bench/gpu_check.sh OUT [section...]
#
# Sections, in this order unless some are named; one that has passed into OUT is not run again. A
# section that its time limit cuts short keeps what it has measured, and the same command goes on
# from there (FORCE=1 begins anew):
#   build      the programs in $BUILD (or in $BUILD.tar.gz) run here; else they are built there
#   tests      the test binaries, but for those that a GPU makes no difference to; a CUDA test that
#              is skipped is a failure here
#   kernels    bench_cuda_ops: every kernel against the bandwidth of a copy, and convolutions
#   peers      training steps of four networks, in turns with PyTorch eager and torch.compile
#   inference  latency of one image, in turns with PyTorch, and ONNX Runtime and TensorRT if there;
#              images a second of one replica and of several
#   training   UNet-mini for a few epochs at bf16 and fp32, and its evaluation
#   profile    where the time of a step goes, layer by layer
#   real       UNet-mini on CamVid ($CAMVID) until it segments
#   sanitizer  compute-sanitizer memcheck and racecheck over the kernel tests
# and, on another machine, to prepare programs that can be carried to one with a GPU:
#   bundle     builds for any x86-64-v3 machine into $BUILD.tar.gz, with the libraries it needs
#
# OUT receives results.json, report.md and log.txt. Environment:
#   BUILD      build folder (build/gpu)          CAMVID       a CamVid folder in SegNet layout
#   WORK       scratch (/tmp/macadam_gpu_check)  SECONDS_MAX  a section's limit (530)
#   PYTHON     the Python with PyTorch (python3) CUDNN_PATH   cuDNN, where it is neither PyTorch's
#   DEVICE     cuda; cpu tries the script                     nor in /usr/local/cuda
#              itself, at small sizes
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${BUILD:-$root/build/gpu}")
work=${WORK:-/tmp/macadam_gpu_check}
report="$root/bench/gpu_report.py"
all_sections=(build tests kernels peers inference training profile real sanitizer)
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1
seconds_max=${SECONDS_MAX:-530}

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
  wheel=$("$python" -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
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

# Tests hold the absolute paths of sources and programs; a carried build finds them through links.
link_old_places() {
  local key place old
  for key in CMAKE_HOME_DIRECTORY CMAKE_CACHEFILE_DIR; do
    if [[ $key == CMAKE_HOME_DIRECTORY ]]; then place=$root; else place=$build; fi
    old=$(sed -n "s/^$key:INTERNAL=//p" "$build/CMakeCache.txt")
    if [[ -n $old && ! -e $old ]]; then
      mkdir -p "$(dirname "$old")"
      ln -s "$place" "$old"
    fi
  done
}

# compile FOLDER option...
compile() {
  local folder=$1
  shift
  cmake -G Ninja -S "$root" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DMACADAM_CUDA=ON \
    -DMACADAM_ONEDNN=OFF "$@"
  ninja -C "$folder" -j "${JOBS:-$(nproc)}"
}

# Whether a program of the build is for machines without a GPU, and has been seen there.
needs_no_gpu() {
  case $(basename "$1") in
    bench_cpu_ops | bench_decode | bench_loader | bench_transforms) ;;
    test_emulator | test_simulated | test_loader | test_report | test_structure) ;;
    *) return 1 ;;
  esac
}

section_bundle() {
  local folder=$work/release carried=$dir/carried file
  compile "$folder" -DMACADAM_NATIVE=OFF -DCMAKE_CXX_FLAGS=-march=x86-64-v3 -DMACADAM_HDF5=OFF \
    "-DMACADAM_CUDA_ARCHITECTURES=${ARCHITECTURES:-90}"
  rm -rf "$carried"
  mkdir -p "$carried/lib" "$(dirname "$build")"
  cp "$folder/CMakeCache.txt" "$carried"
  for file in "$folder"/{macadam,test_*,bench_*}; do
    [[ -f $file && -x $file ]] || continue
    ! needs_no_gpu "$file" || continue
    strip -o "$carried/$(basename "$file")" "$file"
    ldd "$file" | awk '$3 ~ /^\// {print $3}'
  done | sort -u |
    grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cud[a-z]*|nv[a-z]*)\.so' |
    xargs -r cp -Lt "$carried/lib"
  tar -C "$carried" -czf "$build.tar.gz" .
  du -sh "$carried" "$build.tar.gz"
}

section_build() {
  if [[ $device == cuda ]]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader ||
      fail "nvidia-smi: no GPU here: this check is for a machine that has one"
  fi
  if [[ ! -e $build && -f $build.tar.gz ]]; then
    mkdir -p "$build"
    tar -C "$build" -xzf "$build.tar.gz"
  fi
  echo carried >"$dir/how"
  if ! "$build/test_kernels" --gtest_list_tests >/dev/null 2>"$dir/error"; then
    cat "$dir/error"
    [[ $device == cuda ]] || fail "$build: no programs that run here: build them first"
    echo "built here" >"$dir/how"
    compile "$build" -DMACADAM_CUDA_ARCHITECTURES=native
  fi
  "$build/test_kernels" --gtest_list_tests >/dev/null
}
collect_build() { python3 "$report" machine "$(cat "$dir/how")"; }

section_tests() {
  local file name status found=0
  for file in "$build"/test_*; do
    [[ -x $file && -f $file ]] || continue
    ! needs_no_gpu "$file" || continue
    found=1
    name=$(basename "$file")
    [[ ! -f $dir/$name.json && ! -f $dir/$name.ended ]] || continue
    echo "--- $name"
    status=0
    (cd "$dir" && "$file" --gtest_brief=1 "--gtest_output=json:$dir/$name.json") || status=$?
    # Which tests failed (exit 1) is in the file, but not that the program did.
    [[ -f $dir/$name.json && $status -le 1 ]] || echo "exit $status" >"$dir/$name.ended"
  done
  [[ $found == 1 ]] || fail "no test binary in $build"
}
collect_tests() { python3 "$report" tests "$dir"/*.json "$dir"/*.ended; }

section_kernels() {
  local bench part
  bench=$(program "bench_${device}_ops")
  declare -A cases=([bf16]='/bf16/|^copy/[0-9]' [fp32]='/f32/' [convolutions]='^convolution_')
  if [[ $device == cpu ]]; then cases=([some]='^(copy_roof|relu/|argmax)'); fi
  for part in "${!cases[@]}"; do
    [[ ! -f $dir/$part.json ]] || continue
    "$bench" "--benchmark_filter=${cases[$part]}" "--benchmark_out=$dir/$part.part" \
      --benchmark_out_format=json
    mv "$dir/$part.part" "$dir/$part.json"
  done
}
collect_kernels() { python3 "$report" benchmarks "$dir"/*.json; }

# peer SCRIPT option...: a side-by-side run into $dir, which goes on where the last one was cut.
peer() {
  local script=$1
  shift
  if [[ $device == cpu ]]; then
    set -- "$@" --device cpu --networks unet_mini --size 64x32 --rounds 1 --seconds 0.1 --no-compile
  fi
  TORCHINDUCTOR_CACHE_DIR=$work/inductor "$python" "$root/bench/peers/$script" "$build" -o "$dir" \
    --time-limit $((seconds_max - 20)) "$@"
}

# What a plan's choices gain in a training step: channels padded to multiples of 8, and a second
# input, into which the next batch comes meanwhile.
choices() {
  local networks=(unet_mini vgg16_unet resnet34_unet) size=1024x512 batch=8 seconds=2 network way name
  if [[ $device == cpu ]]; then networks=(unet_mini) size=64x32 batch=1 seconds=0.1; fi
  declare -A ways=([both]='--pad-channels true --inputs 2' [plain]='--pad-channels false --inputs 2'
    [one]='--pad-channels true --inputs 1')
  for network in "${networks[@]}"; do
    for way in "${!ways[@]}"; do
      name=choice_${network}_$way
      [[ ! -f $dir/$name.json ]] || continue
      # shellcheck disable=SC2086
      "$(program bench_training_step)" --network "$network" --size "$size" --batch "$batch" \
        --precision bf16 --device "$device" --classes 19 ${ways[$way]} --seconds "$seconds" \
        >"$dir/$name.part"
      mv "$dir/$name.part" "$dir/$name.json"
    done
  done
}

section_peers() {
  choices
  if [[ $device == cpu ]]; then set -- --batches 1; fi
  peer gpu_training.py "$@"
}
collect_peers() { python3 "$report" files "$dir"; }

# How many images a second replicas on streams of their own classify, and larger batches.
throughput() {
  local networks=(unet_mini resnet34_unet) size=2048x1024 seconds=2 network way name
  if [[ $device == cpu ]]; then networks=(unet_mini) size=64x32 seconds=0.1; fi
  for network in "${networks[@]}"; do
    for way in 1x1 2x1 4x1 1x4 2x4; do # replicas x batch
      name=throughput_${network}_$way
      [[ ! -f $dir/$name.json ]] || continue
      "$(program bench_inference)" --network "$network" --size "$size" --seconds "$seconds" \
        --device "$device" --replicas "${way%x*}" --batch "${way#*x}" >"$dir/$name.part"
      mv "$dir/$name.part" "$dir/$name.json"
    done
  done
}

section_inference() {
  throughput
  cp "$work"/peers/scores_*.json "$dir" 2>/dev/null || true
  peer gpu_inference.py --seconds 0.4
}
collect_inference() { python3 "$report" files "$dir"; }

# train NAME DATASET HEIGHT WIDTH LABELS key=value...: a run in $dir/runs/NAME, and eval_NAME.json.
train() {
  local name=$1 dataset=$2 height=$3 width=$4 labels=$5
  shift 5
  [[ ! -f $dir/eval_$name.json ]] || return 0
  cat >"$dir/$name.toml" <<TOML
network   = "unet_mini"
dataset   = "$dataset"
label_set = "$labels"
size      = [$height, $width]
batch     = 8
seed      = 1
name      = "$name"
device    = "$device"
TOML
  if [[ -f $dir/runs/$name/last.safetensors ]]; then
    set -- "$@" --resume
  else
    rm -rf "$dir/runs/$name"
  fi
  (cd "$dir" && "$(program macadam)" train "$name.toml" "$@" &&
    "$(program macadam)" eval "runs/$name/best.safetensors" "$dataset" --json >"eval_$name.part")
  mv "$dir/eval_$name.part" "$dir/eval_$name.json"
}

# Sets `data`: the data set of the sections training and profile, with its size and labels.
find_data() {
  if [[ -n ${CAMVID:-} ]]; then
    data=("$CAMVID" 360 480 camvid11)
    return
  fi
  local size=1024x512 images=200
  data=("$work/streets" 512 1024 categories8)
  if [[ $device == cpu ]]; then size=64x32 images=16 data=("$work/streets" 32 64 categories8); fi
  [[ -d ${data[0]} ]] ||
    "$(program macadam)" synth "${data[0]}" --images "$images" --size "$size" --seed 1
}

section_training() {
  local data precision
  find_data
  for precision in bf16 fp32; do
    train "short_$precision" "${data[@]}" "precision=$precision" epochs=4
  done
}
collect_training() { python3 "$report" runs "$dir" short_bf16 short_fp32; }

section_profile() {
  local data network macadam networks=(unet_mini vgg16_unet)
  macadam=$(program macadam)
  if ! "$macadam" train --help | grep -q -- --profile; then
    echo "this build has no macadam train --profile"
    return
  fi
  if [[ $device == cpu ]]; then networks=(unet_mini); fi
  find_data
  for network in "${networks[@]}"; do
    cat >"$dir/$network.toml" <<TOML
network   = "$network"
dataset   = "${data[0]}"
label_set = "${data[3]}"
size      = [${data[1]}, ${data[2]}]
batch     = 8
name      = "$network"
device    = "$device"
TOML
    (cd "$dir" && "$macadam" train "$network.toml" --profile 10 >"$network.part")
    mv "$dir/$network.part" "$dir/$network.txt"
    cat "$dir/$network.txt"
  done
}
collect_profile() { python3 "$report" texts "$dir"; }

section_real() {
  [[ -n ${CAMVID:-} ]] || fail "CAMVID: not set: name a CamVid folder in SegNet layout"
  [[ -d $CAMVID ]] || fail "$CAMVID: no such folder"
  train camvid "$CAMVID" 360 480 camvid11 "epochs=${EPOCHS:-60}"
}
collect_real() { python3 "$report" runs "$dir" camvid; }

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
  # A third of the cases of each, taken in turns from the whole table.
  export GTEST_TOTAL_SHARDS=${SANITIZER_SHARDS:-3} GTEST_SHARD_INDEX=0
  for name in memcheck racecheck convolutions; do
    [[ ! -f $dir/$name.txt ]] || continue
    status=passed
    timeout 170 "$tool" --tool "${name/convolutions/memcheck}" --error-exitcode 9 \
      --print-limit 20 "$test" --gtest_brief=1 "--gtest_filter=${filter[$name]}" \
      >"$dir/$name.log" 2>&1 || status="exit $?"
    grep -qE '\[  PASSED  \] [1-9]' "$dir/$name.log" || status="$status, no test passed"
    tail -25 "$dir/$name.log"
    echo "$status" >"$dir/$name.txt"
    [[ $status == passed ]] || failed=1
  done
  return "$failed"
}
collect_sanitizer() { python3 "$report" texts "$dir"; }

if [[ ${1:-} == --section ]]; then # one section, under the time limit that the loop below sets
  dir=$work/$2
  mkdir -p "$dir"
  set_library_path
  if [[ $2 != build && $2 != bundle ]]; then
    [[ -f $build/CMakeCache.txt ]] || fail "$build: no build: run the section 'build' first"
    link_old_places
  fi
  export MACADAM_CACHE=${MACADAM_CACHE:-$work/cache}
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

# run SECTION: under the time limit, what it measured merged into OUT. 0: passed.
run() {
  local section=$1 status=0 started
  dir=$work/$section
  case $(python3 "$report" state "$out" "$section") in
    passed)
      if [[ ${FORCE:-0} != 1 ]]; then
        echo "=== $section: passed before"
        return 0
      fi
      rm -rf "$dir"
      ;;
    cut) if [[ ${FORCE:-0} == 1 ]]; then rm -rf "$dir"; fi ;;
    *) rm -rf "$dir" ;;
  esac
  mkdir -p "$dir"
  echo "=== $section"
  started=$(date +%s)
  timeout --kill-after=10 "$seconds_max" "${BASH_SOURCE[0]}" --section "$section" 2>&1 |
    tee "$work/$section.log" || status=$?
  { echo "=== $section (exit $status)" && cat "$work/$section.log"; } >>"$out/log.txt"
  echo '{}' >"$work/$section.json"
  if declare -F "collect_$section" >/dev/null; then
    "collect_$section" >"$work/$section.json" || { [[ $status != 0 ]] || status=1; }
  fi
  python3 "$report" merge "$out" "$section" "$status" $(($(date +%s) - started)) \
    "$work/$section.json" "$work/$section.log"
  if [[ $status != 0 ]]; then echo "=== $section: $(python3 "$report" state "$out" "$section")"; fi
  return "$status"
}

export WORK=$work BUILD=$build
result=0
for section in "${sections[@]}"; do
  run "$section" || result=1
done
cat "$out/report.md"
exit $result
