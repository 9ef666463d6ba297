#!/usr/bin/env bash
# Usage: scripts/setup.sh VENV PYTHON ROS [train|view]
# Makes the environment VENV: what the package needs, ROS 2 from PyPI wheels unless a ROS 2 installation is sourced, and
# the package. ROS is the release of the wheels, kilted or jazzy; if it is empty, kilted or what is sourced.
# With "train", also what training and export of networks need (PyTorch; large); with "view", rerun's viewer.
# Each step leaves the fingerprint of its inputs in .venv/.setup and is skipped until they change.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/${1:?VENV, such as .venv}
python=${2:?PYTHON, such as python3}
release=${3:-}
extra=${4:-}

fail() { echo "setup: $*" >&2; exit 1; }
fingerprint() { sha256sum "$@" | sha256sum; }

once() {  # once STEP FINGERPRINT COMMAND...
    local stamp=$venv/.setup/$1
    [[ -f $stamp && $(<"$stamp") == "$2" ]] && return
    echo "setup: $1"
    "${@:3}"
    echo "$2" >"$stamp"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Set by the ROS wheels for their own interpreter and inherited from there; another environment finds its own libraries.
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE

command -v "$python" >/dev/null || fail "$python is not there. Name a Python 3.10 to 3.14: make setup PYTHON=..."
version=$("$python" -c 'import platform; print(platform.python_version())')
[[ $version =~ ^3\.1[0-4]\. ]] || fail "$python is Python $version, not 3.10 to 3.14. Name another: make setup PYTHON=..."

has_ros_installation() {
    [[ -n ${ROS_DISTRO:-}${AMENT_PREFIX_PATH:-} ]] && "$python" - <<'PY' 2>/dev/null
from importlib.util import find_spec
raise SystemExit(find_spec("rclpy") is None or find_spec("ros_wheels_bootstrapper") is not None)
PY
}
if [[ -z $release ]] && has_ros_installation; then system_ros=true; else system_ros=false; fi
release=${release:-kilted}
[[ -f scripts/requirements-$release.txt ]] ||
    fail "there are no wheels of ROS 2 '$release'. Name another: make setup ROS=jazzy or ROS=kilted. Or source an installation"

make_environment() {
    local config=$venv/pyvenv.cfg flags=()
    grep -qsx "version = $version" "$config" && grep -qsx "include-system-site-packages = $system_ros" "$config" && return
    echo "setup: environment of Python $version"
    $system_ros && flags=(--system-site-packages)
    "$python" -m venv --clear ${flags[@]+"${flags[@]}"} "$venv" || fail "no environment: on Debian and Ubuntu, apt-get install python3-venv"
}

install_pinned() {
    pip install -qq -r scripts/requirements.txt -r "scripts/requirements-$release.txt" \
        -c scripts/constraints.txt -c "scripts/constraints-$release.txt"
}

# ROS's compiled messages work with the major version of numpy they were built for.
install_what_ros_lacks() {
    local numpy_major
    numpy_major=$("$venv/bin/python" -c 'import numpy; print(numpy.__version__.split(".")[0])')
    pip install -q -c <(echo "numpy<$((numpy_major + 1))") "setuptools<80" wheel ".[dev]"
}

ensure_build_tools() {
    command -v cmake >/dev/null || pip install -qq cmake -c scripts/constraints.txt
    command -v c++ >/dev/null && return
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
        fail "a C++ compiler is needed to generate tf2_msgs: sudo apt-get install g++ python3-dev"
    { apt-get update && apt-get install -y --no-install-recommends g++ python3-dev; } >/dev/null
}

generate_tf2_msgs() {
    ensure_build_tools
    scripts/ros2_bare/build_messages.sh
}

sources() {
    find vizloc_ros launch config resource -type f -not -name '*.pyc' | sort
    echo setup.py setup.cfg package.xml pyproject.toml
}

install_training() {
    pip install -qq -r scripts/requirements-train.txt -c scripts/constraints.txt
}

install_viewer() {
    pip install -qq -r scripts/requirements-view.txt -c scripts/constraints.txt
}

# Not editable: share/ and the ament index are part of the package. ROS looks for executables in lib/vizloc_ros.
install_package() {
    rm -rf build/lib build/bdist.*
    pip install -qq --no-deps --no-build-isolation .
    rm -rf build/lib build/bdist.* vizloc_ros.egg-info
    rmdir build 2>/dev/null || true
    mkdir -p "$venv/lib/vizloc_ros"
    sed -n 's/^\(\w*\) = vizloc_ros.*/\1/p' "$venv"/lib/python*/site-packages/vizloc_ros-*.dist-info/entry_points.txt |
        while read -r name; do ln -sf "../../bin/$name" "$venv/lib/vizloc_ros/$name"; done
}

make_environment
mkdir -p "$venv/.setup"
export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
if $system_ros; then
    once requirements "$(fingerprint setup.py)" install_what_ros_lacks
else
    wheels=$(fingerprint scripts/{requirements,constraints}{,"-$release"}.txt)
    once requirements "$wheels" install_pinned
    once tf2_msgs "$wheels $(fingerprint $(find scripts/ros2_bare -type f | sort))" generate_tf2_msgs
fi
if [[ $extra == train ]]; then
    once train "$(fingerprint scripts/requirements-train.txt scripts/constraints.txt)" install_training
fi
if [[ $extra == view ]]; then
    once view "$(fingerprint scripts/requirements-view.txt scripts/constraints.txt)" install_viewer
fi
once package "$(fingerprint $(sources))" install_package
