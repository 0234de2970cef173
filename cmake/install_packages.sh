# install_packages build|test: Debian's (and Ubuntu's) packages, those that are missing.
# install_missing PACKAGE...: the same for any.
# Sourced by quickstart.sh and test.sh.

install_missing() {
  local missing=() package
  for package in "$@"; do
    if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
      missing+=("$package")
    fi
  done
  if ((${#missing[@]} == 0)); then
    echo "all there"
    return
  fi
  echo "installing: ${missing[*]}"
  local root=()
  ((EUID == 0)) || root=(sudo)
  "${root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends \
      "${missing[@]}" >/dev/null
}

# Boost 1.81 or later: Debian 12 has it beside its default, 1.74.
boost_package() {
  if grep -qx 'VERSION_ID="12"' /etc/os-release && grep -qx 'ID=debian' /etc/os-release; then
    echo libboost1.81-dev
  else
    echo libboost-dev
  fi
}

# The browser that the viewer is tested in. Ubuntu's is a snap, which scripts cannot rely on.
browser_packages() {
  if grep -qx 'ID=debian' /etc/os-release; then
    echo chromium chromium-driver python3-selenium fonts-dejavu-core
  fi
}

install_packages() {
  local wanted=(g++ cmake ninja-build ccache libfmt-dev libcli11-dev libtomlplusplus-dev
    nlohmann-json3-dev libstb-dev libjpeg-dev libdeflate-dev libdnnl-dev libhdf5-dev libonnx-dev
    libprotobuf-dev libcurl4-openssl-dev "$(boost_package)")
  if [[ $1 == test ]]; then
    wanted+=(libgtest-dev libbenchmark-dev libpng-dev python3 clang libomp-dev libclang-rt-dev
      clang-format clang-tidy $(browser_packages))
  fi
  install_missing "${wanted[@]}"
}
