"""The localization of an artificial image goes all the way to a verified pose; else it would warm up little."""

import numpy as np

from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.warm_up import warm_up


def test_the_artificial_image_is_localized() -> None:
    outcome = warm_up(PoseOptions())
    assert outcome.pose is not None, outcome.reason
    assert np.linalg.norm(outcome.pose.map_from_cam.translation) < 0.01


def test_options_under_which_nothing_is_localized_do_no_harm() -> None:
    assert warm_up(PoseOptions(min_inliers=10_000)).pose is None
