"""``vizloc evaluate consistency``: the ratio of poses within two sigma, and the covariance that is published."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_helpers import Vizloc
from point_street import CAMERA, PointStreet
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.consistency import Consistency
from vizloc_ros.localization.absolute_pose import correlation_factor, pose_covariance, reprojection_errors
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


def test_two_sigma_are_the_95_percent_ellipsoid() -> None:
    found = Consistency(5, [1.0, 12.5, 12.6, 3.0])
    assert found.as_dict() == {"nees": 7.275, "within_95": 0.75, "images": 5, "poses": 4}
    assert found.within(0.5) == 0.5
    assert Consistency(2).as_dict() == {"nees": None, "within_95": None, "images": 2, "poses": 0}


def test_images_without_a_true_pose_or_an_estimate_do_not_count() -> None:
    found, unposed = Consistency(1), Record("a", 0, CAMERA, "query", None, lambda: np.zeros((2, 2), np.uint8))
    found.add(Rigid3d(), np.eye(6), unposed)
    found.add(None, None, replace(unposed, world_from_cam=Rigid3d()))
    assert found.squared == []
    found.add(Rigid3d(), np.eye(6), replace(unposed, world_from_cam=Rigid3d(Rotation3d(), np.array([0, 0, 2.0]))))
    assert found.squared == [4.0]


@pytest.mark.e2e
def test_the_published_covariance_counts_alike_errors_as_correlated(point_map: VisualMap) -> None:
    seen: list[Candidate] = []
    options = PoseOptions(guided=False, min_probability=0.0, map_position_std=0, map_rotation_std=0)
    solver = PoseSolver(options, seen.append)
    features = point_map.extractor.describe(PointStreet(seed=1).view(14.0, noise_px=2.5).keyframe.features)
    places = PlaceFinder(point_map).find(features.global_descriptor, Stopwatch()).places
    pose = solver.solve(features, places, CAMERA).pose
    assert pose is not None
    matches = seen[-1].verified
    plain, _ = pose_covariance(pose.map_from_cam, matches.positions, matches.pixels, CAMERA, options.pixel_sigma)
    errors = reprojection_errors(pose.map_from_cam.inverse(), matches.pixels, matches.positions, CAMERA)
    factor = correlation_factor(errors)
    assert factor > 3
    np.testing.assert_allclose(pose.covariance, options.covariance_scale * factor * plain, rtol=1e-6)


@pytest.mark.e2e
def test_the_localizer_is_evaluated_by_kind(
    vizloc: Vizloc, street_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    options = ("--every", 5, "--degrade", "noise:1", "--degrade", "blur:1", "--no-tracking", "--out", tmp_path)
    ended = vizloc("evaluate", "consistency", street_map.folder, street.name, *options)
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["consistency"]) == ["localizer"]
    kinds, images = report["consistency"]["localizer"], len(street.records("query")[::5])
    assert list(kinds) == ["clean", "noise:1", "blur:1"]
    for kind, each in kinds.items():
        assert each["images"] == images >= each["poses"] > 0
        assert 0 <= each["within_95"] <= 1
        assert each["nees"] > 0
        assert kind in ended.out
    picture = cv2.imread(str(tmp_path / "consistency.png"))
    assert picture is not None
    assert picture.std() > 5
    refused = vizloc("evaluate", "consistency", street_map.folder, street.name, "--out", tmp_path / "none")
    assert refused.code == 1
    assert "vizloc map add-pixloc" in refused.err
    assert not list((tmp_path / "none").glob("*"))
