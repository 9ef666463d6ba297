#!/usr/bin/env bash
# Usage: scripts/test.sh VENV ROS [PYTEST ARGUMENTS]
# All tests; with ROS jazzy, those that depend on the release of ROS 2: of nodes, launch files and rclpy's interface.
# Those that start ROS nodes have time limits, so they have the machine for themselves; the others share it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1/bin/python
release=$2
shift 2
none_chosen=5  # pytest's exit status
failed=0

run() { "$python" -m pytest "$@" || (($? == none_chosen)) || failed=1; }

if [[ $release == jazzy ]]; then
    run -m "not ros" test/launching/test_launch_files.py test/launching/test_launch_parameters.py test/project/test_rclpy_api.py "$@"
else
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} run --numprocesses auto --maxprocesses 8 --dist loadfile -m "not ros" "$@"
fi
run -m ros "$@"
exit $failed
