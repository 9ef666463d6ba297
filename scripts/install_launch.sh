#!/usr/bin/env bash
# Usage: scripts/install_launch.sh [VENV]
# Installs `ros2` with launch, run, node, param, service, topic, lifecycle, interface and pkg, which have no wheels, from
# their public sources into the environment VENV (default .venv) that `make setup` has made. Needs git and a connection
# to GitHub and PyPI.
#   LAUNCH_BRANCH   branch of the sources (default: the ROS 2 release of VENV)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(realpath "${1:-.venv}")

fail() { echo "install_launch: $*" >&2; exit 1; }
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Set by the ROS wheels for their own interpreter and inherited from there; another environment finds its own libraries.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE

[[ -x $venv/bin/python ]] || fail "there is no environment $venv: run 'make setup' first"
command -v git >/dev/null || fail "git is needed: sudo apt-get install git"
wheel=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("ros-rclpy"))' 2>/dev/null) ||
    fail "$venv has no ROS 2 from wheels. A ROS 2 installation has its own: sudo apt-get install ros-\$ROS_DISTRO-ros2launch"
release=$(grep -lx "ros-rclpy==$wheel" scripts/constraints-*.txt | sed -n '1s/.*constraints-\(.*\)\.txt/\1/p')
branch=${LAUNCH_BRANCH:-${release:?no release of ROS 2 has the wheel ros-rclpy $wheel; set LAUNCH_BRANCH}}

sources=$(mktemp -d)
trap 'rm -rf "$sources"' EXIT
for repository in launch launch_ros ros2cli rosidl_runtime_py rcl_interfaces; do
    git -c advice.detachedHead=false clone -q --depth 1 --branch "$branch" \
        "https://github.com/ros2/$repository" "$sources/$repository" ||
        fail "https://github.com/ros2/$repository, branch $branch, cannot be cloned; LAUNCH_BRANCH names another branch"
done

export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
command -v cmake >/dev/null || pip install -qq cmake -c scripts/constraints.txt
scripts/ros2_bare/build_messages.sh "$sources/rcl_interfaces/composition_interfaces"

pip install -qq osrf-pycommon psutil argcomplete packaging PyYAML -c scripts/constraints.txt
packages=("$sources"/launch/{launch,launch_xml,launch_yaml} "$sources"/launch_ros/{launch_ros,ros2launch})
packages+=("$sources"/ros2cli/ros2{cli,pkg,run,node,param,service,topic,lifecycle,interface} "$sources"/rosidl_runtime_py)
pip install -qq --no-deps --no-build-isolation "${packages[@]}"

"$venv/bin/python" -c 'import launch_ros.actions, ros2launch.api'
echo "install_launch: installed from the branch $branch. To use it:"
echo "    source $venv/bin/activate"
echo "    export AMENT_PREFIX_PATH=\$VIRTUAL_ENV"
echo "    ros2 launch vizloc_ros vizloc.launch.py --show-args"
