import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ros_helpers import wait_until

from vizloc_ros.errors import ImageError
from vizloc_ros.ros.worker import LatestMailbox, Worker


class TestLatestMailbox:
    def test_the_newest_wins(self):
        box = LatestMailbox[str]()
        assert box.put("a") == []
        assert box.put("b") == ["a"]
        assert box.get(0) == "b"
        assert box.get(0) is None

    def test_falsy_items_are_items(self):
        box = LatestMailbox[int]()
        box.put(0)
        assert box.put(1) == [0]

    def test_get_waits_no_longer_than_asked(self):
        start = time.monotonic()
        assert LatestMailbox[int]().get(0.05) is None
        assert 0.04 < time.monotonic() - start < 5

    def test_close_wakes_who_waits_and_drops_what_is_there(self):
        box, got = LatestMailbox[int](), []
        waiting = threading.Thread(target=lambda: got.append(box.get()))
        waiting.start()
        box.close()
        waiting.join(10)
        assert got == [None]
        assert box.put(1) == [1]
        assert box.get() is None

    @given(st.lists(st.sampled_from(["put", "get"])))
    def test_each_item_is_got_dropped_or_there(self, actions):
        box, put, got, dropped = LatestMailbox[int](), [], [], []
        for number, action in enumerate(actions):
            if action == "put":
                put.append(number)
                dropped += box.put(number)
            else:
                got.append(box.get(0))
        left = box.get(0)
        kept = [number for number in (*got, left) if number is not None]
        assert kept == sorted(kept)
        assert sorted((*kept, *dropped)) == put


class Recorder:
    """Handler of numbers that blocks a worker until ``go_on`` is set."""

    def __init__(self) -> None:
        self.handled: list[int] = []
        self.errors: list[Exception] = []
        self.go_on = threading.Event()
        self.busy = threading.Event()

    def handle(self, number: int) -> None:
        self.busy.set()
        assert self.go_on.wait(10)
        if number == 13:
            raise ImageError("image 13 is black")
        self.handled.append(100 // number)


class TestWorker:
    @pytest.fixture
    def recorder(self):
        return Recorder()

    @pytest.fixture
    def worker(self, recorder):
        worker = Worker("test", recorder.handle, recorder.errors.append)
        yield worker
        recorder.go_on.set()
        assert worker.stop()

    def test_handles_the_newest_and_counts_the_others(self, worker, recorder):
        assert worker.submit(1) == []
        assert recorder.busy.wait(10)
        assert [worker.submit(number) for number in (2, 4, 5)] == [[], [2], [4]]
        recorder.go_on.set()
        wait_until(lambda: len(recorder.handled) == 2)
        assert recorder.handled == [100, 20]

    def test_survives_an_error_of_this_package(self, worker, recorder, caplog):
        recorder.go_on.set()
        worker.submit(13)
        wait_until(lambda: len(recorder.errors) == 1)
        worker.submit(50)
        wait_until(lambda: recorder.handled == [2])
        assert str(recorder.errors[0]) == "image 13 is black"
        assert not caplog.records

    def test_survives_and_logs_a_bug(self, worker, recorder, caplog):
        recorder.go_on.set()
        with caplog.at_level(logging.ERROR):
            worker.submit(0)
            wait_until(lambda: len(recorder.errors) == 1)
        worker.submit(100)
        wait_until(lambda: recorder.handled == [1])
        assert isinstance(recorder.errors[0], ZeroDivisionError)
        assert "worker 'test'" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    def test_stop_finishes_the_item_in_work_and_drops_the_waiting(self, worker, recorder):
        worker.submit(1)
        assert recorder.busy.wait(10)
        worker.submit(2)
        assert not worker.stop(timeout=0.02)
        recorder.go_on.set()
        assert worker.stop()
        assert recorder.handled == [100]
        assert worker.submit(3) == [3]
        assert recorder.handled == [100], "the waiting one is not handled"


def test_of_more_items_than_may_wait_the_oldest_are_dropped() -> None:
    box = LatestMailbox[int]()
    assert [box.put(i, max_waiting=2) for i in range(4)] == [[], [], [0], [1]]
    assert [box.get(0.01), box.get(0.01), box.get(0.01)] == [2, 3, None]
    assert [box.put(i, max_waiting=3) for i in range(4, 7)] == [[], [], []]
    assert box.put(7, max_waiting=1) == [4, 5, 6], "and all but the newest when that is all that may wait"
    box.close()
    assert box.put(8) == [8]
    assert box.get(0) is None


def test_a_slow_item_costs_none_of_those_that_come_meanwhile() -> None:
    recorder = Recorder()
    worker = Worker("test", recorder.handle, recorder.errors.append, burst=3)
    try:
        worker.submit(1)
        assert recorder.busy.wait(10)
        assert [worker.submit(number) for number in (2, 4, 5, 10)] == [[], [], [], [2]]
        recorder.go_on.set()
        wait_until(lambda: recorder.handled == [100, 25, 20, 10])
    finally:
        recorder.go_on.set()
        assert worker.stop()


def test_work_that_cannot_keep_up_lets_only_the_newest_wait() -> None:
    """Else each item would wait for as long as many items take."""
    go_on, handled = threading.Event(), list[int]()

    def handle(number: int) -> None:
        time.sleep(0.05)
        assert go_on.wait(10)
        handled.append(number)

    go_on.set()
    worker = Worker("test", handle, lambda error: None, burst=50)
    try:
        for number in range(10):  # one after the other
            worker.submit(number)
            wait_until(lambda number=number: number in handled)
        go_on.clear()
        for number in range(10, 50):  # all at once: more than a bunch
            worker.submit(number)
        go_on.set()
        wait_until(lambda: 49 in handled)
    finally:
        go_on.set()
        assert worker.stop()
    assert len(handled) <= 12, "of the forty, those that were in work and the newest"
