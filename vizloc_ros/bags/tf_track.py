"""Trajectory from the transforms on ``/tf``: the chain of frames from the world to the camera, interpolated."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.bag_transforms import BagTransforms
from vizloc_ros.bags.reader import read_messages
from vizloc_ros.errors import BagError, RosError
from vizloc_ros.geometry.trajectory import Trajectory
from vizloc_ros.geometry.transform_tree import frame_name, pose_of_fields
from vizloc_ros.wording import name_text

WORLDS = ("map", "odom")  # REP 105, preferred in this order
_ANY_GAP = 2**63


class MovingTransforms:
    """Transforms of a topic that change, by their child frame, and the static ones of the bag."""

    def __init__(self, bag: Path, topic: str, static: BagTransforms) -> None:
        """Read a topic. Raises ``BagError`` if the bag cannot be read."""
        self._bag, self._topic, self._static = bag, topic, static.all
        poses: dict[tuple[str, str], dict[int, Rigid3d]] = defaultdict(dict)
        for _, message in read_messages(bag, topic):
            for transform in message.transforms:
                key = frame_name(transform.child_frame_id), frame_name(transform.header.frame_id)
                try:
                    pose = pose_of_fields(transform.transform.translation, transform.transform.rotation)
                except RosError:
                    continue
                poses[key][stamp_ns_of(transform.header)] = pose
        counts = Counter({key: len(found) for key, found in poses.items()})
        self._edges: dict[str, tuple[str, Trajectory]] = {}
        for child, parent in reversed([key for key, _ in counts.most_common()]):  # the most frequent parent is the last
            if self._static.parent(child) is None:
                self._edges[child] = parent, Trajectory.of(poses[child, parent], _ANY_GAP)

    @property
    def pairs(self) -> list[str]:
        """Moving frames, each as ``parent -> child``, the most frequent first."""
        counted = sorted(self._edges.items(), key=lambda edge: -len(edge[1][1].stamps_ns))
        return [f"{parent} -> {child}" for child, (parent, _) in counted]

    def trajectory(self, frame: str, world: str, max_gap_ns: int) -> tuple[str, Trajectory] | None:
        """World's frame and poses world_from_frame; None if the frame does not move in a world.

        The poses are at the times of the transform that is sent most often. Slower ones, such as a correction of the
        odometry, are interpolated over any time, and the last one holds.

        Args:
            frame: frame whose poses are asked for.
            world: frame of the poses; empty: map, odom, or the topmost frame.
            max_gap_ns: time up to which poses are interpolated [ns].

        Raises:
            BagError: the frame is not connected with this world.
        """
        chain = self._chain_above(frame_name(frame))
        parents = [parent for parent, _ in chain]
        if world and frame_name(world) not in parents:
            raise BagError(
                f"{self._bag}: {self._topic} does not connect {name_text(frame)} with the --map-frame {world}; the "
                f"frames above it are {', '.join(parents) or 'none'}"
            )
        top = frame_name(world) or next((name for name in WORLDS if name in parents), parents[-1] if parents else "")
        links = [link for _, link in chain[: parents.index(top) + 1]] if top else []
        moving = [link for link in links if isinstance(link, Trajectory)]
        if not moving:
            return None
        fastest = max(moving, key=lambda link: len(link.stamps_ns))
        poses = {stamp: pose for stamp in fastest.stamps_ns if (pose := _product(links, stamp)) is not None}
        return top, Trajectory.of(poses, max_gap_ns)

    def _chain_above(self, frame: str) -> list[tuple[str, Trajectory | Rigid3d]]:
        """Parents of a frame up to the topmost, each with its poses parent_from_child."""
        chain: list[tuple[str, Trajectory | Rigid3d]] = []
        seen = {frame}
        while (link := self._edges.get(frame) or self._static.parent(frame)) is not None and link[0] not in seen:
            chain.append(link)
            frame = link[0]
            seen.add(frame)
        return chain


def _product(links: Sequence[Trajectory | Rigid3d], stamp_ns: int) -> Rigid3d | None:
    """Pose of the lowest frame in the topmost at a time; None before one of the transforms."""
    product = Rigid3d()
    for link in links:
        pose = _held(link, stamp_ns) if isinstance(link, Trajectory) else link
        if pose is None:
            return None
        product = pose * product
    return product


def _held(link: Trajectory, stamp_ns: int) -> Rigid3d | None:
    return link.poses[-1] if stamp_ns >= link.stamps_ns[-1] else link.at(stamp_ns)
