"""A vehicle that stands: camera noise moves its pose by at most two millimeters over ten seconds."""

import numpy as np
import pytest
from pixloc_helpers import truth

from vizloc_ros.datasets.record import Record
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

pytestmark = pytest.mark.e2e
NOISE = 3.0  # gray levels, of a camera in daylight
IMAGES, PERIOD_NS = 100, 100_000_000


def test_it_does_not_jitter(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    record, frame = drive[6]
    rng = np.random.default_rng(0)
    tracker.offer_prior(truth(record), frame.stamp_ns)
    positions = []
    for index in range(IMAGES):
        noisy = np.clip(frame.image + rng.normal(0, NOISE, frame.image.shape), 0, 255).astype(np.uint8)
        stamp_ns = frame.stamp_ns + index * PERIOD_NS
        tracked = tracker.track(Frame(noisy, frame.camera, stamp_ns, frame.correction))
        assert tracked.map_from_cam is not None, tracked.reason
        positions.append(tracked.map_from_cam.translation)
    stds = np.std(positions[1:], axis=0)
    assert np.linalg.norm(stds) <= 0.002
