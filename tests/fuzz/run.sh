#!/usr/bin/env bash
# One fuzz target for SECONDS_EACH (10) seconds, from its corpus on; one line says how that went.
# What it finds lies beside the program, in found/NAME.
#
#   tests/fuzz/run.sh build/fuzz/fuzz_NAME
set -euo pipefail
target=$(realpath "$1")
name=${target##*/}
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
seeds=$root/tests/fuzz/corpus/$name
[[ -d $seeds ]] || seeds=$root/tests/golden/images  # those that read images
found=${target%/*}/found/$name
mkdir -p "$found"
if ! "$target" -max_total_time="${SECONDS_EACH:-10}" -print_final_stats=1 -artifact_prefix="$found/" \
  "$found" "$seeds" >"$found.log" 2>&1; then
  cat "$found.log"
  exit 1
fi
awk -v name="$name" '/number_of_executed_units/ {print name ": " $2 " executions, no finding"}' "$found.log"
