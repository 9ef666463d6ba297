"""Posed folders of records."""

from pathlib import Path

import cv2

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import array_of


def write_posed_folder(folder: Path, records: list[Record]) -> None:
    """Writes records as the ``folder:`` reader takes them."""
    rows = ["image,split,timestamp_s,tx,ty,tz,qx,qy,qz,qw"]
    for record in records:
        (folder / record.name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{record.name}.png"), record.read_image())
        pose = ",".join(repr(float(value)) for value in array_of(record.world_from_cam))
        rows.append(f"{record.name}.png,{record.split},{record.timestamp_ns / 1e9:.9f},{pose}")
    (folder / "poses.csv").write_text("\n".join(rows) + "\n")
    c = records[0].camera
    (folder / "intrinsics.txt").write_text(f"{c.width} {c.height} {c.fx!r} {c.fy!r} {c.cx!r} {c.cy!r}\n")
