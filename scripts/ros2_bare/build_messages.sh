#!/usr/bin/env bash
# Generates tf2_msgs, which has no wheel, and installs it into the active virtual environment. Needs cmake and g++.
set -euo pipefail
: "${VIRTUAL_ENV:?activate a virtual environment first}"
source_dir=$(cd "$(dirname "$0")" && pwd)/tf2_msgs

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
python -c 'from tf2_msgs.msg import TFMessage'
