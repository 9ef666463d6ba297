"""A drive along the mapped street, and a tracker for it."""

import pytest
from pixloc_helpers import frame_of, small_extractor

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerOptions


@pytest.fixture(scope="module")
def extractor() -> PyramidExtractor:
    return small_extractor()


@pytest.fixture(scope="module")
def drive(street: SyntheticStreet, tracked_map: VisualMap) -> list[tuple[Record, Frame]]:
    """Frames of the second lap: other light, other parked cars, up to 1.4 m to the side."""
    return [(record, frame_of(record, tracked_map)) for record in street.records("query")[1:18]]


@pytest.fixture
def tracker(tracked_map: VisualMap, extractor: PyramidExtractor) -> Tracker:
    """A tracker that trusts the first prior."""
    return Tracker(extractor, submaps_of(SubmapSelector(tracked_map)), TrackerOptions(confirmations=1))


@pytest.fixture
def careful(tracked_map: VisualMap, extractor: PyramidExtractor) -> Tracker:
    """A tracker that waits for a second localization."""
    return Tracker(extractor, submaps_of(SubmapSelector(tracked_map)))
