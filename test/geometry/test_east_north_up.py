"""Positions of GNSS fixes in a local frame."""

import numpy as np
import pytest

from vizloc_ros.geometry.east_north_up import EastNorthUp, earth_centered


@pytest.mark.parametrize(
    ("latitude", "longitude", "altitude", "expected"),
    [
        (0.0, 0.0, 0.0, (6378137.0, 0, 0)),
        (0.0, 90.0, 10.0, (0, 6378147.0, 0)),
        (-90.0, 0.0, 0.0, (0, 0, -6356752.3142)),  # the ellipsoid's other radius
    ],
)
def test_positions_around_the_center_of_the_earth(
    latitude: float, longitude: float, altitude: float, expected: tuple[float, float, float]
) -> None:
    found = earth_centered(np.array([latitude]), np.array([longitude]), np.array([altitude]))
    np.testing.assert_allclose(found[0], expected, atol=1e-3)


def test_a_small_step_is_that_of_the_radii_of_curvature() -> None:
    """At 45 degrees: 6367381.816 m to the north, 6388838.290 m to the east before the cosine (WGS 84)."""
    step = 1e-5
    east, north, up = EastNorthUp(45.0, 8.0, 100.0).positions(
        np.array([45.0, 45 + step, 45.0]), np.array([8 + step, 8.0, 8.0]), np.array([100.0, 100.0, 103.0])
    )
    radians = np.radians(step)
    np.testing.assert_allclose(east, (radians * (6388838.290 + 100) * np.cos(np.pi / 4), 0, 0), atol=1e-5)
    np.testing.assert_allclose(north, (0, radians * (6367381.816 + 100), 0), atol=1e-5)
    np.testing.assert_allclose(up, (0, 0, 3), atol=1e-9)
