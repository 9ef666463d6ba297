#!/usr/bin/env bash
# Usage: scripts/ros2_bare/build_messages.sh [FOLDER]
# Generates a message package that has no wheel, by default tf2_msgs, and installs it into the active virtual
# environment. Needs cmake and g++.
set -euo pipefail
: "${VIRTUAL_ENV:?activate a virtual environment first}"
source_dir=$(cd "${1:-$(dirname "$0")/tf2_msgs}" && pwd)

# The generator wheels carry the paths of the machine that built them; this environment's replace them.
tag=$(python -c 'import sys; v = "cp%d%d" % sys.version_info[:2]; print(f"{v}-{v}")')
include=$(python -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
site=$(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
{ grep -rlI "/opt/python/$tag" "$VIRTUAL_ENV/share" || true; } | xargs -r sed -i -E \
    "s#/opt/python/$tag/lib/python[0-9.]+/site-packages#$site#g; s#/opt/python/$tag/include/python[0-9.]+#$include#g"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cmake -S "$source_dir" -B "$build" -DCMAKE_INSTALL_PREFIX="$VIRTUAL_ENV" -DCMAKE_PREFIX_PATH="$VIRTUAL_ENV" \
    -DBUILD_TESTING=OFF >"$build/log" 2>&1 &&
    cmake --build "$build" -j2 --target install >>"$build/log" 2>&1 || { cat "$build/log" >&2; exit 1; }
for kind in msg srv; do
    [[ ! -d $source_dir/$kind ]] || python -c "import $(basename "$source_dir").$kind"
done
