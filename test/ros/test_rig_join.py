"""Join of the cameras of a rig: instants in order of time, whatever comes late, twice or never."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.ros.rig_join import Instant, RigJoin

FRONT, REAR = "front", "rear"
TOLERANCE_NS, WAIT = 5_000_000, 0.1


@pytest.fixture
def join() -> RigJoin:
    return RigJoin((FRONT, REAR), TOLERANCE_NS, WAIT)


def frame(index: int) -> int:
    return 1_000_000_000 + index * 100_000_000


def test_an_instant_is_over_when_all_cameras_are_there(join: RigJoin) -> None:
    assert join.add(REAR, frame(0) + 3_000_000, "r0", 0.0) == []
    assert join.add(FRONT, frame(0), "f0", 0.01) == [Instant({FRONT: "f0", REAR: "r0"}, ())]
    assert join.without == {FRONT: 0, REAR: 0}


def test_stamps_beyond_the_tolerance_are_two_instants(join: RigJoin) -> None:
    assert join.add(FRONT, frame(0), "f0", 0.0) == []
    assert join.add(REAR, frame(0) + TOLERANCE_NS + 1, "r0", 0.01) == []
    assert join.due(0.2) == [Instant({FRONT: "f0"}, (REAR,)), Instant({REAR: "r0"}, (FRONT,))]


def test_a_camera_that_is_missing_is_waited_for_three_times(join: RigJoin) -> None:
    for index in range(3):
        assert join.add(FRONT, frame(index), index, 0.2 * index) == []
        assert join.due(0.2 * index + 0.09) == []
        assert join.due(0.2 * index + 0.11) == [Instant({FRONT: index}, (REAR,))]
    assert join.add(FRONT, frame(3), 3, 1.0) == [Instant({FRONT: 3}, (REAR,))]
    assert join.without == {FRONT: 0, REAR: 4}


def test_a_camera_that_comes_back_is_waited_for_again(join: RigJoin) -> None:
    for index in range(4):
        join.add(FRONT, frame(index), index, 0.2 * index)
        join.due(0.2 * index + 0.11)
    assert join.add(REAR, frame(3), "late", 0.62) == []  # its instant was over at once
    assert join.late == {FRONT: 0, REAR: 1}
    assert join.add(FRONT, frame(4), 4, 0.8) == []
    assert join.add(REAR, frame(4), "r4", 0.85) == [Instant({FRONT: 4, REAR: "r4"}, ())]


def test_one_that_is_always_too_late_is_not_waited_for(join: RigJoin) -> None:
    for index in range(6):
        over = join.add(FRONT, frame(index), index, float(index)) + join.due(index + WAIT)
        assert over == [Instant({FRONT: index}, (REAR,))]
        assert join.add(REAR, frame(index), index, index + 2 * WAIT) == []
    assert join.add(FRONT, frame(6), 6, 6.0) == [Instant({FRONT: 6}, (REAR,))]
    assert join.late[REAR] == 6


def test_one_that_falls_silent_for_an_instant_ends_with_the_next(join: RigJoin) -> None:
    join.add(FRONT, frame(0), "f0", 0.0)
    join.add(FRONT, frame(1), "f1", 0.05)
    assert join.add(REAR, frame(1), "r1", 0.06) == [
        Instant({FRONT: "f0"}, (REAR,)),
        Instant({FRONT: "f1", REAR: "r1"}, ()),
    ]
    assert join.add(REAR, frame(0), "r0", 0.07) == []
    assert join.late[REAR] == 1


def test_after_a_jump_back_everything_begins_anew(join: RigJoin) -> None:
    join.add(FRONT, frame(9), "f9", 0.0)
    join.add(REAR, frame(9), "r9", 0.0)
    assert join.add(FRONT, frame(0), "old", 0.1) == []
    join.reset()
    join.add(FRONT, frame(1), "f1", 0.2)
    assert join.add(REAR, frame(1), "r1", 0.2) == [Instant({FRONT: "f1", REAR: "r1"}, ())]


def test_few_instants_wait(join: RigJoin) -> None:
    over = [instant for index in range(50) for instant in join.add(FRONT, frame(index), index, 0.0)]
    assert [instant.items[FRONT] for instant in over] == list(range(50))[: len(over)]
    assert len(over) >= 42


def test_images_of_one_camera_are_all_given_at_once() -> None:
    join = RigJoin(("",), 0, WAIT)
    for index in range(20):
        assert join.add("", index, index, 0.0) == [Instant({"": index}, ())]
    assert join.add("", 7, 7, 0.0) == []


@given(
    st.lists(
        st.tuples(st.sampled_from((FRONT, REAR)), st.integers(0, 12), st.floats(0, 0.3), st.integers(0, 4_000_000)),
        max_size=60,
    )
)
def test_every_item_comes_once_and_instants_in_order(arrivals: list[tuple[str, int, float, int]]) -> None:
    join, now, over = RigJoin((FRONT, REAR), TOLERANCE_NS, WAIT), 0.0, []
    for number, (camera, index, later, jitter) in enumerate(arrivals):
        now += later
        over += join.due(now)
        over += join.add(camera, frame(index) + jitter, (number, frame(index)), now)
    over += join.due(now + 1)
    numbers = [item[0] for instant in over for item in instant.items.values()]
    assert len(numbers) == len(set(numbers))
    assert len(numbers) + sum(join.late.values()) == len(arrivals)
    assert all(len({stamp for _, stamp in instant.items.values()}) == 1 for instant in over)
    stamps = [next(iter(instant.items.values()))[1] for instant in over]
    assert stamps == sorted(stamps)
