"""The papers' datasets in their published layouts, with images of the synthetic street."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from pycolmap import Rigid3d
from sfm_helpers import posed, write_image, write_model

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.colmap_camera import colmap_camera

ROBOTCAR_SIDE = 1024  # px, of all images of RobotCar Seasons


def write_aachen(folder: Path, mapped: Sequence[Record], day: Sequence[Record], night: Sequence[Record]) -> None:
    """COLMAP's model of version 1.1, and queries whose poses nobody knows."""
    camera = colmap_camera(mapped[0].camera, 1)
    model = {}
    for index, record in enumerate(mapped):
        write_image(folder / f"images_upright/db/{index}.jpg", record.read_image())
        model[f"db/{index}.jpg"] = (camera, posed(record).inverse())
    write_model(folder / "3D-models/aachen_v_1_1", model)
    (folder / "queries").mkdir()
    line = f"{camera.model_name} {camera.width} {camera.height} {' '.join(map(str, camera.params))}"
    for time, records in (("day", day), ("night", night)):
        names = [f"query/{time}/phone/{time}{index}.jpg" for index in range(len(records))]
        for name, record in zip(names, records, strict=True):
            write_image(folder / "images_upright" / name, record.read_image())
        text = "".join(f"{name} {line}\n" for name in names)
        (folder / f"queries/{time}_time_queries_with_intrinsics.txt").write_text(text)


def write_robotcar_seasons(
    folder: Path, mapped: Sequence[Record], train: dict[str, Record], test: dict[str, Record]
) -> None:
    """Version 2, with the merged model; ``train`` and ``test`` are queries by ``CONDITION/rear/TIME``."""
    camera = mapped[0].camera
    for name in ("left", "rear", "right"):
        path = folder / "intrinsics" / f"{name}_intrinsics.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"fx {camera.fx}\nfy {camera.fy}\ncx {camera.cx + 0.5}\ncy {camera.cy + 0.5}\n")
    lines = []
    for record in mapped:
        name = f"overcast-reference/rear/{record.timestamp_ns // 1000}"
        _write_square(folder / "images" / f"{name}.jpg", record.read_image())
        x, y, z, w = posed(record).inverse().rotation.quat
        center = " ".join(map(repr, posed(record).translation.tolist()))
        lines.append(f"./{name}.png {camera.fx} {w} {x} {y} {z} {center} 0 0\n")
    model = folder / "3D-models/all-merged/all.nvm"
    model.parent.mkdir(parents=True)
    model.write_text(f"NVM_V3\n\n{len(lines)}\n{''.join(lines)}\n0\n")
    for name, record in (train | test).items():
        _write_square(folder / "images" / f"{name}.jpg", record.read_image())
    rows = {name: np.vstack([posed(record).matrix(), [0, 0, 0, 1]]).ravel() for name, record in train.items()}
    (folder / "robotcar_v2_train.txt").write_text(
        "".join(f"{name}.png {' '.join(map(repr, row.tolist()))}\n" for name, row in rows.items())
    )
    listed = (name.partition("/")[2] for name in test)  # without the condition
    (folder / "robotcar_v2_test.txt").write_text("".join(f"{name}.png\n" for name in listed))


def write_cmu_slice(folder: Path, mapped: Sequence[Record], queries: Sequence[Record], training: bool) -> None:
    """A slice of Extended CMU Seasons; in those for training, poses of the queries are known."""
    c = mapped[0].camera
    intrinsics = f"c0 OPENCV {c.width} {c.height} {c.fx} {c.fy} {c.cx + 0.5} {c.cy + 0.5} 0 0 0 0\n"
    folder.mkdir(parents=True)
    (folder.parent / "intrinsics.txt").write_text(intrinsics)
    first = 1_300_000_000_000_000 + 1_000_000_000 * int(folder.name.removeprefix("slice"))  # us
    for part, records in (("database", mapped), ("query", queries)):
        lines = []
        for index, record in enumerate(records):
            name = f"img_{index:05d}_c0_{first + record.timestamp_ns // 1000}us.jpg"
            write_image(folder / part / name, record.read_image())
            lines.append(f"{name} {_centered(posed(record))}\n")
        if part == "database":
            (folder / f"ground-truth-database-images-{folder.name}.txt").write_text("".join(lines))
        elif training:
            (folder / "camera-poses").mkdir()
            (folder / "camera-poses/slice-run-c0.txt").write_text("".join(lines))


def _centered(world_from_cam: Rigid3d) -> str:
    """``qw qx qy qz cx cy cz``: the rotation cam_from_world, and the center."""
    x, y, z, w = world_from_cam.inverse().rotation.quat
    return " ".join(map(repr, [float(v) for v in (w, x, y, z, *world_from_cam.translation)]))


def _write_square(path: Path, image: UInt8) -> None:
    """The image in the upper left of an image of RobotCar's size."""
    height, width = image.shape[:2]
    square = np.zeros((ROBOTCAR_SIDE, ROBOTCAR_SIDE), np.uint8)
    square[:height, :width] = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    write_image(path, square)


def read_submission(path: Path) -> dict[str, Rigid3d]:
    """Poses cam_from_world by name, from lines ``name qw qx qy qz tx ty tz``."""
    poses = {}
    for line in path.read_text().splitlines():
        name, *numbers = line.split(" ")
        w, x, y, z, *translation = map(float, numbers)
        poses[name] = Rigid3d(pycolmap.Rotation3d(np.array([x, y, z, w])), np.array(translation))
    return poses
