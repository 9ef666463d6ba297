"""Streets in which houses repeat: rows of one facade, and ground, trees and poles that repeat with them."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.synthetic.facades import paint_facade, storeys_height
from vizloc_ros.datasets.synthetic.ground import CURB, FACADE
from vizloc_ros.datasets.synthetic.paint import PIXELS_PER_METER
from vizloc_ros.datasets.synthetic.props import pole, tree
from vizloc_ros.datasets.synthetic.quads import Quad, Texture, upright
from vizloc_ros.datasets.synthetic.route import STRAIGHTS, beside_route, straight_start

PERIOD = 8.0  # m, width of a house; everything that repeats does so from the middle of each side of the block
_STOREYS, _STOREY = 2, 3.0  # number, m


def repeated_front(rng: np.random.Generator) -> Texture:
    """Paint the facade of all houses."""
    return Texture(paint_facade(rng, PERIOD, _STOREYS, _STOREY))


def repeated_row(front: Texture, start: Float64, end: Float64) -> Iterator[Quad]:
    """Row of equal houses from left to right, as seen from the street; the outermost ones are cut off."""
    length = float(np.linalg.norm(end - start))
    along, height = (end - start) / length, storeys_height(_STOREYS, _STOREY)
    first = length / 2 - PERIOD * np.ceil(length / 2 / PERIOD)
    for left in np.arange(first, length, PERIOD):
        begin, stop = max(left, 0.0), min(left + PERIOD, length)
        house = upright(start + begin * along, start + stop * along, 0.0, height, front)
        window = ((begin - left) / PERIOD, 0.0, (stop - begin) / PERIOD, 1.0)
        yield from replace(house, window=window).tiles(4.0)


def repeated_ground(ground: UInt8) -> UInt8:
    """Ground of which each side of the block repeats the first meters of the south side, north up."""
    height, width = ground.shape
    band, period = round(2 * FACADE * PIXELS_PER_METER), round(PERIOD * PIXELS_PER_METER)
    tile = ground[-band:, width // 2 : width // 2 + period]
    along, across = (tile[:, (np.arange(size) - size // 2) % period] for size in (width, height))
    repeated = ground.copy()
    repeated[:, -band:], repeated[:, :band] = np.rot90(across, 1), np.rot90(across, 3)
    repeated[-band:], repeated[:band] = along, np.rot90(along, 2)
    return repeated


def repeated_props(seed: tuple[int, ...]) -> Iterator[Quad]:
    """Equal trees and poles in turn, half a house apart, along both sides of the straights."""
    for side, length in enumerate(STRAIGHTS):
        middle, reach = straight_start(side) + length / 2, int(length / PERIOD)
        for left in (-CURB - 0.8, CURB + 0.8):
            for k in range(-reach, reach + 1):
                foot, heading = beside_route(middle + k * PERIOD / 2, left)
                rng = np.random.default_rng([*seed, k % 2])
                if k % 2:
                    yield from tree(rng, foot)
                else:
                    yield from pole(rng, foot, np.array([np.cos(heading), np.sin(heading)]))
