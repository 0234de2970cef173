#!/usr/bin/env bash
# Checks the files of deploy/ and .github/ with what this machine has (PATH, build/tools/bin), and names what it
# lacks: nothing is downloaded. Where one gets the tools: tests/README.md.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
PATH=$PWD/build/tools/bin:$PATH:/usr/sbin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()

# check TOOL COMMAND...: skipped without TOOL.
check() {
  local tool=$1 output
  shift
  if ! command -v "$tool" >/dev/null; then
    echo "skipped  $* ($tool is not installed)"
  elif output=$("$@" 2>&1); then
    echo "passed   $*"
  else
    printf 'FAILED   %s\n%s\n' "$*" "$output"
    failed+=("$1")
  fi
}

# What every manifest and unit needs beside its syntax.
packages_are_sorted() { LC_ALL=C sort -cu deploy/runtime_packages.txt; }
actions_are_pinned() {
  ! grep -rnE 'uses: ' .github/workflows | grep -vE 'uses: [A-Za-z0-9_/.-]+@[0-9a-f]{40}  # v[0-9.]+$'
}
nginx_accepts() {
  local site=$work/site.conf certificate=/etc/nginx/certificates/street.example.org
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=street.example.org \
    -keyout "$work/key" -out "$work/pem" || return
  # Sockets in the place of ports, which belong to root and perhaps to another server.
  sed -E "s|$certificate\.pem|$work/pem|; s|$certificate\.key|$work/key|
    s|listen ([0-9]+)|listen unix:$work/v4_\1|; s|listen \[::\]:([0-9]+)|listen unix:$work/v6_\1|" \
    deploy/nginx/macadam.conf >"$site"
  printf 'events {}\npid %s;\nerror_log stderr;\nhttp { access_log off; include %s; }\n' \
    "$work/nginx.pid" "$site" >"$work/nginx.conf"
  nginx -t -c "$work/nginx.conf" -e stderr
}
units_verify() {
  local unit
  for unit in deploy/systemd/*.service; do  # the program need not be installed
    sed 's|=/usr/local/bin/macadam |=/bin/true |' "$unit" >"$work/$(basename "$unit")"
  done
  systemd-analyze verify --man=no "$work"/*.service
}
units_are_closed() {  # systemd's exposure, of 10
  local unit
  for unit in deploy/systemd/*.service; do
    systemd-analyze security --offline=yes --threshold=15 --no-pager "$unit" || return
  done
}

mapfile -t scripts < <(git ls-files -co --exclude-standard 'deploy/*.sh' 'tests/deploy/*.sh')
check bash packages_are_sorted
check bash actions_are_pinned
check shellcheck shellcheck "${scripts[@]}"
check hadolint hadolint deploy/Dockerfile deploy/Dockerfile.cuda deploy/Dockerfile.webapp
check yamllint yamllint --strict -c tests/deploy/yamllint.yaml deploy .github
check actionlint actionlint .github/workflows/ci.yml .github/workflows/deploy.yml
check check-jsonschema check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/ci.yml \
  .github/workflows/deploy.yml
check check-jsonschema check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
check kubernetes-validate kubernetes-validate --strict deploy/kubernetes/api.yaml deploy/kubernetes/viewer.yaml
check kubeconform kubeconform -strict deploy/kubernetes/api.yaml deploy/kubernetes/viewer.yaml
check kubectl kubectl kustomize deploy/kubernetes
if docker compose version >/dev/null 2>&1; then
  check docker env MODEL=/models docker compose -f deploy/compose.yaml config --quiet
else
  echo "skipped  docker compose (not installed)"
fi
check systemd-analyze units_verify
check systemd-analyze units_are_closed
if command -v openssl >/dev/null; then check nginx nginx_accepts; else echo "skipped  nginx_accepts (no openssl)"; fi

((${#failed[@]} == 0)) || { echo "failed: ${failed[*]}"; exit 1; }
