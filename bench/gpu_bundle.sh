#!/usr/bin/env bash
# Prepares what bench/gpu_check.sh needs on a machine that can build and download nothing: programs
# for any x86-64-v3 machine with their libraries, and CamVid as a pack. Prints its size.
#
#   bench/gpu_bundle.sh [CARRIED]
#
# CARRIED (build/gpu-carried) goes there together with the repository. Environment:
#   CAMVID  a CamVid folder in SegNet layout; without it no data set is carried
#   ARCHITECTURES  of the GPU (90)          BUNDLE_BUILD  build folder (build/gpu-bundle)
#   LIMIT_MB  what may travel, with the repository's files (58)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
carried=$(realpath -m "${1:-$root/build/gpu-carried}")
build=$(realpath -m "${BUNDLE_BUILD:-$root/build/gpu-bundle}")
programs=(macadam bench_cuda_ops bench_inference bench_training_step test_engine test_kernels
  test_models)

# Its tests compare with the reference's convolutions: oneDNN would be 8 MB more to carry.
cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DMACADAM_CUDA=ON \
  -DMACADAM_ONEDNN=OFF -DMACADAM_HDF5=OFF -DMACADAM_CPU=x86-64-v3 \
  "-DMACADAM_CUDA_ARCHITECTURES=${ARCHITECTURES:-90}"
ninja -C "$build" -j "${JOBS:-$(nproc)}" "${programs[@]}"

rm -rf "$carried"
staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT
mkdir -p "$carried" "$staged/lib"
cp "$build/CMakeCache.txt" "$staged"
for program in "${programs[@]}"; do
  strip -o "$staged/$program" "$build/$program"
  ldd "$build/$program" | awk '$3 ~ /^\// {print $3}'
done | sort -u |
  grep -vE '/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s|cud[a-z]*|nv[a-z]*)\.so' |
  xargs -r cp -Lt "$staged/lib"
# A dictionary of several programs: each holds the same kernels, which are most of it.
tar -C "$staged" -cf - . | xz --lzma2=preset=6,dict=128MiB >"$carried/programs.tar.xz"
if [[ -n ${CAMVID:-} ]]; then
  "$build/macadam" pack "$CAMVID" "$carried/camvid.pack" --size 480x360 --jpeg 80
fi

du -b "$carried"/* | awk '{printf "%6.1f MB  %s\n", $1 / 1e6, $2}'
files=$(cd "$root" && git ls-files -z --cached --others --exclude-standard |
  xargs -0 du -bc | awk 'END {print $1}')
total=$((files + $(du -sb "$carried" | cut -f1)))
awk -v files="$files" -v total="$total" 'BEGIN {
  printf "%6.1f MB  the repository\n%6.1f MB  together\n", files / 1e6, total / 1e6}'
if ((total > ${LIMIT_MB:-58} * 1048576)); then
  echo "gpu_bundle: error: more than ${LIMIT_MB:-58} MiB" >&2
  exit 1
fi
