"""Coordinates on the earth against published values and by hand."""

import numpy as np
import pytest

from vizloc_ros.geometry.geodesy import earth_from_enu, ecef_from_geodetic, geodetic_from_ecef, geodetic_from_utm
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.georeference import Utm

POLAR_RADIUS = 6_356_752.314245  # m, WGS 84


@pytest.mark.parametrize(
    ("geodetic", "ecef"),
    [
        ((0, 0, 0), (6_378_137, 0, 0)),
        ((0, 90, 100), (0, 6_378_237, 0)),
        ((90, 0, 0), (0, 0, POLAR_RADIUS)),
        ((-90, 0, 5), (0, 0, -POLAR_RADIUS - 5)),
        ((0, 90, 10), (0, 6_378_147, 0)),
        # normal N = a / sqrt(1 - e^2 / 2) = 6388838.290 m; x = N cos 45, z = N (1 - e^2) sin 45
        ((45, 180, 0), (-4_517_590.879, 0, 4_487_348.409)),
    ],
)
def test_ecef_by_hand(geodetic: tuple[float, float, float], ecef: tuple[float, float, float]) -> None:
    position = ecef_from_geodetic(np.array([geodetic], np.float64))[0]
    assert position == pytest.approx(ecef, abs=1e-3)
    latitude, longitude, altitude = geodetic_from_ecef(position)
    assert (latitude, altitude) == pytest.approx((geodetic[0], geodetic[2]), abs=1e-8)
    if abs(latitude) < 89:
        assert longitude == pytest.approx(geodetic[1], abs=1e-9)


def test_axes_of_the_local_frame_on_the_equator_at_90_degrees_east() -> None:
    pose = earth_from_enu(0, 90, 0)
    assert pose.rotation.matrix() == pytest.approx(np.array([[-1, 0, 0], [0, 0, 1], [0, 1, 0]]), abs=1e-15)
    assert pose.translation == pytest.approx([0, 6_378_137, 0], abs=1e-6)


def test_utm_against_published_values() -> None:
    """The example of GeographicLib's GeoConvert: 33.3 44.4 is 38n 444140.54 3684706.36."""
    latitude, longitude, _ = geodetic_from_utm(38, True, 444_140.54, 3_684_706.36)
    assert (latitude, longitude) == pytest.approx((33.3, 44.4), abs=1e-7)
    assert geodetic_from_utm(31, True, 500_000, 0) == (0, 3, 0)
    south = geodetic_from_utm(31, False, 400_000, 10_000_000 - 1_000_000)
    north = geodetic_from_utm(31, True, 400_000, 1_000_000)
    assert south == pytest.approx((-north[0], north[1], -north[2]), abs=1e-12)


@pytest.mark.parametrize("zone", [("N", 456_000, 5_428_000), ("N", 620_000, 5_735_000), ("S", 334_000, 6_250_000)])
def test_the_axes_of_the_grid_on_the_earth(zone: tuple[str, float, float]) -> None:
    """One meter to the north in the grid is one meter along the frame's y axis on the earth, less the grid's scale."""
    hemisphere, easting, northing = zone
    here = Utm(zone=32, hemisphere=hemisphere, easting=easting, northing=northing, altitude=7)
    ahead = here.model_copy(update={"northing": northing + 1})
    step = here.earth_from_frame.inverse() * ahead.earth_from_frame.translation
    assert step == pytest.approx([0, 1, 0], abs=1e-3)
    assert abs(step[0]) < 1e-6


def test_a_small_step_is_that_of_the_radii_of_curvature() -> None:
    """At 45 degrees: 6367381.816 m to the north, 6388838.290 m to the east before the cosine (WGS 84)."""
    step = 1e-5
    geodetic = np.array([[45.0, 8 + step, 100.0], [45 + step, 8.0, 100.0], [45.0, 8.0, 103.0]])
    east, north, up = transform_points(earth_from_enu(45.0, 8.0, 100.0).inverse(), ecef_from_geodetic(geodetic))
    radians = np.radians(step)
    np.testing.assert_allclose(east, (radians * (6388838.290 + 100) * np.cos(np.pi / 4), 0, 0), atol=1e-5)
    np.testing.assert_allclose(north, (0, radians * (6367381.816 + 100), 0), atol=1e-5)
    np.testing.assert_allclose(up, (0, 0, 3), atol=1e-7)
