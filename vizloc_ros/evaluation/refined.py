"""Poses of the localizer, refined by alignment, and how far they may be off before."""

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.convergence import Perturbation
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.refinement import Refiner


def moved_poses(poses: Mapping[str, Rigid3d], distance: float, seed: int) -> dict[str, Rigid3d]:
    """Poses map_from_cam moved by a distance [m], each in a random direction that its name and the seed decide."""
    perturbation = Perturbation(distance, 0.0)
    return {
        name: perturbation.apply(pose, np.random.default_rng([seed, crc32(name.encode())]))
        for name, pose in poses.items()
    }


def refine_poses(
    records: Sequence[Record], poses: Mapping[str, Rigid3d], refiner: Refiner, progress: Progress = silent
) -> tuple[dict[str, Rigid3d], dict[str, str]]:
    """The poses map_from_cam after refinement, and why some stayed as they were."""
    found = [record for record in records if record.name in poses]
    refined = parallel_map(
        lambda record: refiner.refine(record.read_image(), record.camera, poses[record.name]),
        found,
        "refining",
        progress,
    )
    by_name = {record.name: refinement for record, refinement in zip(found, refined, strict=True)}
    return (
        {name: refinement.map_from_cam for name, refinement in by_name.items()},
        {name: refinement.reason for name, refinement in by_name.items() if refinement.reason},
    )
