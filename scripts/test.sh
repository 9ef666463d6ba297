#!/usr/bin/env bash
# Usage: scripts/test.sh [PYTEST ARGUMENTS]
# All tests. Those that start ROS nodes have time limits, so they have the machine for themselves; the others share it.
set -euo pipefail
cd "$(dirname "$0")/.."
none_chosen=5  # pytest's exit status
failed=0

run() { .venv/bin/python -m pytest "$@" || (($? == none_chosen)) || failed=1; }

OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} run --numprocesses auto --maxprocesses 8 --dist loadfile -m "not ros" "$@"
run -m ros "$@"
exit $failed
