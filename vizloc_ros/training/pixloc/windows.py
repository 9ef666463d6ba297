"""Pairs of one image size, of sources whose images have many: windows that show what both of a pair show.

The paper, too, trains on windows of MegaDepth's photos; stretching them to one size would bend them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.errors import DatasetError
from vizloc_ros.training.pixloc.alignment_config import Starts
from vizloc_ros.training.pixloc.training_pairs import LEAST_LANDMARKS, Pair, PairDrive, View

_ATTEMPTS = 100  # draws of what is missing in a batch


def draw_pairs(
    drive: PairDrive, names: Sequence[str], count: int, starts: Starts, rng: np.random.Generator
) -> list[Pair]:
    """``count`` pairs of one image size with queries of these ``names``.

    Raises:
        DatasetError: hardly any pair keeps its landmarks when images of many sizes are cut to one.
    """
    pairs: list[Pair] = []
    for _ in range(_ATTEMPTS):
        drawn = rng.choice(names, count - len(pairs))
        pairs += [drive.draw(str(name), starts, rng) for name in drawn]
        cut = with_one_size(pairs)
        kept = [len(pair.points) >= LEAST_LANDMARKS for pair in cut]
        if all(kept):
            return cut
        pairs = [pair for pair, keep in zip(pairs, kept, strict=True) if keep]
    raise DatasetError(
        f"{drive.name}: its images differ in size, and cut to one size too few pairs keep {LEAST_LANDMARKS} landmarks: "
        "raise 'partners.overlap', or leave out small and very long images"
    )


def with_one_size(pairs: Sequence[Pair]) -> list[Pair]:
    """The very same pairs if their cameras have one size, or else windows of them.

    The windows are as wide and as high as the least wide and high of the images, and lie around the landmarks of their
    pair. Landmarks outside are left out, all of them perhaps.
    """
    views = [view for pair in pairs for view in (pair.query, pair.keyframe)]
    if len({view.camera.size for view in views}) == 1:
        return list(pairs)
    height, width = np.min([view.image.shape for view in views], axis=0).tolist()
    return [_cut(pair, width, height) for pair in pairs]


def _cut(pair: Pair, width: int, height: int) -> Pair:
    points = pair.points.astype(np.float64)
    query, in_query = _window(pair.query, points, width, height)
    keyframe, in_keyframe = _window(pair.keyframe, points, width, height)
    return replace(pair, query=query, keyframe=keyframe, points=pair.points[in_query & in_keyframe])


def _window(view: View, points: Float64, width: int, height: int) -> tuple[View, Bool]:
    """The window around the (N, 3) landmarks [m, map], and (N,) which of them it contains."""
    whole = _in_pixels_of_the_image(view)
    pixels, _ = whole.see(points)
    room = np.array(whole.camera.size) - (width, height)
    left, top = np.clip(np.rint(np.median(pixels, axis=0) - (width / 2, height / 2)), 0, room).astype(int).tolist()
    camera = replace(whole.camera, width=width, height=height, cx=whole.camera.cx - left, cy=whole.camera.cy - top)
    window = replace(whole, camera=camera, image=view.image[top : top + height, left : left + width])
    return window, window.see(points)[1]


def _in_pixels_of_the_image(view: View) -> View:
    """The same view, whose camera has the size of its image."""
    height, width = view.image.shape
    across, down = width / view.camera.width, height / view.camera.height
    correction = replace(view.correction, cx=across * view.correction.cx, cy=down * view.correction.cy)
    return replace(view, camera=view.camera.scaled(width, height), correction=correction)
