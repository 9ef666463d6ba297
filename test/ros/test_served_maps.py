"""Announcement of the map server's map, and its answers, without nodes."""

import pytest
from std_msgs.msg import String

from vizloc_ros.errors import RosError
from vizloc_ros.ros.served_map import SERVED, ServedMap, _from_msg, _to_msg
from vizloc_ros.timing import NANOSECONDS

pytestmark = pytest.mark.ros


def test_poses_up_to_the_change_are_of_the_map_before() -> None:
    served = ServedMap(number=7, path="/maps/b", since_ns=100 * NANOSECONDS)
    seconds = (99.0, 100.0, 100.0001, 101.0)
    assert [served.is_of_map_before(int(at * NANOSECONDS)) for at in seconds] == [True, True, False, False]
    assert not served.is_of_map_before(80 * NANOSECONDS), "a bag has started over"
    assert not ServedMap(number=7, path="/maps/b").is_of_map_before(0), "there was no map before"


def test_an_announcement_survives_the_message() -> None:
    served = ServedMap(number=2**32 - 1, path='/maps/ä "b"\n', since_ns=5)
    assert _from_msg(ServedMap, _to_msg(served), SERVED) == served


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"number": 1}',
        '{"number": -1, "path": "/a"}',
        '{"number": 4294967296, "path": "/a"}',
        '{"number": 1, "path": ""}',
        '{"number": 1, "path": "/a", "more": 1}',
        '{"number": 1, "path": "' + 5000 * "a" + '"}',
        '{"number": 1, "path": "/a", "since_ns": 1e400}',
        "[" * 9000,
        100_000 * " ",
    ],
)
def test_other_texts_are_refused_in_one_short_line(text: str) -> None:
    with pytest.raises(RosError, match=r"^message on map/served is none of") as raised:
        _from_msg(ServedMap, String(data=text), SERVED)
    assert len(str(raised.value)) < 200
