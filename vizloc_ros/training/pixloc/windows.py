"""Pairs of one image size from images of many sizes: windows around the common landmarks of a pair.

Stretching images to one size would distort them instead.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.errors import DatasetError
from vizloc_ros.training.pixloc.pixloc_training_options import InitialPoses
from vizloc_ros.training.pixloc.training_pairs import MIN_LANDMARKS, Pair, PairDrive, View

_MAX_ATTEMPTS = 100  # draws of the missing pairs of a batch


def draw_pairs(
    drive: PairDrive, names: Sequence[str], count: int, initial_poses: InitialPoses, rng: np.random.Generator
) -> list[Pair]:
    """Draw pairs of one image size.

    Args:
        drive: source of the pairs.
        names: names of possible queries.
        count: number of pairs.
        initial_poses: initial poses of the alignments.
        rng: source of all random numbers.

    Raises:
        DatasetError: too few pairs keep their landmarks when images of many sizes are cropped to one.
    """
    pairs: list[Pair] = []
    for _ in range(_MAX_ATTEMPTS):
        drawn = rng.choice(names, count - len(pairs))
        pairs += [drive.draw(str(name), initial_poses, rng) for name in drawn]
        cropped = with_one_size(pairs)
        kept = [len(pair.points) >= MIN_LANDMARKS for pair in cropped]
        if all(kept):
            return cropped
        pairs = [pair for pair, keep in zip(pairs, kept, strict=True) if keep]
    raise DatasetError(
        f"{drive.name}: its images differ in size, and cut to one size too few pairs keep {MIN_LANDMARKS} landmarks: "
        "raise 'partners.overlap', or leave out small and very long images"
    )


def with_one_size(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs of one image size: the given ones if their cameras have one size, otherwise windows of their images.

    The windows have the minimum width and the minimum height of the images, and are centered at the landmarks of their
    pair. Landmarks outside are removed, possibly all of them.
    """
    views = [view for pair in pairs for view in (pair.query, pair.keyframe)]
    if len({view.camera.size for view in views}) == 1:
        return list(pairs)
    height, width = np.min([view.image.shape for view in views], axis=0).tolist()
    return [_cropped(pair, width, height) for pair in pairs]


def _cropped(pair: Pair, width: int, height: int) -> Pair:
    points = pair.points.astype(np.float64)
    query, in_query = _window(pair.query, points, width, height)
    keyframe, in_keyframe = _window(pair.keyframe, points, width, height)
    return replace(pair, query=query, keyframe=keyframe, points=pair.points[in_query & in_keyframe])


def _window(view: View, points: Float64, width: int, height: int) -> tuple[View, Bool]:
    """Window around the (N, 3) landmarks [m, map], and (N,) mask of the landmarks inside."""
    whole = _in_pixels_of_the_image(view)
    pixels, _ = whole.see(points)
    room = np.array(whole.camera.size) - (width, height)
    left, top = np.clip(np.rint(np.median(pixels, axis=0) - (width / 2, height / 2)), 0, room).astype(int).tolist()
    camera = replace(whole.camera, width=width, height=height, cx=whole.camera.cx - left, cy=whole.camera.cy - top)
    window = replace(whole, camera=camera, image=view.image[top : top + height, left : left + width])
    return window, window.see(points)[1]


def _in_pixels_of_the_image(view: View) -> View:
    """View whose camera has the size of its image."""
    height, width = view.image.shape
    across, down = width / view.camera.width, height / view.camera.height
    correction = replace(view.correction, cx=across * view.correction.cx, cy=down * view.correction.cy)
    return replace(view, camera=view.camera.scaled(width, height), correction=correction)
