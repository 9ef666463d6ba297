"""A track of images that are older than their stamps, with odometry that is live: no pose of it is published."""

from dataclasses import replace

from pixloc_helpers import is_right, truth

from vizloc_ros.datasets.record import Record
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerState

LATE_FROM, LATE_TO, LAG = 4, 10, 2  # images


def test_a_late_track_is_followed_but_not_published(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """A localizer without odometry gives late priors; then the stream catches up."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    results, published = [], []
    for index, (record, frame) in enumerate(drive):
        shown, shown_frame = drive[index - LAG if LATE_FROM <= index < LATE_TO else index]
        given = replace(frame, images=shown_frame.images, odom_from_cam=truth(record))
        if index >= LATE_FROM and not tracker.follows:
            tracker.offer_prior(truth(shown), frame.stamp_ns)
        tracked = tracker.track(given)
        results.append(tracked)
        published.append(tracked.map_from_cam is not None)
        assert not published[-1] or is_right(tracked, record), index
    late = results[LATE_FROM:LATE_TO]
    assert sum(tracked.reason.startswith("images look") for tracked in late) >= 2, [t.reason for t in late]
    assert all(tracked.state is not TrackerState.TRACKING for tracked in late if "images look" in tracked.reason)
    assert any(published[LATE_TO:]), [(t.state.value, t.reason) for t in results]
    assert tracker.odometry.problem == ""
