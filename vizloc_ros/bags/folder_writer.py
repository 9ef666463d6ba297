"""Posed folder of the images of a bag, as the reader ``folder:`` takes it; one split for each bag."""

import csv
import io
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import cv2

from vizloc_ros.arrays import UInt8
from vizloc_ros.bags.bag_camera import BagCamera
from vizloc_ros.datasets.folder import COLUMNS, POSE, FolderDataset, read_intrinsics
from vizloc_ros.datasets.parsing import format_timestamp, read_text
from vizloc_ros.errors import BagError, CameraError, ConfigError, DatasetError, ImageError
from vizloc_ros.files import others_in, replacing, replacing_folder
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.parallel import Progress, silent


@dataclass(frozen=True)
class WrittenFolder:
    """Result: number of written images, whether they have poses, and number of images left out by reason."""

    written: int
    posed: bool
    left_out: Counter[str]


def write_folder(
    camera: BagCamera,
    out: Path,
    *,
    split: str = "map",
    every: int = 1,
    overwrite: bool = False,
    progress: Progress = silent,
) -> WrittenFolder:
    """Write the rectified images of a bag's camera as one split of a posed folder, in order of their stamps.

    A folder that exists keeps its other splits. With ground truth, images without a pose are left out.

    Args:
        camera: camera of the bag.
        out: the folder.
        split: name of the split, and of the folder of its images.
        every: keep every n-th image.
        overwrite: whether to replace the split.
        progress: progress display.

    Raises:
        BagError: no image of the bag can be used, or the folder cannot be written.
        ConfigError: the name of the split cannot be that of a folder.
        DatasetError: the split exists already.
        DatasetError: the folder is that of another camera, or its files cannot be read.
    """
    _check_split(out, split, overwrite)
    _require_listed(out / split)
    chosen = list(camera.index.bag_times)[::every]
    posed = len(camera.truth.trajectory.poses) > 0
    left_out: Counter[str] = Counter(camera.index.left_out)
    pinhole: PinholeCamera | None = read_intrinsics(out / "intrinsics.txt") if _has_others(out, split) else None
    rows: dict[int, list[object]] = {}
    try:
        with replacing_folder(out / split, _require_listed) as folder:
            wanted = set(chosen)
            for stamp, message in progress(camera.images(), "writing images", len(camera.index.bag_times)):
                if stamp not in wanted:
                    continue
                pose = camera.world_from_cam(stamp)
                if posed and pose is None:
                    left_out[f"without a pose within {camera.options.max_gap:g} s around it"] += 1
                    continue
                try:
                    image, image_camera = camera.rectified(stamp, message)
                except (CameraError, ImageError) as error:
                    left_out[str(error)] += 1
                    continue
                pinhole = pinhole or image_camera
                if image_camera != pinhole:
                    left_out[_other_camera(image_camera, pinhole)] += 1
                    continue
                name = f"{format_timestamp(stamp)}.png"
                (folder / name).write_bytes(_png(image))
                values = [""] * len(POSE) if pose is None else array_of(pose).tolist()
                rows[stamp] = [f"{split}/{name}", split, format_timestamp(stamp), *values]
            if pinhole is None or not rows:
                raise BagError(f"{camera.bag}: no image of {camera.topics.image} can be used: {reasons_text(left_out)}")
        with replacing(out / "intrinsics.txt") as file:
            c = pinhole
            file.write(f"{c.width} {c.height} {c.fx!r} {c.fy!r} {c.cx!r} {c.cy!r}\n".encode())
        text = _table(out / "poses.csv", split, [rows[stamp] for stamp in sorted(rows)])
        with replacing(out / "poses.csv") as file:
            file.write(text.encode())
    except OSError as error:
        raise BagError(f"{out}: the folder cannot be written: {error}") from error
    return WrittenFolder(len(rows), posed, left_out)


def reasons_text(reasons: Counter[str]) -> str:
    """Reasons with their counts, most frequent first."""
    return "; ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "there is none"


def _check_split(out: Path, split: str, overwrite: bool) -> None:
    if split in ("", ".", "..") or any(character in split for character in "/\\,\"'\n"):
        raise ConfigError(f"--split {split!r}: give a name that can be that of a folder")
    if not overwrite and ((out / split).exists() or split in _splits(out)):
        raise DatasetError(f"{out} has a split {split} already: take another --split or --out, or --overwrite")


def _require_listed(images: Path) -> None:
    """Raise ``BagError`` if the folder of a split's images holds more than poses.csv lists: it would be lost."""
    table = images.with_name("poses.csv")
    rows = csv.reader(io.StringIO(read_text(table), newline="")) if table.exists() else ()
    listed = {row[0].strip().removeprefix(f"{images.name}/") for row in rows if row}
    if os.path.lexists(images) and not images.is_dir():
        raise BagError(f"{images}: is a file, so it is not replaced: take another --split or --out")
    if others := others_in(images, listed) if images.is_dir() else []:
        raise BagError(f"{images}: holds {others[0]}, which {table} does not list and would be lost: move it elsewhere")


def _splits(out: Path) -> Collection[str]:
    return FolderDataset(out).splits if (out / "poses.csv").exists() else ()


def _has_others(out: Path, split: str) -> bool:
    return any(other != split for other in _splits(out))


def _other_camera(camera: PinholeCamera, first: PinholeCamera) -> str:
    return (
        f"of another calibration ({camera.width}x{camera.height} px, fx {camera.fx:.1f}) than the folder's "
        f"({first.width}x{first.height} px, fx {first.fx:.1f}): a folder has one"
    )


def _table(path: Path, split: str, rows: list[list[object]]) -> str:
    """Text of poses.csv: its rows of other splits, and the new ones."""
    old = csv.DictReader(io.StringIO(read_text(path), newline="")) if path.exists() else None
    columns = [name.strip() for name in (old.fieldnames or [])] if old is not None else list(COLUMNS)
    if old is not None:
        old.fieldnames = columns
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    for row in old or ():
        is_posed = bool((row["tx"] or "").strip())
        if ((row["split"] or "").strip() or ("map" if is_posed else "query")) != split:
            table.writerow(row)
    for values in rows:
        table.writerow(dict(zip(COLUMNS, values, strict=True)))
    return text.getvalue()


def _png(image: UInt8) -> bytes:
    done, data = cv2.imencode(".png", image)
    if not done:
        raise BagError(f"an image of shape {image.shape} cannot be encoded as PNG")
    return data.tobytes()
