#!/usr/bin/env bash
# shellcheck disable=SC2317
# Everything that only a GPU can tell, on the machine that has it (docs/gpu.md).
#
#   bench/gpu_check.sh OUT [first | second | section...]
#
# Without sections: all of them, for as long as they take. `first` and `second` are the two halves
# of a quarter of an hour on a borrowed machine, what is worth most at the beginning:
#   DEADLINE=520 bench/gpu_check.sh OUT first
#   DEADLINE=185 bench/gpu_check.sh OUT second
# With DEADLINE, seconds that the whole command may take, each section has a share of it; what is
# not reached is named. A section that was cut goes on where it was when the same command is given
# again, and one that has passed is not repeated (FORCE=1: begin anew).
#
#   build       the programs run here; a carried build (bench/gpu_bundle.sh) is unpacked first
#   smoke       a handful of CUDA tests of every kind
#   tests       all CUDA tests; one that is skipped is a failure here
#   headline    training steps of unet_mini and vgg16_unet, in turns with PyTorch eager and
#               torch.compile, and the rate of a matrix product
#   kernels     every kernel against the bandwidth of a copy, and convolutions
#   camvid      UNet-mini trained on CamVid ($CAMVID) until it segments, and evaluated
#   resnet      training steps of resnet34_unet
#   latency     one image of 2048x1024, in turns with PyTorch, ONNX Runtime and TensorRT
#   sanitizer   compute-sanitizer: memcheck and racecheck over the kernel tests
#   profile     where the time of a step goes, layer by layer
#   large       training steps of unet, and of all networks with 16 images
#   fp32        latencies in fp16 and fp32, kernels in fp32
#   throughput  images a second of one replica and of several
#   choices     what padded channels and a second input gain in a step
#
# OUT receives results.json, report.md, log.txt, device.json (cuDNN's description of the GPU) and
# plans.txt (the plans that were chosen, with their times). Environment:
#   BUILD    build folder (build/gpu)            CAMVID  CamVid: a folder in SegNet layout, or a
#   CARRIED  folder of a carried build                   pack of it; by default the carried one
#            (build/gpu-carried)                 CUDNN_PATH  cuDNN, where it is neither PyTorch's
#   WORK     scratch and state between two               nor in /usr/local/cuda
#            commands (build/gpu-check)          DEVICE  cuda; cpu rehearses the check itself, at
#   PYTHON   the Python with PyTorch (python3)           tiny sizes (NO_PEERS=1: without PyTorch)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${BUILD:-$root/build/gpu}")
carried=$(realpath -m "${CARRIED:-$root/build/gpu-carried}")
work=$(realpath -m "${WORK:-$root/build/gpu-check}")
report="$root/bench/gpu_report.py"
device=${DEVICE:-cuda}
python=${PYTHON:-python3}
export PYTHONDONTWRITEBYTECODE=1

first=(build smoke tests headline kernels camvid resnet)
second=(build latency sanitizer profile large)
all=(build smoke tests headline kernels camvid resnet latency sanitizer profile large fp32
  throughput choices)
# Seconds that a section may take of a deadline.
declare -A share=([build]=30 [smoke]=40 [tests]=110 [headline]=150 [kernels]=75 [camvid]=50
  [resnet]=85 [latency]=80 [sanitizer]=60 [profile]=25 [large]=120 [fp32]=120 [throughput]=60
  [choices]=90)

fail() {
  echo "gpu_check: error: $*" >&2
  exit 1
}

# ours PROGRAM argument...: a program of the build, with its libraries. Others keep their own.
ours() {
  [[ -x $build/$1 ]] || fail "$1: not in $build: run the section 'build', or build the target $1"
  env LD_LIBRARY_PATH="$(library_path)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" "$build/$1" "${@:2}"
}

# The libraries that the programs find at run time: carried ones, PyTorch's cuDNN, CUDA's.
library_path() {
  [[ ! -f $work/library_path ]] || { cat "$work/library_path" && return; }
  local cudnn=${CUDNN_PATH:-} folder path=
  if [[ -z $cudnn && $device == cuda ]]; then
    cudnn=$("$python" -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
  fi
  for folder in "$build/lib" ${cudnn:+"$cudnn/lib" "$cudnn/lib64" "$cudnn/../cu13/lib"
    "$cudnn/../cuda_nvrtc/lib"} /usr/local/cuda/lib64 /usr/local/cuda/lib; do
    if [[ -d $folder ]]; then path=$path${path:+:}$folder; fi
  done
  echo "$path" | tee "$work/library_path"
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

section_build() {
  if [[ $device == cuda ]]; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader ||
      fail "nvidia-smi: no GPU here: this check is for a machine that has one"
    # What comes first from the disk takes seconds: read it while nothing is measured.
    "$python" -c 'import torch' >/dev/null 2>&1 &
  fi
  echo "built before" >"$dir/how"
  if [[ ! -e $build && -f $carried/programs.tar.xz ]]; then
    mkdir -p "$build"
    xz -dc -T0 "$carried/programs.tar.xz" | tar -C "$build" -xf -
    echo carried >"$dir/how"
  fi
  [[ -f $build/CMakeCache.txt ]] || fail "$build: no build there: see docs/gpu.md"
  link_old_places
  ours test_kernels --gtest_list_tests >/dev/null
  wait
}
collect_build() { python3 "$report" machine "$(cat "$dir/how" 2>/dev/null || echo none)"; }

# test PROGRAM FILTER: into $dir/PROGRAM.json. Choices timed beside other programs are not kept.
test_program() {
  local program=$1 filter=$2 status=0
  [[ ! -f $dir/$program.json && ! -f $dir/$program.ended ]] || return 0
  (cd "$dir" && MACADAM_CACHE='' ours "$program" --gtest_brief=1 "--gtest_filter=$filter" \
    "--gtest_output=json:$dir/$program.json") >"$dir/$program.log" 2>&1 || status=$?
  cat "$dir/$program.log"
  # Which tests failed (exit 1) is in the file, but not that the program did.
  [[ -f $dir/$program.json && $status -le 1 ]] || echo "exit $status" >"$dir/$program.ended"
}

section_smoke() {
  if [[ $device == cpu ]]; then
    test_program test_kernels 'Cpu/Op*relu_2x5x9x*'
    return
  fi
  test_program test_kernels 'Cuda.*:CudaConv.*:Cuda/Op*conv_*_2x5x9x*'
  test_program test_engine 'CudaTraining.AReplayed*'
  test_program test_models '*CudaNetworkGoldens.ScoresInFp32/unet:*CudaNetworkGoldens.ScoresInFp32/vgg16_unet'
}
collect_smoke() { collect_tests; }

section_tests() {
  if [[ $device == cpu ]]; then
    test_program test_kernels 'Cpu/Op*argmax*'
    return
  fi
  test_program test_kernels '*Cuda*' &
  test_program test_engine '*Cuda*' &
  test_program test_models '*Cuda*' &
  wait
}
collect_tests() { python3 "$report" tests "$device" "$dir"/test_*.json "$dir"/*.ended; }

# measured NAME PROGRAM option...: what one of the bench programs finds, into $dir/NAME.json.
measured() {
  [[ ! -f $dir/$1.json ]] || return 0
  if [[ $2 == bench_*_ops ]]; then # their table is for the log
    ours "${@:2}" "--benchmark_out=$dir/$1.part" --benchmark_out_format=json
  else
    ours "${@:2}" --device "$device" >"$dir/$1.part"
  fi
  mv "$dir/$1.part" "$dir/$1.json"
}

section_kernels() {
  if [[ $device == cpu ]]; then
    measured some bench_cpu_ops --benchmark_filter='^(copy_roof|relu/)'
    return
  fi
  measured bf16 bench_cuda_ops --benchmark_filter='/bf16/|^copy/[0-9]'
  measured convolutions bench_cuda_ops --benchmark_filter='^convolution_'
}
collect_kernels() { python3 "$report" benchmarks "$dir"/*.json; }

# peers SCRIPT option...: a side-by-side run into $dir, which goes on where the last one was cut.
peers() {
  local script=$1
  shift
  if [[ ${NO_PEERS:-0} == 1 ]]; then
    echo "NO_PEERS=1: nothing to compare with"
    return
  fi
  if [[ $device == cpu ]]; then # of an option that is given twice the second counts
    set -- "$@" --device cpu --networks unet_mini --size 64x32 --rounds 1 --seconds 0.1 "${tiny[@]}"
  fi
  if [[ ${LIMIT:-0} != 0 ]]; then set -- "$@" --time-limit $((LIMIT - 10)); fi
  MACADAM_LIBRARY_PATH=$(library_path) TORCHINDUCTOR_CACHE_DIR=$work/inductor \
    "$python" "$root/bench/peers/$script" "$build" -o "$dir" "$@"
}
training_peers() {
  local tiny=(--batches 1)
  peers gpu_training.py --rounds 3 --seconds 0.5 "$@"
}
inference_peers() {
  local tiny=()
  cp "$work"/{headline,resnet}/scores_*.json "$dir" 2>/dev/null || true
  peers gpu_inference.py --rounds 3 --seconds 0.3 "$@"
}

section_headline() { training_peers --networks unet_mini vgg16_unet --batches 8; }
section_resnet() { training_peers --networks resnet34_unet --batches 8; }
section_large() {
  training_peers --networks unet --batches 8
  training_peers --batches 16
}
section_latency() { inference_peers --networks unet_mini vgg16_unet --precisions bf16; }
section_fp32() {
  local precisions=(fp16 fp32)
  if [[ $device == cpu ]]; then precisions=(fp32); fi # the other is a GPU's alone
  inference_peers --precisions "${precisions[@]}"
  if [[ $device == cuda ]]; then measured fp32 bench_cuda_ops --benchmark_filter='/f32/'; fi
}
for section in headline resnet large latency fp32 throughput choices; do
  eval "collect_$section() { python3 \"\$report\" files \"\$dir\"; }"
done

section_throughput() {
  local networks=(unet_mini resnet34_unet) size=2048x1024 seconds=2 network way
  if [[ $device == cpu ]]; then networks=(unet_mini) size=64x32 seconds=0.1; fi
  for network in "${networks[@]}"; do
    for way in 1x1 2x1 4x1 1x4 2x4; do # replicas x batch
      measured "throughput_${network}_$way" bench_inference --network "$network" --size "$size" \
        --seconds "$seconds" --replicas "${way%x*}" --batch "${way#*x}"
    done
  done
}

section_choices() {
  local networks=(unet_mini vgg16_unet resnet34_unet) size=1024x512 batch=8 seconds=2 precision=bf16
  local network way
  if [[ $device == cpu ]]; then # not every processor has bf16
    networks=(unet_mini) size=64x32 batch=1 seconds=0.1 precision=fp32
  fi
  declare -A ways=([both]='--pad-channels true --inputs 2' [plain]='--pad-channels false --inputs 2'
    [one]='--pad-channels true --inputs 1')
  for network in "${networks[@]}"; do
    for way in "${!ways[@]}"; do
      # shellcheck disable=SC2086
      measured "choice_${network}_$way" bench_training_step --network "$network" --size "$size" \
        --batch "$batch" --precision "$precision" --classes 19 ${ways[$way]} --seconds "$seconds"
    done
  done
}

# Sets `data`: a data set with height, width and label set: CamVid, where it is there.
find_data() {
  local camvid=${CAMVID:-$carried/camvid.pack}
  if [[ $device == cuda && -e $camvid ]]; then
    data=("$(realpath "$camvid")" 360 480 camvid11)
    return
  fi
  local images=200
  data=("$work/streets" 512 1024 categories8)
  if [[ $device == cpu ]]; then images=16 data=("$work/streets" 32 64 categories8); fi
  [[ -d ${data[0]} ]] ||
    ours macadam synth "${data[0]}" --images "$images" --size "${data[2]}x${data[1]}" --seed 1
}

# configure NETWORK NAME: $dir/NAME.toml for the data that find_data() found.
configure() {
  cat >"$dir/$2.toml" <<TOML
network   = "$1"
dataset   = "${data[0]}"
label_set = "${data[3]}"
size      = [${data[1]}, ${data[2]}]
batch     = 8
seed      = 1
name      = "$2"
device    = "$device"
TOML
}

section_camvid() {
  local data epochs=${EPOCHS:-40} resume=()
  [[ $device == cpu ]] || [[ -e ${CAMVID:-$carried/camvid.pack} ]] ||
    fail "CAMVID: not set: name a CamVid folder in SegNet layout, or a pack of it"
  if [[ $device == cpu ]]; then epochs=1; fi
  find_data
  [[ ! -f $dir/eval_camvid.json ]] || return 0
  configure unet_mini camvid
  if [[ -f $dir/runs/camvid/last.safetensors ]]; then
    resume=(--resume)
  else
    rm -rf "$dir/runs/camvid"
  fi
  cd "$dir"
  ours macadam train camvid.toml "epochs=$epochs" "${resume[@]}"
  ours macadam eval runs/camvid/best.safetensors "${data[0]}" --json >eval_camvid.part
  mv eval_camvid.part eval_camvid.json
}
collect_camvid() { python3 "$report" runs "$dir" camvid; }

section_profile() {
  local data network networks=(vgg16_unet unet_mini)
  if [[ $device == cpu ]]; then networks=(unet_mini); fi
  find_data
  for network in "${networks[@]}"; do
    [[ ! -f $dir/$network.txt ]] || continue
    configure "$network" "$network"
    (cd "$dir" && ours macadam train "$network.toml" --profile 10 >"$network.part")
    mv "$dir/$network.part" "$dir/$network.txt"
    cat "$dir/$network.txt"
  done
}
collect_profile() { python3 "$report" texts "$dir"; }

section_sanitizer() {
  local tool name status failed=0 path
  if [[ $device == cpu ]]; then
    echo "compute-sanitizer is for CUDA: nothing to rehearse"
    return
  fi
  tool=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  [[ -x $tool ]] || fail "compute-sanitizer: not installed: it comes with the CUDA toolkit"
  path=$(library_path)
  declare -A filter=(
    [memcheck]='Cuda*-*conv_*:*TooMuchMemory*'
    [racecheck]='Cuda/*norm*:Cuda/*loss*:Cuda/*confusion*:Cuda/*pool*:Cuda/*upsample*:Cuda/*augment*'
    [convolutions]='Cuda/*conv_*_2x5x9x*'
  )
  # A part of the cases of each, taken in turns from the whole table.
  export GTEST_TOTAL_SHARDS=${SANITIZER_SHARDS:-$([[ ${LIMIT:-0} == 0 ]] && echo 3 || echo 15)}
  export GTEST_SHARD_INDEX=0
  for name in memcheck racecheck convolutions; do
    [[ ! -f $dir/$name.txt ]] || continue
    status=passed
    LD_LIBRARY_PATH=$path timeout "$((LIMIT > 0 ? LIMIT / 3 : 600))" "$tool" \
      --tool "${name/convolutions/memcheck}" --error-exitcode 9 --print-limit 20 \
      "$build/test_kernels" --gtest_brief=1 "--gtest_filter=${filter[$name]}" \
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
  export MACADAM_CACHE=${MACADAM_CACHE:-$work/cache}
  "section_$2"
  exit
fi

[[ $# -ge 1 ]] || fail "where to: usage: bench/gpu_check.sh OUT [first | second | section...]"
mkdir -p "$1" "$work/results"
out=$(realpath "$1")
shift
case ${1:-} in
  '') sections=("${all[@]}") ;;
  first) sections=("${first[@]}") ;;
  second) sections=("${second[@]}") ;;
  *) sections=("$@") ;;
esac
for section in "${sections[@]}"; do
  declare -F "section_$section" >/dev/null ||
    fail "$section: no such section: use first, second, ${all[*]}"
done
[[ -z ${DEADLINE:-} || $DEADLINE =~ ^[1-9][0-9]*$ ]] || fail "DEADLINE: $DEADLINE: give seconds"
rm -f "$work/library_path" # of another day, perhaps
results=$work/results

# What is known so far, to OUT: a command that is killed leaves nothing behind otherwise.
publish() {
  python3 "$report" device "$work"/*/test_kernels.json >"$results/device.part" 2>/dev/null &&
    mv "$results/device.part" "$results/device.json"
  rm -f "$results/device.part"
  local plans=("$work"/cache/*)
  [[ ! -e ${plans[0]} ]] || cat "${plans[@]}" >"$results/plans.txt"
  cp "$results"/* "$out"
}
trap 'publish; exit 143' TERM INT

# Seconds that SECTION may take: 0 for as long as it likes, less than 0 when none are left.
limit_of() {
  [[ -n ${DEADLINE:-} ]] || { echo 0 && return; }
  local left=$((DEADLINE - SECONDS - 5))
  if ((left < 10)); then echo -1; else echo $((share[$1] < left ? share[$1] : left)); fi
}

# run SECTION: under its time limit, what it measured merged into the results. 0: passed.
run() {
  local section=$1 status=0 started=$SECONDS limit
  dir=$work/$section
  case $(python3 "$report" state "$results" "$section") in
    passed)
      if [[ ${FORCE:-0} != 1 && $section != build ]]; then
        echo "=== $section: passed before"
        return 0
      fi
      rm -rf "$dir"
      ;;
    cut) if [[ ${FORCE:-0} == 1 ]]; then rm -rf "$dir"; fi ;;
    *) rm -rf "$dir" ;;
  esac
  limit=$(limit_of "$section")
  if ((limit < 0)); then
    echo "=== $section: not reached"
    python3 "$report" not-reached "$results" "$section"
    return 1
  fi
  mkdir -p "$dir"
  echo "=== $section (at $SECONDS s, limit ${limit/#0/none})"
  LIMIT=$limit timeout --kill-after=5 "$limit" "${BASH_SOURCE[0]}" --section "$section" 2>&1 |
    tee "$work/$section.log" || status=$?
  { echo "=== $section (exit $status)" && cat "$work/$section.log"; } >>"$results/log.txt"
  echo '{}' >"$work/$section.json"
  if declare -F "collect_$section" >/dev/null; then
    "collect_$section" >"$work/$section.json" || { [[ $status != 0 ]] || status=1; }
  fi
  python3 "$report" merge "$results" "$section" "$status" $((SECONDS - started)) \
    "$work/$section.json" "$work/$section.log"
  if [[ $status != 0 ]]; then
    echo "=== $section: $(python3 "$report" state "$results" "$section")"
  fi
  return "$status"
}

export WORK=$work BUILD=$build CARRIED=$carried
result=0
for section in "${sections[@]}"; do
  run "$section" || result=1
  publish
  if [[ $section == build && $result != 0 ]]; then break; fi
done
cat "$results/report.md"
exit $result
