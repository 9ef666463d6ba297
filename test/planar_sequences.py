"""Sequences of planar images with known homographies, in the layouts of the benchmarks."""

from pathlib import Path

import cv2
import numpy as np

LAYOUTS = {"oxford": ("img{}.png", "H1to{}p"), "hpatches": ("{}.ppm", "H_1_{}")}


def write_sequence(folder: Path, layout: str, shift: float = 4.0) -> Path:
    """Six views of a textured plane, each ``shift`` pixels further to the left."""
    image_name, homography_name = LAYOUTS[layout]
    folder.mkdir(parents=True)
    plane = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 260), np.uint8), (0, 0), 2)
    plane = cv2.normalize(plane, None, 0, 255, cv2.NORM_MINMAX)
    for k in range(1, 7):
        start = round(shift) * (k - 1)
        view = cv2.cvtColor(plane[:, start : start + 160], cv2.COLOR_GRAY2BGR)
        cv2.imwrite(str(folder / image_name.format(k)), view)
        if k > 1:
            (folder / homography_name.format(k)).write_text(f"2 0 {-2 * start}\n 0 2 0\n0\t0 2\n\n")
    return folder
