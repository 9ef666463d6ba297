"""Records of small images of noise, 0.1 s apart: each image is known by its pixels."""

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.camera import PinholeCamera

CAMERA = PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5)
START_NS = 1_700_000_000_123_456_789
PERIOD_NS = 100_000_000


def make_records(count: int = 5, camera: PinholeCamera = CAMERA, channels: int = 1) -> list[Record]:
    shape = (camera.height, camera.width, 3)[: 2 if channels == 1 else 3]

    def record(index: int) -> Record:
        image = np.random.default_rng(index).integers(0, 255, shape, np.uint8)
        pose = Rigid3d(Rotation3d(np.array([0, 0.1 * index, 0])), np.array([index, 2.0, 3.0]))
        return Record(f"{index}.png", START_NS + index * PERIOD_NS, camera, "query", pose, lambda: image)

    return [record(index) for index in range(count)]
