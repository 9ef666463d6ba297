"""All nodes in one process; topics and parameters are those of the separate nodes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vizloc_ros.nodes.hfnet import HfnetNode
from vizloc_ros.nodes.localizer import LocalizerNode
from vizloc_ros.nodes.pixloc_tracker import PixLocTrackerNode
from vizloc_ros.nodes.visual_map_server import VisualMapServerNode
from vizloc_ros.ros.node_options import WITHOUT_TRACKER
from vizloc_ros.ros.runner import run_nodes


def main(args: Sequence[str] | None = None) -> None:
    """Run hfnet, visual_map_server, localizer and, unless --without-tracker is given, pixloc_tracker in one process."""
    arguments = list(sys.argv if args is None else args)
    tracking = [] if WITHOUT_TRACKER in arguments else [PixLocTrackerNode]
    sys.exit(run_nodes([HfnetNode, VisualMapServerNode, LocalizerNode, *tracking], args))


if __name__ == "__main__":
    main()
