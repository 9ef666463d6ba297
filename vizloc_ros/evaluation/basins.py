"""Basins of the alignment: the cost of each level as the pose moves away from the true one (PixLoc, section 4).

An alignment goes downhill on one level after the other. A level can be entered from as far as its cost falls toward the
true pose, and ends where that is lowest. Both are measured along lines through the true pose, so a basin here is a
slice: other coordinates of the pose are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.optimizer.levels import Level
from vizloc_ros.pixloc.optimizer.linearization import Linearization, linearize
from vizloc_ros.pixloc.pose_refiner import MapAligner

_WIDE_STEPS, _NEAR_STEPS = 160, 80  # even numbers: the true pose is one of the offsets
_MAP_STEPS = 40
_MAP_REACH = 1.5  # m
_RIPPLE = 0.01  # of a line's range; cells of a level make ripples that a Levenberg-Marquardt step does not see


@dataclass(frozen=True)
class Direction:
    """Direction in which the camera is moved from the true pose.

    Attributes:
        name: name for figures and reports.
        unit: unit of the offsets.
        twist: motion of the upright camera by one unit, [rho, phi] in its optical frame [m, rad].
        reach: largest offset; those of the command's largest priors, 4 m and 8 degrees.
        near: offset up to which the steps are small.
    """

    name: str
    unit: str
    twist: tuple[float, float, float, float, float, float]
    reach: float
    near: float

    @property
    def offsets(self) -> Float64:
        """Offsets (N,) in ascending order, with 0 for the true pose."""
        wide = np.linspace(-self.reach, self.reach, _WIDE_STEPS + 1)
        near = np.linspace(-self.near, self.near, _NEAR_STEPS + 1)
        return np.concatenate([wide[wide < -self.near], near, wide[wide > self.near]])

    def moved(self, cam_from_map: Rigid3d, offset: float) -> Rigid3d:
        """Return the pose cam_from_map of a camera that was moved by an offset."""
        return se3_exp(-offset * np.array(self.twist)) * cam_from_map


LATERAL = Direction("lateral", "m", (1, 0, 0, 0, 0, 0), 4.0, 0.1)
FORWARD = Direction("forward", "m", (0, 0, 1, 0, 0, 0), 4.0, 0.1)
YAW = Direction("yaw", "deg", (0, 0, 0, 0, np.pi / 180, 0), 8.0, 0.2)
DIRECTIONS = (LATERAL, FORWARD, YAW)


@dataclass(frozen=True)
class CostLine:
    """Cost of one level along one direction.

    Attributes:
        offsets: (N,) offsets from the true pose, ascending.
        costs: (N,) robust costs, divided by the sum of the confidences; NaN with too few landmarks in the image.
    """

    offsets: Float64
    costs: Float64

    @property
    def lowest(self) -> float:
        """Offset of the lowest cost."""
        return float(self.offsets[np.nanargmin(self.costs)])

    @property
    def heights(self) -> Float64:
        """Costs (N,) from 0, the lowest, to 1, the highest."""
        low, high = np.nanmin(self.costs), np.nanmax(self.costs)
        heights: Float64 = (self.costs - low) / max(high - low, 1e-12)
        return heights

    @property
    def basin(self) -> tuple[float, float]:
        """Offsets between which the cost falls toward the lowest one, but for ripples of a hundredth of its range."""
        heights = self.heights
        start = int(np.nanargmin(heights))
        ends = [start + step * _climb(heights[start::step]) for step in (-1, 1)]
        return float(self.offsets[ends[0]]), float(self.offsets[ends[1]])

    @property
    def half(self) -> tuple[float, float]:
        """Offsets around the lowest cost between which the cost is in the lower half of its range."""
        heights = self.heights
        start = int(np.nanargmin(heights))
        left, right = (_half_way(self.offsets[start::step], heights[start::step]) for step in (-1, 1))
        return left, right


def _climb(heights: Float64) -> int:
    """Return the number of steps from the first height to the highest one, before they fall by more than a ripple."""
    highest = np.fmax.accumulate(heights)
    ended = np.append(~(heights >= highest - _RIPPLE), True)  # NaN ends it, too
    return int(np.argmax(heights[: max(int(np.argmax(ended)), 1)]))


def _half_way(offsets: Float64, heights: Float64) -> float:
    """Return the offset at which the height comes to a half, from the first one on; the last one without."""
    above = np.append(~(heights < 0.5), True)  # NaN ends it, too
    i = int(np.argmax(above))
    if i == len(offsets) or np.isnan(heights[i]):
        return float(offsets[i - 1])
    return float(np.interp(0.5, heights[i - 1 : i + 1], offsets[i - 1 : i + 1]))


@dataclass(frozen=True)
class CostMap:
    """Cost of one level by the lateral and the forward offset.

    Attributes:
        offsets: (N,) offsets in both directions [m].
        costs: (N, N) costs as of ``CostLine``, a row for each forward offset.
    """

    offsets: Float64
    costs: Float64


@dataclass(frozen=True)
class Basins:
    """Costs of the levels of one image around its true pose.

    Attributes:
        name: name of the image.
        strides: pixels of the image for one of the level, by level, coarse to fine.
        lines: {direction: {level: line}}, levels coarse to fine.
        maps: {level: map} of the first level and of the last one.
    """

    name: str
    strides: Mapping[str, float]
    lines: Mapping[str, Mapping[str, CostLine]]
    maps: Mapping[str, CostMap]


def measure_basins(
    queries: Sequence[Record], aligner: MapAligner, count: int, progress: Progress = silent
) -> list[Basins]:
    """Measure the basins of some queries, evenly spread over all.

    Args:
        queries: images with ground-truth poses in the map.
        aligner: aligner of the map.
        count: number of queries to measure; all, if there are fewer. Those without keyframes around are left out.
        progress: progress display.

    Raises:
        DatasetError: a query has no pose, or none of them has keyframes around.
    """
    chosen = [queries[i] for i in sorted(set(evenly(len(queries), count).tolist()))]
    found = parallel_map(lambda query: _measured(query, aligner), chosen, "measuring basins", progress)
    measured = [each for each in found if each is not None]
    if not measured:
        raise DatasetError(f"{chosen[0].name}: no keyframe is near this image, nor near another one: is it the map's?")
    return measured


def _measured(query: Record, aligner: MapAligner) -> Basins | None:
    if query.world_from_cam is None:
        raise DatasetError(f"{query.name}: has no pose to measure from")
    upright = aligner.view(query.read_image(), query.camera, query.world_from_cam)
    if upright is None:
        return None
    levels, truth = aligner.levels(upright), upright.initial
    lines = {
        direction.name: {
            name: CostLine(offsets, _costs(level, [direction.moved(truth, offset) for offset in offsets]))
            for name, level in levels.items()
        }
        for direction in DIRECTIONS
        for offsets in [direction.offsets]
    }
    around = np.linspace(-_MAP_REACH, _MAP_REACH, _MAP_STEPS + 1)
    grid = [LATERAL.moved(FORWARD.moved(truth, ahead), aside) for ahead in around for aside in around]
    names = list(levels)
    maps = {
        name: CostMap(around, _costs(levels[name], grid).reshape(len(around), -1)) for name in (names[0], names[-1])
    }
    strides = {name: 1 / float(level.camera.scale[0]) for name, level in levels.items()}
    return Basins(query.name, strides, lines, maps)


def _costs(level: Level, poses: Sequence[Rigid3d]) -> Float64:
    """Return the (N,) costs of poses cam_from_map as the optimizer sees them; NaN with too few landmarks."""
    only = np.zeros(1, np.int64)  # the level has slots for one pose
    costs = np.full(len(poses), np.nan)
    for i, matrix in enumerate(pose.matrix() for pose in poses):
        linearization = Linearization.of(linearize(level, only, matrix[None, :, :3], matrix[None, :, 3]))
        if linearization.num_points >= level.min_landmarks:
            costs[i] = linearization.cost(level.loss)
    return costs


def basin_report(measured: Sequence[Basins]) -> dict[str, dict[str, dict[str, float]]]:
    """Return medians over images: {level: {direction: {``basin``, ``half``, ``off``}}}, levels coarse to fine.

    ``basin`` and ``half`` are the widths of these properties of ``CostLine``, and ``off`` is how far the lowest cost is
    from the true pose, all in the unit of the direction.
    """
    return {
        level: {
            direction.name: _medians([each.lines[direction.name][level] for each in measured])
            for direction in DIRECTIONS
        }
        for level in measured[0].strides
    }


def _medians(lines: Sequence[CostLine]) -> dict[str, float]:
    return {
        "basin": float(np.median([np.ptp(line.basin) for line in lines])),
        "half": float(np.median([np.ptp(line.half) for line in lines])),
        "off": float(np.median([abs(line.lowest) for line in lines])),
    }
