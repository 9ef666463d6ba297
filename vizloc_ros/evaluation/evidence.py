"""Measurements of candidate poses, with their true errors, to study what tells wrong ones from right ones.

The probability of a pose has its own fit, ``benchmarks/pose_probability.py``.

One row for each pose that RANSAC found in some place, accepted or not, and one for each alignment of the tracker.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from pycolmap import Rigid3d
from scipy.special import bdtrc, gammaln

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import position_and_rotation_std
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.localization.absolute_pose import pose_covariance, reprojection_errors
from vizloc_ros.localization.candidate import Candidate
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import LocalizedImage
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.pixloc.tracking import Tracked
from vizloc_ros.pixloc.verification import deviation

_CELLS = (8, 5)  # columns and rows of the grid in which inliers are counted


@dataclass
class EvidenceLog:
    """Log of candidate poses with their evidence and their errors. Threads may share it.

    Attributes:
        world: name of the world, in every row.
        candidates: rows of the localizer; ``candidate_evidence`` has the columns.
        alignments: rows of the tracker.
        matches: the candidates themselves, in the order of the rows; their matches are written.
    """

    world: str
    candidates: list[dict[str, Any]] = field(default_factory=list)
    alignments: list[dict[str, Any]] = field(default_factory=list)
    matches: list[Candidate] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, fault: str, record: Record, localized: LocalizedImage, localizer: HierarchicalLocalizer) -> None:
        """Solve an image that was localized once more, in every place of its retrieval, and add all candidates.

        The column ``tried`` is 1 for candidates that the localizer itself saw, ``given`` for the pose that it gave.
        """
        features = localizer.corrected(localized.features, record.camera)
        options, places = localizer.solver.options, localized.retrieved.places
        seen: list[tuple[Candidate, bool]] = []
        for which, tried in (("first", True), ("best", False)):
            found: list[Candidate] = []
            chosen = options.model_copy(update={"places": which}) if not tried else options
            PoseSolver(chosen, found.append).solve(features, places, record.camera)
            known = {(candidate.place, candidate.keypoints) for candidate, _ in seen}
            seen += [(each, tried) for each in found if (each.place, each.keypoints) not in known]
        pose = localized.outcome.pose
        common = {
            "world": self.world,
            "fault": fault,
            "image": record.name,
            "localized": int(pose is not None),
            "keypoints": len(features),
            "similarity": float(localized.retrieved.similarities[0]) if len(localized.retrieved.similarities) else 0.0,
            "similarities": " ".join(f"{value:.4f}" for value in localized.retrieved.similarities),
            "places": len(places),
        }
        given = _given(seen, localized)
        rows = [
            {
                **common,
                "tried": int(tried),
                "given": int(candidate is given),
                **candidate_evidence(candidate, places[candidate.place], record.camera, options),
                **_errors(candidate.estimate.cam_from_map.inverse(), record),
            }
            for candidate, tried in seen
        ]
        with self._lock:
            self.candidates += rows
            self.matches += [candidate for candidate, _ in seen]

    def add_tracked(self, fault: str, record: Record, tracked: Tracked) -> None:
        """Add the alignment of an image, if one was tried."""
        alignment, prediction = tracked.alignment, tracked.prediction
        if alignment is None:
            return
        position_std, rotation_std = position_and_rotation_std(alignment.covariance)
        self.alignments.append(
            {
                "world": self.world,
                "fault": fault,
                "image": record.name,
                "given": int(tracked.map_from_cam is not None),
                "failed": int(bool(alignment.failure)),
                "points": alignment.num_points,
                "inlier_ratio": alignment.inlier_ratio,
                "cost": alignment.cost,
                "position_std": float(position_std),
                "rotation_std": float(rotation_std),
                "iterations": sum(alignment.iterations),
                "initial_poses": tracked.num_initial_poses,
                "deviation": deviation(alignment, prediction) if prediction is not None else -1.0,
                "predicted_std": prediction.position_std if prediction is not None else -1.0,
                "reason": tracked.reason,
                **_errors(alignment.cam_from_map.inverse(), record),
            }
        )

    def write(self, folder: Path) -> None:
        """Write ``candidates.csv``, ``alignments.csv`` and ``matches.npz`` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("candidates", self.candidates), ("alignments", self.alignments)):
            if rows:
                _write_csv(folder / f"{name}.csv", rows)
        if self.matches:
            counts = [len(candidate.matches) for candidate in self.matches]
            np.savez_compressed(
                folder / "matches.npz",
                begin=np.concatenate([[0], np.cumsum(counts)]),
                pixels=np.concatenate([c.matches.pixels for c in self.matches]).astype(np.float32),
                positions=np.concatenate([c.matches.positions for c in self.matches]).astype(np.float32),
                landmark_ids=np.concatenate([c.matches.landmark_ids for c in self.matches]),
                inlier=np.concatenate([c.estimate.inliers for c in self.matches]),
            )


def candidate_evidence(
    candidate: Candidate, place: Place, camera: PinholeCamera, options: PoseOptions
) -> dict[str, float]:
    """Evidence of one candidate.

    Returns:
        Numbers of matches and inliers; ``log10_chance``, of the number of poses by chance with as many inliers;
        RMS and median error of the inliers [px]; ``cells``, ratio of the cells of a grid with inliers; ``spread_x``
        and ``spread_y``, standard deviations of their pixels by the image's size; quantiles of their depths [m];
        ``in_view``, landmarks of the place that the pose sees; standard deviations of the covariance [m, rad]; the
        pose's position and quaternion (x y z w).
    """
    cam_from_map, inlier, matches = candidate.estimate.cam_from_map, candidate.estimate.inliers, candidate.matches
    pixels, positions = matches.pixels[inlier], matches.positions[inlier]
    errors = reprojection_errors(cam_from_map, pixels, positions, camera)
    depths = transform_points(cam_from_map, positions)[:, 2]
    map_from_cam = cam_from_map.inverse()
    position_std, rotation_std = _std(map_from_cam, positions, pixels, camera, options)
    quaternion = map_from_cam.rotation.quat
    return {
        "place": candidate.place,
        "matched_keypoints": candidate.keypoints,
        "matches": len(matches),
        "inliers": int(inlier.sum()),
        "log10_chance": log10_chance(len(matches), int(inlier.sum()), camera, options.max_reprojection_error),
        "rms": float(np.sqrt(np.square(errors).mean())) if len(errors) else 0.0,
        "median_error": float(np.median(errors)) if len(errors) else 0.0,
        "cells": _filled_cells(pixels, camera),
        "spread_x": float(pixels[:, 0].std() / camera.width) if len(pixels) else 0.0,
        "spread_y": float(pixels[:, 1].std() / camera.height) if len(pixels) else 0.0,
        **{f"depth_{q}": float(np.quantile(depths, q / 100)) if len(depths) else 0.0 for q in (10, 50, 90)},
        "in_view": _landmarks_in_view(place, cam_from_map, camera),
        "place_landmarks": len(np.unique(place.landmark_ids)),
        "position_std": position_std,
        "rotation_std": rotation_std,
        **dict(zip(("x", "y", "z"), map(float, map_from_cam.translation), strict=True)),
        **dict(zip(("qx", "qy", "qz", "qw"), map(float, quaternion), strict=True)),
    }


def log10_chance(matches: int, inliers: int, camera: PinholeCamera, max_error: float) -> float:
    """Logarithm of the number of poses with as many inliers that wrong matches give by chance (a contrario).

    Every choice of three matches gives a pose; another match is an inlier with the ratio of the image's area that a
    circle of the maximum error has (Moisan and Stival, "A probabilistic criterion to detect rigid point matches").
    """
    if inliers <= 3:
        return 0.0
    ratio = min(1.0, np.pi * max_error**2 / (camera.width * camera.height))
    poses = (gammaln(matches + 1) - gammaln(4) - gammaln(matches - 2)) / np.log(10)
    with np.errstate(divide="ignore"):  # of a chance that float64 does not have
        tail = np.log10(bdtrc(inliers - 4, matches - 3, ratio))
    return float(max(poses + tail, -1000.0))


def _std(
    map_from_cam: Rigid3d, positions: Float64, pixels: Float64, camera: PinholeCamera, options: PoseOptions
) -> tuple[float, float]:
    """Standard deviations of position [m] and rotation [rad] by independent matches; -1 if they are not fixed."""
    if len(positions) < 4:
        return -1.0, -1.0
    try:
        covariance, _ = pose_covariance(map_from_cam, positions, pixels, camera, options.pixel_sigma)
    except np.linalg.LinAlgError:
        return -1.0, -1.0
    position_std, rotation_std = position_and_rotation_std(options.covariance_scale * covariance)
    return float(position_std), float(rotation_std)


def _filled_cells(pixels: Float64, camera: PinholeCamera) -> float:
    columns, rows = _CELLS
    x = (pixels[:, 0] / camera.width * columns).astype(int).clip(0, columns - 1)
    y = (pixels[:, 1] / camera.height * rows).astype(int).clip(0, rows - 1)
    return len(np.unique(y * columns + x)) / (columns * rows)


def _landmarks_in_view(place: Place, cam_from_map: Rigid3d, camera: PinholeCamera) -> int:
    _, first = np.unique(place.landmark_ids, return_index=True)
    _, seen = camera.project(transform_points(cam_from_map, place.positions[first].astype(np.float64)))
    return int(seen.sum())


def _given(seen: Sequence[tuple[Candidate, bool]], localized: LocalizedImage) -> Candidate | None:
    """Candidate that the localizer took: of the right place, with as many inliers, if it gave a pose."""
    pose, outcome = localized.outcome.pose, localized.outcome
    if pose is None:
        return None
    of_place = [candidate for candidate, tried in seen if tried and candidate.place == pose.place]
    taken = [candidate for candidate in of_place if candidate.estimate.inliers.sum() == outcome.inliers]
    return taken[-1] if taken else None


def _errors(map_from_cam: Rigid3d, record: Record) -> dict[str, float]:
    """True errors of a pose; infinite and 180 deg where none is right."""
    truth = record.world_from_cam
    distance, angle = (float("inf"), 180.0) if truth is None else pose_error(map_from_cam, truth)
    return {"error_m": float(distance), "error_deg": float(angle)}


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
