"""Roll of a camera against the keyframes around it, whatever the frame of the map."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.geometry.poses import array_of
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls


def heading(degrees: float, x: float = 0.0) -> Rigid3d:
    """Upright camera in a world whose y axis points down, as its own does."""
    return Rigid3d(Rotation3d(np.array([0, np.radians(degrees), 0])), np.array([x, 0, 0]))


@pytest.fixture(params=[0, 1, 2], ids=["y down", "z up", "tilted"])
def map_from_world(request: pytest.FixtureRequest) -> Rigid3d:
    rotation = np.array([[0.0, 0, 0], [-np.pi / 2, 0, 0], [0.4, -1.0, 2.0]][request.param])
    return Rigid3d(Rotation3d(rotation), np.array([5.0, -3.0, 2.0]))


def rolls(map_from_world: Rigid3d, keyframes: list[Rigid3d]) -> KeyframeRolls:
    return KeyframeRolls(np.stack([array_of(map_from_world * keyframe) for keyframe in keyframes]))


@pytest.mark.parametrize("roll", Roll)
@pytest.mark.parametrize("yaw", [0.0, 40.0, 200.0])
def test_rolls_are_those_against_the_keyframes_of_the_same_direction(
    map_from_world: Rigid3d, roll: Roll, yaw: float
) -> None:
    """Keyframes of both directions of a street, of another camera that is upside down."""
    street = [heading(yaw + turn + there, i) for i in range(8) for there in (0, 180) for turn in (-20, 20)]
    camera = map_from_world * heading(yaw, 3.4) * roll.upright_from_cam
    assert rolls(map_from_world, street).roll_of(camera) is roll
    upside_down = [keyframe * Roll.UPSIDE_DOWN.upright_from_cam for keyframe in street]
    against = {
        Roll.NONE: Roll.UPSIDE_DOWN,
        Roll.UPSIDE_DOWN: Roll.NONE,
        Roll.CLOCKWISE: Roll.COUNTERCLOCKWISE,
        Roll.COUNTERCLOCKWISE: Roll.CLOCKWISE,
    }
    assert rolls(map_from_world, upside_down).roll_of(camera) is against[roll]


def test_sideways_keyframes_of_both_directions_do_not_cancel(map_from_world: Rigid3d) -> None:
    street = [heading(yaw, i) * Roll.CLOCKWISE.upright_from_cam for i in range(8) for yaw in (0, 180)]
    found = rolls(map_from_world, street)
    assert found.roll_of(map_from_world * heading(10, 2)) is Roll.COUNTERCLOCKWISE
    assert found.roll_of(map_from_world * heading(190, 2) * Roll.CLOCKWISE.upright_from_cam) is Roll.NONE


def test_one_keyframe_is_enough_and_none_in_the_direction_is_no_roll() -> None:
    found = rolls(Rigid3d(), [heading(0)])
    assert found.roll_of(heading(0) * Roll.UPSIDE_DOWN.upright_from_cam) is Roll.UPSIDE_DOWN
    assert found.roll_of(heading(180) * Roll.UPSIDE_DOWN.upright_from_cam) is Roll.NONE
