#!/bin/bash
# debootstrap_check.sh PREFIX MODEL PHOTO WORK [PACKAGE...]: does what deploy/Dockerfile does behind its build,
# without Docker: Debian 12 in WORK/debian, the packages of deploy/runtime_packages.txt, and of these the
# images' file system (deploy/runtime_root.sh). Then it runs both processes in that, read-only and without
# privileges, as containers would be, and asks the viewer for a mask.
#
# PREFIX is where `cmake --install` put the program, MODEL a run's folder. PACKAGEs are installed besides,
# for a build with more than the images' (ONNX: libonnx1 libprotobuf32, HDF5: libhdf5-103-1). Needs root,
# debootstrap and curl. docs/deploy.md has its last log: deploy/debootstrap_check.log.
set -euo pipefail
prefix=$1 model=$(realpath "$2") photo=$3 work=$4
shift 4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
api_port=${API_PORT:-28080} viewer_port=${VIEWER_PORT:-28081}
debian=$work/debian root=$work/debian/root_of_image

say() { printf '\n== %s\n' "$*"; }
mebibytes() { du -sm --apparent-size "$@" | awk '{sum += $1} END {print sum " MiB"}'; }
compressed() { tar -C "$1" -c . | gzip -6 | wc -c | awk '{printf "%.0f MiB\n", $1 / 1048576}'; }

say "Debian 12 (debootstrap $(debootstrap --version | cut -d' ' -f2))"
mirror=$(grep -rhoE '(https?|file):[^ ]*/debian/?( |$)' /etc/apt/sources.list* 2>/dev/null | head -n 1 || true)
mkdir -p "$work"
[[ -e $debian/usr/bin/apt-get ]] ||
  debootstrap --variant=minbase bookworm "$debian" ${mirror:+"$mirror"} >"$work/debootstrap.log"

say "Packages"
mapfile -t packages < <(cat "$here/runtime_packages.txt"; printf '%s\n' "$@")
DEBIAN_FRONTEND=noninteractive chroot "$debian" apt-get install -y --no-install-recommends \
  "${packages[@]}" >"$work/packages.log" 2>&1
echo "${packages[@]}"

say "The images' file system"
rm -rf "$root" "$debian/opt/macadam" "$debian/deploy"
cp -r "$prefix" "$debian/opt/macadam"
find "$debian/opt/macadam" -type f \( -name 'lib*.so*' -o -name macadam \) -exec strip {} +
mkdir "$debian/deploy"
cp "$here"/{runtime_root.sh,healthcheck.sh} "$debian/deploy"
chroot "$debian" /deploy/runtime_root.sh /opt/macadam /root_of_image
echo "image: $(mebibytes "$root"), $(compressed "$root") compressed as in a registry; of it"
echo "  the program $(mebibytes "$root/usr/local/bin/macadam"), its libraries $(mebibytes "$root/usr/local/lib")," \
  "Debian's $(mebibytes "$root/usr/lib" "$root/usr/lib64" "$root/usr/bin")"
echo "packages: $(find "$root/var/lib/dpkg/status.d" -type f | wc -l)"

# run LOG COMMAND...: in the background, in the image, its root read-only, as the image's user.
# A container's runtime adds /dev, /proc and the mounted model.
mkdir -p "$root"/{dev,proc,models/default}
run() {
  local log=$1
  shift
  # shellcheck disable=SC2016  # the inner shell's
  unshare --mount bash -c '
    root=$1 model=$2
    shift 2
    mount --rbind "$root" "$root"
    mount --bind "$model" "$root/models/default"
    mount -o remount,bind,ro "$root/models/default"
    mount -o remount,bind,ro "$root"
    mount --bind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    exec env -i MACADAM_CACHE= "$(command -v chroot)" --userspec=10001:10001 "$root" "$@"' \
    run "$root" "$model" /usr/local/bin/macadam "$@" >"$log" 2>&1 &
}
inside() { chroot --userspec=10001:10001 "$root" "$@"; }
wait_for() {  # PORT PATH
  for _ in {1..120}; do
    if inside /usr/local/bin/healthcheck "$@" 2>/dev/null; then return; fi
    sleep 0.5
  done
  echo "port $1 does not answer; its log:" >&2
  cat "$work"/*.out >&2
  return 1
}

say "macadam serve and macadam view"
# shellcheck disable=SC2046
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
run "$work/api.out" serve --host 127.0.0.1 --port "$api_port" /models/default
api=$!
run "$work/viewer.out" view --host 127.0.0.1 --port "$viewer_port" --api "http://127.0.0.1:$api_port"
viewer=$!
wait_for "$api_port" /v2/health/ready
wait_for "$viewer_port" /health
echo "healthy, by the images' own health check"
echo "user $(awk '/^Uid/ {print $2}' "/proc/$api/status")," \
  "root of the file system $(awk '$5 == "/" {print $6}' "/proc/$api/mountinfo" | tail -n 1 | cut -d, -f1)"

say "A mask through the viewer"
curl -sS --fail-with-body -D "$work/headers" --data-binary "@$photo" -o "$work/mask.png" \
  "http://127.0.0.1:$viewer_port/api/v1/segment?format=color"
tr -d '\r' <"$work/headers" | grep -iE '^(http|content-type|server-timing|x-model)'
head -c 8 "$work/mask.png" | od -An -c | grep -q 'P   N   G'
echo "a PNG of $(stat -c %s "$work/mask.png") bytes"
echo "most memory: API $(awk '/^VmHWM/ {printf "%.0f", $2 / 1024}' "/proc/$api/status") MiB," \
  "viewer $(awk '/^VmHWM/ {printf "%.0f", $2 / 1024}' "/proc/$viewer/status") MiB"

say "SIGTERM"
for process in "$viewer" "$api"; do
  kill "$process"
  code=0
  wait "$process" || code=$?
  echo "exit code $code"
done
