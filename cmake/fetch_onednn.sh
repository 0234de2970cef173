# fetch_onednn: oneDNN 3 into build/onednn, where CMake looks for it, if the system's is older.
# Sourced by quickstart.sh and test.sh behind install_packages.sh; needs the repository as the
# current folder.

# The major version of the system's oneDNN, 0 without one.
system_onednn_major() {
  printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR\n' |
    "${CXX:-g++}" -E -P -x c++ - 2>/dev/null | tail -n 1 | grep -xE '[0-9]+' || echo 0
}

# Downloads what the list pins and unpacks it; 1 if something of that fails.
unpack_onednn() {
  local list=$1 folder=$2 part=$2.part wheel data
  rm -rf "$part"
  mkdir -p "$part/wheels" "$part/lib" || return 1
  python3 -m pip download --quiet --disable-pip-version-check --retries 1 --no-deps \
    --only-binary :all: --require-hashes -r "$list" -d "$part/wheels" || return 1
  for wheel in "$part"/wheels/*.whl; do
    python3 -m zipfile -e "$wheel" "$part/wheels" || return 1
  done
  for data in "$part"/wheels/*.data/data; do
    [[ ! -d $data/include ]] || mv "$data/include" "$part" || return 1
    # The wheel holds the library three times over: a zip file keeps no links.
    [[ ! -f $data/lib/libdnnl.so.3 ]] || mv "$data/lib/libdnnl.so.3" "$part/lib" || return 1
    cp "$data"/share/doc/onednn/{LICENSE,THIRD-PARTY-PROGRAMS} "$part" || return 1
  done
  ln -s libdnnl.so.3 "$part/lib/libdnnl.so" || return 1
  rm -rf "$part/wheels" "$folder"
  cp "$list" "$part/wheels.txt" && mv "$part" "$folder"
}

fetch_onednn() {
  local list=cmake/onednn_wheels.txt folder=build/onednn
  if (($(system_onednn_major) >= 3)) || cmp -s "$list" "$folder/wheels.txt"; then
    echo "oneDNN 3 is there"
    return
  fi
  if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "oneDNN: no copy of 3.x for this machine is known: going on with what is there"
    return
  fi
  echo "oneDNN: the system's is older than 3: fetching 3.2.0 into $folder"
  if ! { python3 -m pip --version >/dev/null 2>&1 || install_missing python3 python3-pip 2>/dev/null; } ||
    ! unpack_onednn "$list" "$folder" >/dev/null 2>&1; then
    rm -rf "$folder.part"
    echo "oneDNN 3.2.0 could not be fetched (no network?): going on with what is there"
  fi
}
