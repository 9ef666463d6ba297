"""A GNSS fix as a search area: where it is in the map, what is not used, and how a wrong one is given up."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef
from vizloc_ros.localization.gnss_area import NONE, USED, GnssArea

NOW = 1_000_000_000_000
SECOND = 1_000_000_000
# On the equator at 90 degrees east: a degree of longitude is 111319.49 m, one of latitude 110574.3 m.
FIX = GnssFix(NOW, 0.0, 90.0 + 20 / 111_319.49, 0.0, (2.0, 1.0, 4.0))
ENU = earth_from_enu(0, 90, 0)
# The fix is 20 m east of the origin, with a minimum error of 5 m: the circle has a radius of 15 m.
HERE, ELSEWHERE = np.array([20.0, 0.0, 0.0]), np.array([20.0, 80.0, 0.0])


def area_of(fix: GnssFix | None = FIX, earth_from_map: Rigid3d | None = ENU) -> GnssArea:
    gnss = GnssArea(earth_from_map, min_error=5.0, max_speed=20.0)
    gnss.add_fix(fix)
    return gnss


def held(gnss: GnssArea, *positions: tuple[float, float, float], at: int = NOW) -> list[bool]:
    area = gnss.at(at)
    assert area is not None, gnss.state
    return area.within(np.array(positions)).tolist()  # type: ignore[no-any-return]


def test_the_area_by_hand() -> None:
    assert held(area_of(), (34.9, 0, 0), (35.1, 0, 0), (20, 14.9, 300), (20, -15.1, 0)) == [True, False, True, False]
    wide = replace(FIX, std_m=(6.0, 8.0, 1.0))  # DRMS 10 m
    assert held(area_of(wide), (49.9, 0, 0), (50.1, 0, 0)) == [True, False]


def test_it_grows_as_fast_as_the_vehicle_may_drive() -> None:
    for late in (-SECOND, SECOND):
        assert held(area_of(), (54.9, 0, 0), (55.1, 0, 0), at=NOW + late) == [True, False]


def test_a_map_with_other_axes() -> None:
    """The axes of a camera: x east, y down, z north."""
    enu_from_map = Rigid3d(Rotation3d(np.array([-np.pi / 2, 0, 0])), np.zeros(3))
    gnss = area_of(earth_from_map=ENU * enu_from_map)
    assert held(gnss, (20, -300, 14.9), (20, 0, 15.1), (34.9, 300, 0)) == [True, False, True]


@pytest.mark.parametrize("altitude", [np.nan, np.inf, 1e300])
def test_without_an_altitude_it_is_that_of_the_map(altitude: float) -> None:
    assert held(area_of(replace(FIX, altitude=altitude)), (34.9, 0, 0), (35.1, 0, 0)) == [True, False]


@given(
    st.floats(-80, 80),
    st.floats(-180, 180),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-3000, 3000)] * 2),
    st.floats(0, 2 * np.pi),
)
def test_it_holds_what_is_within_three_errors_on_the_ground(
    latitude: float, longitude: float, turn: tuple[float, ...], place: tuple[float, float], direction: float
) -> None:
    """Wherever the map is, and whatever its axes are."""
    earth_from_map = earth_from_enu(latitude, longitude, 100.0) * Rigid3d(Rotation3d(np.array(turn)), np.zeros(3))
    enu_from_fix = np.array([*place, 0.0])
    earth_from_origin = earth_from_enu(latitude, longitude, 100.0)
    fix = GnssFix(NOW, *geodetic_from_ecef(earth_from_origin * enu_from_fix), std_m=(10.0, 0.1, 1.0))
    away = np.array([np.cos(direction), np.sin(direction), 0.0])
    inside, outside = (
        earth_from_map.inverse() * (earth_from_origin * (enu_from_fix + distance * away)) for distance in (29.9, 30.2)
    )
    assert held(area_of(fix, earth_from_map), tuple(inside), tuple(outside)) == [True, False]


@pytest.mark.parametrize(
    ("fix", "earth_from_map", "reason"),
    [
        (FIX, None, "the map has no datum"),
        (None, ENU, "the receiver has no position"),
        (replace(FIX, std_m=None), ENU, "its position_covariance is unknown"),
        (replace(FIX, std_m=(60.0, 80.1, 1.0)), ENU, "its error is 100 m"),
        (replace(FIX, std_m=(np.inf, 1.0, 1.0)), ENU, "its error is inf m"),
        (replace(FIX, timestamp_ns=NOW - 4 * SECOND), ENU, "it is 4.0 s older than the image"),
        (replace(FIX, timestamp_ns=NOW + 4 * SECOND), ENU, "it is 4.0 s newer than the image"),
    ],
)
def test_what_is_not_used_says_why(fix: GnssFix | None, earth_from_map: Rigid3d | None, reason: str) -> None:
    gnss = area_of(fix, earth_from_map)
    assert gnss.at(NOW) is None
    assert gnss.state == f"not used: {reason}"


def test_without_a_fix_there_is_nothing_to_say() -> None:
    gnss = GnssArea(ENU, min_error=5.0, max_speed=20.0)
    assert gnss.at(NOW) is None
    assert gnss.state == NONE


def test_a_verified_pose_elsewhere_is_believed_while_it_is_recent() -> None:
    gnss = area_of()
    gnss.add_pose(ELSEWHERE, NOW)
    assert gnss.at(NOW) is None
    assert gnss.state == "not used: it is 80 m off"
    gnss.add_pose(HERE, NOW)
    assert gnss.at(NOW) is not None
    assert gnss.state == USED
    gnss.add_pose(ELSEWHERE, NOW - 6 * SECOND)
    assert gnss.at(NOW) is not None


def test_a_pose_of_another_moment_may_be_as_far_as_the_vehicle_drives() -> None:
    gnss = area_of()
    gnss.add_pose(ELSEWHERE, NOW - 4 * SECOND)  # 80 m at 20 m/s
    assert gnss.at(NOW) is not None


def test_without_a_pose_in_it_the_whole_map_is_searched_in_turn() -> None:
    """By twos: hfnet may turn every second image otherwise, and both must meet the whole map."""
    gnss = area_of()
    assert all(gnss.at(NOW) is not None for _ in range(10))
    assert [gnss.at(NOW) is not None for _ in range(9)] == [False, False, True, True] * 2 + [False]
    assert gnss.state == "used in turn with the whole map: 10 images had no pose near it"
    gnss.add_pose(HERE, NOW)
    assert all(gnss.at(NOW) is not None for _ in range(10))
    gnss.add_pose(HERE, NOW - 6 * SECOND)  # long ago
    assert [gnss.at(NOW) is not None for _ in range(12)].count(False) > 0
