#!/usr/bin/env bash
# Usage: scripts/test.sh VENV ROS [PYTEST ARGUMENTS]
# All tests; with ROS jazzy, those that depend on the release of ROS 2: of nodes, launch files and rclpy's interface.
# Those that start ROS nodes mostly wait, and have time limits: two at a time, after the others, and those that measure
# time or recall one after the other.
# Files with long tests come first (test/conftest.py), so that the processes end together.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1/bin/python
release=$2
shift 2
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
none_chosen=5  # pytest's exit status
files_in_order=(--dist loadfile --no-loadscope-reorder)
failed=0

run() { "$python" -m pytest "$@" || (($? == none_chosen)) || failed=1; }

if [[ $release == jazzy ]]; then
    run -m "not ros" test/launching/test_launch_files.py test/launching/test_launch_parameters.py test/project/test_rclpy_api.py "$@"
else
    run --numprocesses auto --maxprocesses 8 "${files_in_order[@]}" -m "not ros" "$@"
fi
run -m "ros and alone" "$@"
run --numprocesses auto --maxprocesses 2 "${files_in_order[@]}" -m "ros and not alone" "$@"
exit $failed
