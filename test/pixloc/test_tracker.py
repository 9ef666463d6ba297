"""The tracker on the synthetic street: it tracks, is lost, and starts again from priors."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from pixloc_helpers import is_right, truth, with_image
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerOptions, TrackerState
from vizloc_ros.pixloc.verification import VerificationOptions

pytestmark = pytest.mark.e2e

AWAY = Rigid3d(Rotation3d(), np.array([0.3, 0.0, 0.6]))


def unlike(frame: Frame, seed: int) -> Frame:
    """Frame of the same time with a random image, which matches nothing in the map."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (12, 20), np.uint8)
    rows, columns = frame.images[0].image.shape
    return with_image(frame, np.kron(coarse, np.ones((21, 20), np.uint8))[:rows, :columns])


def follow(tracker: Tracker, frames: Sequence[tuple[Record, Frame]]) -> list[bool]:
    return [is_right(tracker.track(frame), record) for record, frame in frames]


def test_it_tracks_from_a_prior(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    record, frame = drive[0]
    assert tracker.offer_prior(truth(record) * AWAY, frame.stamp_ns)
    assert all(follow(tracker, drive))
    assert tracker.state is TrackerState.TRACKING


def test_coarse_levels_are_for_inaccurate_predictions(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """They are used while the speed is unknown, and not for predictions of a steady drive."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns, 0.02, 0.002)
    found = [tracker.track(frame) for _, frame in drive[:8]]
    coarsest = [each.alignment.iterations[-1] for each in found if each.alignment is not None]
    assert len(coarsest) == 8
    assert coarsest[1] > 0
    assert coarsest[4:] == [0, 0, 0, 0]


def test_without_a_prior_it_is_not_localized(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracked = tracker.track(drive[0][1])
    assert tracked.state is TrackerState.NOT_LOCALIZED
    assert tracked.map_from_cam is None
    assert tracked.reason == "no pose to start from yet"


def test_a_prior_of_an_earlier_image_is_carried_forward(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """Ten images, 5 m, have passed since the localizer's image."""
    for _, frame in drive[:10]:
        tracker.track(frame)
    tracker.offer_prior(truth(drive[0][0]) * AWAY, drive[0][1].stamp_ns)
    record, frame = drive[10]
    assert is_right(tracker.track(frame), record)


def test_a_wrong_prior_is_not_accepted(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    record, frame = drive[5]
    wrong = Rigid3d(Rotation3d(np.array([0.0, 0.5, 0.0])), np.array([4.0, 0.0, 6.0]))
    tracker.offer_prior(truth(record) * wrong, frame.stamp_ns)
    tracked = tracker.track(frame)
    assert tracked.map_from_cam is None or is_right(tracked, record)
    assert tracked.reason or is_right(tracked, record)


def test_it_is_lost_after_images_that_do_not_match(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:4])
    after = [tracker.track(unlike(frame, seed)) for seed, (_, frame) in enumerate(drive[4:12])]
    assert all(tracked.map_from_cam is None and tracked.reason for tracked in after)
    states = [tracked.state for tracked in after]
    lost = states.index(TrackerState.LOST)
    assert lost <= TrackerOptions().lost_after
    assert set(states[:lost]) <= {TrackerState.TRACKING}
    assert set(states[lost:]) == {TrackerState.LOST}
    record, frame = drive[12]
    assert tracker.track(frame).map_from_cam is None, "LOST until the next prior"
    tracker.offer_prior(truth(record), frame.stamp_ns)
    assert all(follow(tracker, drive[13:]))


def test_color_images_are_tracked_as_gray_ones(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    colored = [(record, with_image(frame, np.dstack([frame.images[0].image] * 3))) for record, frame in drive[:4]]
    assert all(follow(tracker, colored))


def test_an_image_again_with_other_noise_is_none_of_a_vehicle_that_stands(
    tracker: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    assert all(follow(tracker, drive[:6]))
    last, step = drive[5][1], drive[5][1].stamp_ns - drive[4][1].stamp_ns
    image = last.images[0].image
    noise = np.random.default_rng(0).normal(0, 1, image.shape)
    again = with_image(last, (image + noise).clip(0, 255).astype(np.uint8), last.stamp_ns + step)
    tracked = tracker.track(again)
    assert tracked.state is TrackerState.FROZEN
    assert tracked.map_from_cam is None
    assert "no vehicle stops at once" in tracked.reason
    assert tracker.track(drive[6][1]).state is TrackerState.TRACKING


def test_images_that_must_not_be_used_lose_the_track(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    assert tracker.withhold(0, "camera frozen").state is TrackerState.NOT_LOCALIZED
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    assert all(follow(tracker, drive[:3]))
    stamps = [drive[2][1].stamp_ns + k * 50_000_000 for k in range(1, 5)]
    states = [tracker.withhold(stamp, "camera frozen").state for stamp in stamps]
    assert states == 3 * [TrackerState.TRACKING] + [TrackerState.LOST]
    assert tracker.track(drive[3][1]).reason == "no pose to start from yet"


def test_one_bad_image_is_bridged(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:5])
    assert tracker.track(unlike(drive[5][1], 0)).map_from_cam is None
    doubtful = tracker.track(drive[6][1])
    assert doubtful.map_from_cam is None, "this image may be as bad, and fit the map in a part"
    assert "looks as nothing in the map" in doubtful.reason
    assert doubtful.state is TrackerState.TRACKING
    assert all(follow(tracker, drive[7:9]))


def test_images_in_the_wrong_order_are_withheld(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """Every second one is where the camera cannot be, and nothing tells which ones."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    assert all(follow(tracker, drive[:6]))
    swapped = [drive[i + 1 - 2 * (i % 2)][1].images[0].image for i in range(6, 16)]
    found = [tracker.track(with_image(frame, image)) for (_, frame), image in zip(drive[6:16], swapped, strict=True)]
    assert [tracked.map_from_cam for tracked in found[1:]] == [None] * 9
    reasons = [tracked.reason for tracked in found[1:]]
    assert any("standard deviations away from the prediction" in reason for reason in reasons)
    assert any("in the wrong order" in reason for reason in reasons)


def test_two_conflicting_priors_replace_the_track(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:6])
    far = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 3.0]))
    used = [tracker.offer_prior(truth(drive[k][0]) * far, drive[k][1].stamp_ns) for k in (3, 4)]
    assert used == [False, True]
    assert tracker.offer_prior(truth(drive[5][0]) * AWAY, drive[5][1].stamp_ns) is False, "0.7 m is no conflict"


def test_a_conflicting_prior_withholds_the_track_until_the_next_one(
    tracker: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:6])
    far = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 3.0]))
    tracker.offer_prior(truth(drive[4][0]) * far, drive[4][1].stamp_ns)
    withheld = tracker.track(drive[6][1])
    assert withheld.map_from_cam is None
    assert withheld.state is TrackerState.LOST
    assert withheld.reason == "a localization 3 m away contradicts the track: waits for another one"
    tracker.offer_prior(truth(drive[6][0]), drive[6][1].stamp_ns)
    assert all(follow(tracker, drive[7:9]))
    assert tracker.state is TrackerState.TRACKING


def test_conflicting_priors_that_do_not_agree_with_each_other_do_not_replace_the_track(
    tracker: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:6])
    offsets = [Rigid3d(Rotation3d(), np.array([0.0, 0.0, z])) for z in (3.0, -5.0)]
    offered = zip(drive[3:5], offsets, strict=True)
    assert not any(tracker.offer_prior(truth(r) * away, f.stamp_ns) for (r, f), away in offered)
    assert tracker.track(drive[6][1]).reason.startswith("a localization 5 m away contradicts the track")


def test_it_publishes_nothing_before_a_second_localization_agrees(
    careful: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    careful.offer_prior(truth(drive[0][0]) * AWAY, drive[0][1].stamp_ns)
    before = [careful.track(frame) for _, frame in drive[:3]]
    assert {tracked.reason for tracked in before} == {"1 of 2 localizations agree: waits for another one"}
    assert {tracked.state for tracked in before} == {TrackerState.NOT_LOCALIZED}
    assert careful.offer_prior(truth(drive[1][0]), drive[1][1].stamp_ns) is False
    assert all(follow(careful, drive[3:6]))


def test_a_second_localization_of_the_next_image_is_compared_after_it(
    careful: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    found = []
    for record, frame in drive[:3]:
        careful.offer_prior(truth(record), frame.stamp_ns)
        found.append(is_right(careful.track(frame), record))
    assert found == [False, True, True]


def test_localizations_that_contradict_each_other_confirm_nothing(
    careful: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    far = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 3.0]))
    for k, (record, frame) in enumerate(drive[:8]):
        careful.offer_prior(truth(record) * far if k % 2 else truth(record), frame.stamp_ns)
        assert careful.track(frame).map_from_cam is None


def test_a_person_needs_no_confirmation(careful: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    careful.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns, override=True)
    assert all(follow(careful, drive[:3]))


def test_while_it_fails_only_every_third_image_is_retried(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """Retries for each of them would take the time of the next images."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    assert all(follow(tracker, drive[:4]))
    strict = TrackerOptions(
        lost_after=20, lost_after_seconds=60, verification=VerificationOptions(min_inlier_ratio=0.97)
    )
    tracker.options = tracker.aligner.options = strict
    failed = [tracker.track(frame) for _, frame in drive[4:11]]
    assert {tracked.state for tracked in failed} == {TrackerState.TRACKING}
    assert all("of the landmarks look as in the map, 97% are needed" in tracked.reason for tracked in failed)
    assert [tracked.num_initial_poses > 1 for tracked in failed] == [True, False, False, True, False, False, True]


def test_an_overriding_prior_replaces_the_track_at_once(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:3])
    assert tracker.offer_prior(truth(drive[2][0]), drive[2][1].stamp_ns, override=True)


def test_reset_forgets_everything(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    follow(tracker, drive[:3])
    tracker.reset()
    assert tracker.track(drive[3][1]).state is TrackerState.NOT_LOCALIZED


def test_odometry_bridges_a_gap_that_is_too_long_for_a_velocity(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]]
) -> None:
    """Six meters without an image, around the parked cars."""
    tracker = Tracker(extractor, submaps_of(SubmapSelector(tracked_map)), TrackerOptions(confirmations=1))
    odom_from_map = Rigid3d(Rotation3d(np.array([0.0, 0.0, 1.0])), np.array([5.0, -3.0, 0.5]))
    moving = [(r, replace(frame, odom_from_cam=odom_from_map * truth(r))) for r, frame in drive]
    record, frame = moving[0]
    tracker.offer_prior(truth(record), frame.stamp_ns)
    assert all(follow(tracker, [moving[0], moving[12], moving[13]]))


def test_the_covariance_is_consistent_with_the_errors(tracker: Tracker, drive: list[tuple[Record, Frame]]) -> None:
    """The median normalized squared error is neither much larger nor much smaller than one."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    ratios = []
    for record, frame in drive:
        tracked = tracker.track(frame)
        assert tracked.map_from_cam is not None
        assert tracked.covariance is not None
        np.testing.assert_allclose(tracked.covariance, tracked.covariance.T)
        assert np.linalg.eigvalsh(tracked.covariance)[0] > 0
        error = tracked.map_from_cam.translation - truth(record).translation
        ratios.append(error @ np.linalg.solve(tracked.covariance[:3, :3], error) / 3)
    assert 0.02 < np.median(ratios) < 5


def test_a_localization_that_agrees_corrects_the_poses_from_its_image_on(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]]
) -> None:
    """One of four images before, 0.3 m to the side, as certain as can be: poses move there, less and less."""
    aside, certain = Rigid3d(Rotation3d(), np.array([0.3, 0.0, 0.0])), np.eye(6) * 1e-10
    poses = []
    for distance in (0.0, 4.0):
        options = TrackerOptions(confirmations=1, correction_distance=distance)
        tracker = Tracker(extractor, submaps_of(SubmapSelector(tracked_map)), options)
        tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
        tracked = [tracker.track(frame) for _, frame in drive[:8]]
        assert not tracker.offer_prior(truth(drive[4][0]) * aside, drive[4][1].stamp_ns, covariance=certain)
        tracked += [tracker.track(frame) for _, frame in drive[8:12]]
        poses.append([each.map_from_cam for each in tracked if each.map_from_cam is not None])
    moved = [pose_error(one, other)[0] for one, other in zip(*poses, strict=True)]
    assert len(moved) == 12
    assert moved[:8] == [0.0] * 8
    ways = [pose_error(truth(drive[k][0]), truth(drive[4][0]))[0] for k in (8, 9, 10, 11)]
    np.testing.assert_allclose(moved[8:], 0.3 * np.exp(np.divide(ways, -4.0)), atol=0.05)


def test_the_covariance_contains_that_of_the_map(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]]
) -> None:
    options = TrackerOptions(confirmations=1, map_position_std=0.3, map_rotation_std=2.0)
    tracker = Tracker(extractor, submaps_of(SubmapSelector(tracked_map)), options)
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    tracked = tracker.track(drive[0][1])
    assert tracked.covariance is not None
    assert tracked.alignment is not None
    from_map = tracked.covariance - options.covariance_scale * tracked.alignment.covariance
    np.testing.assert_allclose(from_map, np.diag([0.3**2] * 3 + [np.radians(2.0) ** 2] * 3), atol=1e-12)


def test_a_prior_waits_for_its_landmarks(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]]
) -> None:
    selector, there = SubmapSelector(tracked_map), []

    def submaps(pose: Rigid3d, camera: str) -> References | None:
        return submaps_of(selector)(pose, camera) if there else None

    tracker = Tracker(extractor, submaps, TrackerOptions(confirmations=1))
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns)
    assert not any(follow(tracker, drive[:3]))
    there.append(True)
    assert all(follow(tracker, drive[3:6])), "the prior was kept"
