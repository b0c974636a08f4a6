#!/usr/bin/env bash
# What depends on processes, sockets and time, RUNS times in a row beside a busy loop on one core: tests/endure.sh [RUNS
# [PATH...]]. Stops at the first failure. Without PATH: node, gateway, demo, plug-ins, peers, archive.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-10}
shift || true
[ $# -gt 0 ] || set -- tests/node tests/gateway tests/demo tests/plugins tests/peer tests/archive
while :; do :; done &
busy=$!
trap 'kill $busy' EXIT
for ((run = 1; run <= runs; run++)); do
  echo "run $run of $runs"
  OMP_NUM_THREADS=1 "${BIN:-.venv/bin}/pytest" -n auto --dist loadgroup "$@"
done
