"""A vehicle that stands: camera noise moves its pose by at most two millimeters over ten seconds."""

import numpy as np
import pytest
from pixloc_helpers import truth, with_image
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.standstill import Standstill
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

NOISE = 3.0  # gray levels, of a camera in daylight
SETTLING, IMAGES, PERIOD_NS = 10, 100, 100_000_000  # a track begins at a pose that is less accurate than its own


@pytest.mark.e2e
@pytest.mark.parametrize("number", [2, 6, 12])
def test_it_does_not_jitter(tracker: Tracker, drive: list[tuple[Record, Frame]], number: int) -> None:
    record, frame = drive[number]
    rng = np.random.default_rng(0)
    tracker.offer_prior(truth(record), frame.stamp_ns)
    positions = []
    for index in range(SETTLING + IMAGES):
        image = frame.images[0].image
        noisy = np.clip(image + rng.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8)
        tracked = tracker.track(with_image(frame, noisy, frame.stamp_ns + index * PERIOD_NS))
        assert tracked.map_from_cam is not None, tracked.reason
        positions.append(tracked.map_from_cam.translation)
    stds = np.std(positions[SETTLING:], axis=0)
    assert np.linalg.norm(stds) <= 0.002


def moved(meters: float, degrees: float = 0.0) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0, np.radians(degrees), 0])), np.array([0, 0, meters]))


@pytest.mark.parametrize("step", [moved(0.021), moved(0, 0.21), moved(0.5, 3)])
def test_a_camera_that_drives_is_not_held_back(step: Rigid3d) -> None:
    standstill, pose = Standstill(), Rigid3d()
    for _ in range(20):
        assert standstill.smooth(pose) == pose
        pose = pose * step


@pytest.mark.parametrize("speed", [0.001, 0.005, 0.019])
def test_a_camera_that_creeps_is_late_by_less_than_two_centimeters(speed: float) -> None:
    standstill = Standstill()
    late = [pose_error(standstill.smooth(moved(speed * k)), moved(speed * k))[0] for k in range(100)]
    assert max(late) < 0.02


def test_after_a_reset_nothing_is_averaged() -> None:
    standstill = Standstill()
    standstill.smooth(moved(0.0))
    standstill.reset()
    assert standstill.smooth(moved(0.01)) == moved(0.01)
