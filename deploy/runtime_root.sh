#!/bin/bash
# runtime_root.sh PREFIX ROOT: makes the file system of the images in ROOT: the program that was installed
# to PREFIX (cmake --install), the shared libraries that it needs of this system, bash for the health check,
# certificates, and a user. A whole Debian would be twice as large, most of it for nothing.
set -euo pipefail
prefix=$1 root=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

mkdir -p "$root"/{etc,tmp,models,usr/{bin,lib,lib64},usr/local/bin,var/lib/dpkg/status.d}
ln -s usr/bin usr/lib usr/lib64 "$root"
chmod 1777 "$root/tmp"

cp -r "$prefix"/{bin,lib,share} "$root/usr/local"
rm -rf "$root"/usr/local/lib/{cmake,pkgconfig}
install "$here/healthcheck.sh" "$root/usr/local/bin/healthcheck"
cp --parents -L /bin/bash /etc/ssl/certs/ca-certificates.crt "$root"

needed=$(find "$prefix" /bin/bash -type f \( -path '*/bin/*' -o -name 'lib*.so*' \) -exec ldd {} +)
if grep 'not found' <<<"$needed"; then
  echo "runtime_root.sh: libraries are missing: add their packages to deploy/runtime_packages.txt" >&2
  exit 1
fi
grep -oE '(^|[[:space:]])/[^ ]+ \(' <<<"$needed" | tr -d ' (\t' | grep -v "^$prefix/" | sort -u |
  while read -r library; do
    cp --parents -L "$library" "$root"
    # Its license, and for scanners of vulnerabilities which package it is of.
    package=$({ dpkg -S "$library" || dpkg -S "/usr$library"; } 2>/dev/null | head -n 1 | cut -d: -f1)
    dpkg -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    cp --parents -L "/usr/share/doc/$package/copyright" "$root"
  done

echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo 'macadam:x:10001:10001::/:/bin/false' >"$root/etc/passwd"
echo 'macadam:x:10001:' >"$root/etc/group"
cp /etc/os-release "$root/etc"
