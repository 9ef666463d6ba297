"""Scenes of the street: both laps share everything except the parked cars."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.datasets.synthetic.facades import paint_facade, paint_gable, storeys_height
from vizloc_ros.datasets.synthetic.ground import CURB, FACADE, HALF_SIZE, PARKING, paint_ground
from vizloc_ros.datasets.synthetic.paint import finish
from vizloc_ros.datasets.synthetic.props import CAR_LENGTH, car, pole, tree
from vizloc_ros.datasets.synthetic.quads import Quad, Scene, Texture, upright
from vizloc_ros.datasets.synthetic.repeats import repeated_front, repeated_ground, repeated_props, repeated_row
from vizloc_ros.datasets.synthetic.route import HALF_LENGTH, HALF_WIDTH, STRAIGHTS, beside_route, straight_start

SKY_DISTANCE = 1e6  # m; so far away that the motion of the camera does not change the sky
_GROUND, _FACADES, _PROPS, _SKY, _SLOTS, _CARS = range(6)  # independent streams of random numbers

# Cases of a parking space: offset of the car from its middle [m] in the first and second lap, None without a car.
_PARKING_CASES = ((0.0, 0.0), (0.0, 0.7), (0.0, None), (None, 0.0), (None, None))  # same, moved, left, arrived, free
_PROBABILITIES = (0.2, 0.15, 0.15, 0.15, 0.35)


@lru_cache(maxsize=2)
def build_world(seed: int, aliased: str = "") -> tuple[Scene, Scene]:
    """Build the scenes of the first and the second lap; takes one or two seconds, and is cached.

    Args:
        seed: seed of the street.
        aliased: what repeats, see ``StreetSpec``.
    """
    if aliased == "all":
        whole = Scene(
            (
                *_ground(np.random.default_rng([seed, _GROUND]), repeated=True),
                *_equal_facades(np.random.default_rng([seed, _FACADES])),
                *repeated_props((seed, _PROPS)),
                *_sky(np.random.default_rng([seed, _SKY]), clouds=0.0),
            )
        )
        return whole, whole
    facades = _equal_facades if aliased == "fronts" else _facades
    permanent = [
        *_ground(np.random.default_rng([seed, _GROUND])),
        *facades(np.random.default_rng([seed, _FACADES])),
        *_props(np.random.default_rng([seed, _PROPS])),
        *_sky(np.random.default_rng([seed, _SKY])),
    ]
    first, second = _cars(seed)
    return Scene((*permanent, *first)), Scene((*permanent, *second))


def _ground(rng: np.random.Generator, repeated: bool = False) -> Iterator[Quad]:
    painted = repeated_ground(paint_ground(rng)) if repeated else paint_ground(rng)
    width, height = 2 * HALF_SIZE
    corner = np.array([-HALF_SIZE[0], HALF_SIZE[1], 0.0])
    whole = Quad(corner, np.array([width, 0, 0]), np.array([0, -height, 0]), Texture(painted))
    inner = np.array([HALF_LENGTH - FACADE, HALF_WIDTH - FACADE])
    for tile in whole.tiles(3.0):
        far_corner = np.abs(np.stack([tile.origin, tile.origin + tile.right + tile.down])[:, :2]).max(axis=0)
        if (far_corner > inner).any():  # not entirely under the block
            yield tile


def _facades(rng: np.random.Generator) -> Iterator[Quad]:
    """Two closed rows of houses: along the inner and the outer side of the street."""
    for start, end in _sides():
        yield from _row(rng, start, end)


def _equal_facades(rng: np.random.Generator) -> Iterator[Quad]:
    """Two closed rows of equal houses."""
    front = repeated_front(rng)
    for start, end in _sides():
        yield from repeated_row(front, start, end)


def _sides() -> Iterator[tuple[Float64, Float64]]:
    """Ends of the rows of houses, from left to right as seen from the street."""
    for half_size, sense in ((HALF_SIZE - 2 * FACADE, 1.0), (HALF_SIZE, -1.0)):
        corners = [half_size * sign for sign in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        if sense < 0:
            corners.reverse()  # visible from inside
        for k in range(4):
            yield corners[k], corners[(k + 1) % 4]


def _row(rng: np.random.Generator, start: Float64, end: Float64) -> Iterator[Quad]:
    """Row of houses from left to right, as seen from the street."""
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    back = np.array([-along[1], along[0]])
    widths = rng.uniform(0.7, 1.3, round(length / 8.5))
    edges = np.concatenate([[0.0], np.cumsum(widths) * length / widths.sum()])
    previous_height = 0.0
    for left, right in pairwise(edges):
        storeys, storey = int(rng.integers(1, 4)), rng.uniform(2.7, 3.2)
        height = storeys_height(storeys, storey)
        front = Texture(paint_facade(rng, right - left, storeys, storey))
        yield from upright(start + left * along, start + right * along, 0.0, height, front).tiles(4.0)
        if left > 0:
            corner = start + left * along
            low, high = sorted((previous_height, height))
            gable = Texture(paint_gable(rng, 5.0, high - low + 0.1))
            yield upright(corner, corner + 5 * back, low, high, gable)
        previous_height = height


def _straights() -> Iterator[tuple[float, float]]:
    """Start along the route and length [m] of each of the four straights."""
    for side, length in enumerate(STRAIGHTS):
        yield straight_start(side), length


def _props(rng: np.random.Generator) -> Iterator[Quad]:
    for start, length in _straights():
        for left in (-CURB - 0.8, CURB + 0.8):
            for distance in np.arange(rng.uniform(1, 5), length, 5.5):
                foot, heading = beside_route(start + distance + rng.uniform(-1, 1), left)
                if rng.random() < 0.5:
                    yield from tree(rng, foot)
                else:
                    yield from pole(rng, foot, np.array([np.cos(heading), np.sin(heading)]))


def _cars(seed: int) -> tuple[list[Quad], list[Quad]]:
    """Parked cars of the first and of the second lap."""
    rng = np.random.default_rng([seed, _SLOTS])
    laps: tuple[list[Quad], list[Quad]] = ([], [])
    slots = [
        (start + distance, left)
        for start, length in _straights()
        for left in (-(PARKING + CURB) / 2, (PARKING + CURB) / 2)
        for distance in np.arange(CAR_LENGTH / 2, length - CAR_LENGTH / 2, CAR_LENGTH + 1.6)
    ]
    for number, (distance, left) in enumerate(slots):
        for lap, shift in zip(laps, _PARKING_CASES[rng.choice(len(_PARKING_CASES), p=_PROBABILITIES)], strict=True):
            if shift is not None:
                middle, heading = beside_route(distance + shift, left)
                lap.extend(car(np.random.default_rng([seed, _CARS, number]), middle, heading))
    return laps


def _sky(rng: np.random.Generator, clouds: float = 6.0) -> Iterator[Quad]:
    """Five faces of a box with clouds, lighter at the horizon; gray values depend on the direction only: no seams.

    The clouds differ by ``clouds`` gray values from the sky.
    """
    waves, phases = rng.normal(0, 5, (16, 3)), rng.uniform(0, 2 * np.pi, 16)
    size, resolution = SKY_DISTANCE, 128
    signs = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    walls = [
        (np.array([*signs[k], 1.0]), np.array([*signs[(k + 1) % 4], 1.0]), np.array([0, 0, -1.2])) for k in range(4)
    ]
    roof = (np.array([-1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0]), np.array([0, -2.0, 0]))
    steps: Float64 = (np.arange(resolution) + 0.5) / resolution
    for start, end, down in (*walls, roof):
        points = start + steps[None, :, None] * (end - start) + steps[:, None, None] * down
        direction = points / np.linalg.norm(points, axis=2, keepdims=True)
        waviness: Float32 = np.sin(direction @ waves.T + phases).sum(axis=2).astype(np.float32)
        shade = 205 - 45 * direction[..., 2].astype(np.float32) + clouds * waviness
        yield Quad(size * start, size * (end - start), size * down, Texture(finish(shade)), lit=False)
