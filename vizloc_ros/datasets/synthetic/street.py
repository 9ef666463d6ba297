"""Synthetic worlds as a dataset: one lap for the map, and a second one in other light for queries."""

from dataclasses import dataclass
from functools import lru_cache, partial
from threading import Lock

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.datasets.record import Mounting, Record
from vizloc_ros.datasets.synthetic.corridor import MAX_OFFSET, build_corridor
from vizloc_ros.datasets.synthetic.exposure import EVENING, MORNING, Conditions, expose
from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.datasets.synthetic.quads import Scene
from vizloc_ros.datasets.synthetic.raster import render
from vizloc_ros.datasets.synthetic.room import build_room
from vizloc_ros.datasets.synthetic.route import BASE_FROM_CAMERA, FRONT, Drive, Wobble
from vizloc_ros.datasets.synthetic.spec import StreetSpec, parse_spec
from vizloc_ros.datasets.synthetic.walk import HandheldWalk
from vizloc_ros.datasets.synthetic.world import SKY_DISTANCE, build_world
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.timing import NANOSECONDS

FIELD_OF_VIEW = np.radians(85)  # horizontal
ROOM_FIELD_OF_VIEW = np.radians(62)
KEYFRAME_DISTANCE = 0.3  # m, between the images that are kept of the first walk through the room
EPOCH_NS = 1_700_000_000_000_000_000
_BUILDING = Lock()  # threads that render the first images wait until one has built the world
_DRIVE, _EXPOSURE, _NOISE = range(10, 13)  # streams of random numbers; the world has others


@dataclass(frozen=True)
class _Lap:
    """Differences between the two laps, besides the parked cars.

    Attributes:
        number: index of the lap, 0 or 1.
        conditions: light and camera settings.
        max_offset: maximum lateral offset from the middle of the street [m].
        max_rotation: maximum rotation relative to the smooth motion [rad].
        exposure_swing: maximum relative change of the exposure.
        start_ns: time of the first frame [ns].
        start_step: position of the first frame along the route, in steps between frames.
        is_covered: whether the cover of the specification is on the lens.
    """

    number: int
    conditions: Conditions
    max_offset: float
    max_rotation: float
    exposure_swing: float
    start_ns: int
    start_step: float
    is_covered: bool = False


_LAPS = {
    "map": _Lap(0, MORNING, 0.1, np.radians(0.4), 0.0, EPOCH_NS, 0.0),
    "query": _Lap(1, EVENING, 1.4, np.radians(1.0), 0.12, EPOCH_NS + 9 * 3_600_000_000_000, 0.37, is_covered=True),
}


@dataclass(frozen=True)
class SyntheticStreet:
    """Two laps around a block, rendered on demand, with exact poses and depth.

    The world is x east, y north, z up [m]. An image depends only on the specification and its record. Several cameras
    take their images at the same times; those of the front camera are those of the only one.

    Attributes:
        name: ``synthetic:...`` that the dataset was opened with.
        spec: parameters of the street.
    """

    name: str
    spec: StreetSpec

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: ``map`` is the first lap, ``query`` the second."""
        return tuple(_LAPS)

    @property
    def camera(self) -> PinholeCamera:
        """Camera of all images."""
        width, height = self.spec.width, self.spec.height
        angle = ROOM_FIELD_OF_VIEW if self.spec.world == "room" else FIELD_OF_VIEW
        focal = width / 2 / float(np.tan(angle / 2))
        return PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)

    def records(self, split: str) -> list[Record]:
        """Return the frames of a lap. Raises ``DatasetError`` that names the splits, for an unknown one."""
        lap, camera, step = self._lap(split), self.camera, self.spec.step
        return [
            Record(
                name=f"{split}/{name}/{index:06d}" if name else f"{split}/{index:06d}",
                timestamp_ns=lap.start_ns + round(index / self.spec.rate * NANOSECONDS),
                camera=camera,
                split=split,
                world_from_cam=self._world_from_cam(split, name, (index + lap.start_step) * step),
                read_image=partial(self._photo, split, name, index),
                mounting=Mounting(name, BASE_FROM_CAMERA.get(name)),
            )
            for index in range(0, int(np.ceil(self.spec.length / step)), self._stride(split))
            for name in self.spec.cameras or ("",)
        ]

    def _stride(self, split: str) -> int:
        """Frames from one image to the next that is kept."""
        is_sparse = self.spec.world == "room" and split == "map"
        return max(1, round(KEYFRAME_DISTANCE / self.spec.step)) if is_sparse else 1

    def _world_from_cam(self, split: str, name: str, distance: float) -> Rigid3d:
        """Pose of a camera when the front one is at a distance along the route [m]."""
        world_from_front = self._drive(split).world_from_cam(distance)
        if name in ("", FRONT):
            return world_from_front
        return world_from_front * BASE_FROM_CAMERA[FRONT].inverse() * BASE_FROM_CAMERA[name]

    def depth(self, record: Record) -> Float32:
        """(H, W) depth along z of a record's pixels [m], with a relative error of about 1e-5; infinite in the sky."""
        self._lap(record.split)
        if record.world_from_cam is None:
            raise DatasetError(f"{self.name}: {record.name} has no pose, so it has no depth")
        _, inverse_depth = self._render(record.split, record.camera, record.world_from_cam)
        sky = inverse_depth < 10 / SKY_DISTANCE
        return np.where(sky, np.float32(np.inf), 1 / np.maximum(inverse_depth, np.float32(1e-12)))

    def _photo(self, split: str, name: str, index: int) -> UInt8:
        lap, seed = self._lap(split), self.spec.seed
        distance = (index + lap.start_step) * self.spec.step
        drive = self._drive(split)
        radiance, _ = self._render(split, self.camera, self._world_from_cam(split, name, distance))
        swing = _exposure_swing(seed, split)
        turn = drive.yaw_rate(distance) * self.spec.speed
        streak = abs(turn) * lap.conditions.shutter * self.camera.fx
        others = [] if name in ("", FRONT) else [list(BASE_FROM_CAMERA).index(name)]
        rng = np.random.default_rng([seed, _NOISE, lap.number, index, *others])
        image = expose(radiance, lap.conditions, 1 + swing(distance), streak, rng)
        cover = self.spec.covered if lap.is_covered and self.spec.covered_camera in ("", name) else ""
        return covered(image, cover, seed, index / self.spec.rate) if cover else image

    def _drive(self, split: str) -> Drive | HandheldWalk:
        if self.spec.world == "room":
            return _walk(self.spec.seed, split)
        farthest = MAX_OFFSET if self.spec.world == "corridor" else np.inf
        return _drive(self.spec.seed, split, farthest)

    def _render(self, split: str, camera: PinholeCamera, world_from_cam: Rigid3d) -> tuple[UInt8, Float32]:
        with _BUILDING:
            scene, gains = _lit_scene(self.spec.seed, self.spec.world, self.spec.aliased, split)
        return render(scene, gains, camera, world_from_cam)

    def _lap(self, split: str) -> _Lap:
        if split not in _LAPS:
            raise DatasetError(f"{self.name}: there is no split {split!r}; the splits are {', '.join(_LAPS)}")
        return _LAPS[split]


def open_synthetic(spec: str) -> SyntheticStreet:
    """Open the dataset ``synthetic:spec``; the world is built for the first image.

    Args:
        spec: ``key=value`` pairs joined by ``&`` or ``,``, or none; the keys are the attributes of ``StreetSpec``.

    Raises:
        DatasetError: a key is unknown or its value not allowed; the text names the key.
    """
    return SyntheticStreet(f"synthetic:{spec}", parse_spec(spec))


@lru_cache(maxsize=4)
def _drive(seed: int, split: str, farthest: float) -> Drive:
    lap = _LAPS[split]
    return Drive(np.random.default_rng([seed, _DRIVE, lap.number]), min(lap.max_offset, farthest), lap.max_rotation)


@lru_cache(maxsize=4)
def _walk(seed: int, split: str) -> HandheldWalk:
    number = _LAPS[split].number
    return HandheldWalk(np.random.default_rng([seed, _DRIVE, number]), side=1.0 if number == 0 else -1.0)


@lru_cache(maxsize=4)
def _exposure_swing(seed: int, split: str) -> Wobble:
    lap = _LAPS[split]
    return Wobble(np.random.default_rng([seed, _EXPOSURE, lap.number]), lap.exposure_swing, (3, 8, 15))


@lru_cache(maxsize=4)
def _lit_scene(seed: int, world: str, aliased: str, split: str) -> tuple[Scene, Float64]:
    if world == "corridor":
        scene = build_corridor(seed)
    else:
        scene = (build_room(seed) if world == "room" else build_world(seed, aliased))[_LAPS[split].number]
    return scene, _LAPS[split].conditions.gains(scene.normals)
