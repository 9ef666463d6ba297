import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vizloc_ros.ros.stamp_guard import StampGuard, Verdict
from vizloc_ros.ros.stamp_join import StampJoin

CHANNELS = ("features", "camera_info", "candidates")
SECOND = 1_000_000_000


class TestStampJoin:
    def test_gives_out_what_belongs_together(self):
        join = StampJoin(CHANNELS)
        assert join.add("candidates", 5, "c5") is None
        assert join.add("features", 5, "f5") is None
        assert join.add("features", 6, "f6") is None
        assert join.add("camera_info", 5, "i5") == ("f5", "i5", "c5")
        assert sum(join.dropped.values()) == 0

    def test_an_older_incomplete_stamp_is_given_up_for_a_newer_complete_one(self):
        join = StampJoin(("features", "candidates"))
        join.add("features", 1, "f1")
        join.add("features", 2, "f2")
        assert join.add("candidates", 2, "c2") == ("f2", "c2")
        assert join.dropped == {"features": 0, "candidates": 1}
        assert join.add("candidates", 1, "c1") is None

    def test_the_oldest_is_given_up_when_too_many_wait(self):
        join = StampJoin(("features", "candidates"), depth=2)
        for stamp in (1, 2, 3):
            join.add("features", stamp, stamp)
        assert join.dropped == {"features": 0, "candidates": 1}
        assert join.add("candidates", 2, 2) == (2, 2)

    def test_reset_lets_time_start_over(self):
        join = StampJoin(("features", "candidates"))
        join.add("features", 9, "f9")
        join.reset()
        assert join.add("features", 1, "f1") is None
        assert join.add("candidates", 1, "c1") == ("f1", "c1")

    def test_unknown_channel(self):
        with pytest.raises(KeyError, match="feature"):
            StampJoin(CHANNELS).add("feature", 1, None)

    def test_threads_lose_nothing(self):
        """Each thread delivers one channel of the same stamps; with room for all, each stamp must be returned once."""
        count, join, joined = 2000, StampJoin(CHANNELS, depth=4000), []

        def deliver(channel: str) -> None:
            for stamp in range(count):
                messages = join.add(channel, stamp, (channel, stamp))
                if messages is not None:
                    joined.append(messages)

        threads = [threading.Thread(target=deliver, args=(channel,)) for channel in CHANNELS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(messages == tuple((c, messages[0][1]) for c in CHANNELS) for messages in joined)
        # Each channel is in order, so a stamp cannot complete before an older one: none is given up.
        assert len(joined) == count
        assert sum(join.dropped.values()) == 0

    @given(
        st.lists(st.tuples(st.sampled_from(CHANNELS), st.integers(0, 6)), max_size=40),
        st.integers(1, 4),
    )
    def test_equals_a_search_through_all_messages(self, arrivals, depth):
        join = StampJoin(CHANNELS, depth)
        ours = [join.add(channel, stamp, index) for index, (channel, stamp) in enumerate(arrivals)]
        expected, dropped = brute_force(arrivals, depth)
        assert ours == expected
        assert join.dropped == dropped


def brute_force(arrivals, depth):
    """Rules of StampJoin, applied to all messages so far at each step."""
    outputs, finished = [], set()  # finished: stamps given out or given up
    dropped = dict.fromkeys(CHANNELS, 0)
    horizon, accepted = -1, []

    def there(stamp):
        return {channel: index for channel, of, index in accepted if of == stamp}

    for index, (channel, stamp) in enumerate(arrivals):
        outputs.append(None)
        if stamp <= horizon:
            continue
        accepted.append((channel, stamp, index))
        waiting = sorted({of for _, of, _ in accepted} - finished)
        if len(there(stamp)) == len(CHANNELS):
            outputs[-1] = tuple(there(stamp)[name] for name in CHANNELS)
            horizon = stamp
        elif len(waiting) > depth:
            horizon = waiting[0]
        for old in waiting:
            if old <= horizon:
                finished.add(old)
                for name in set(CHANNELS) - set(there(old)):
                    dropped[name] += 1
    return outputs, dropped


class TestStampGuard:
    @pytest.mark.parametrize(
        ("stamps", "verdict", "message"),
        [
            ([5 * SECOND, 6 * SECOND], Verdict.OK, ""),
            ([5 * SECOND, 5 * SECOND], Verdict.OUT_OF_ORDER, "stamp of the one before"),
            ([5 * SECOND, 4 * SECOND + 1], Verdict.OUT_OF_ORDER, "image 1000.0 ms older"),
            ([5 * SECOND, 4 * SECOND], Verdict.JUMPED_BACK, "back by 1.0 s"),
            ([5 * SECOND, 0], Verdict.UNSTAMPED, "header.stamp"),
            ([-SECOND], Verdict.UNSTAMPED, "header.stamp"),
        ],
    )
    def test_verdicts(self, stamps, verdict, message):
        guard = StampGuard()
        results = [guard.check(stamp) for stamp in stamps]
        assert results[-1].verdict is verdict
        assert message in results[-1].message
        assert results[-1].ok == (verdict is Verdict.OK)

    def test_goes_on_after_a_bag_started_over(self):
        guard = StampGuard()
        verdicts = [guard.check(stamp * SECOND).verdict for stamp in (50, 51, 10, 11, 12)]
        assert verdicts == [Verdict.OK, Verdict.OK, Verdict.JUMPED_BACK, Verdict.OK, Verdict.OK]

    @given(st.lists(st.integers(1, 4 * SECOND)))
    def test_accepted_stamps_only_rise_between_jumps(self, stamps):
        guard, newest = StampGuard(), None
        for stamp in stamps:
            result = guard.check(stamp)
            if newest is None or stamp > newest:
                assert result.ok
            else:
                jumped = newest - stamp >= SECOND
                assert result.verdict is (Verdict.JUMPED_BACK if jumped else Verdict.OUT_OF_ORDER)
            if result.verdict is not Verdict.OUT_OF_ORDER:
                newest = stamp

    def test_one_stamp_far_ahead_costs_one_image(self):
        guard = StampGuard()
        stamps = [10.0, 10.1, 3610.0, 10.2, 10.3, 3610.4, 10.4]
        verdicts = [guard.check(round(stamp * SECOND)).verdict for stamp in stamps]
        assert [verdict is Verdict.OK for verdict in verdicts] == [True, True, False, True, True, False, True]
        assert verdicts[2] is Verdict.AHEAD

    def test_a_pause_costs_one_image_and_a_slow_camera_none(self):
        guard = StampGuard()
        stamps = [10.0, 10.1, 60.0, 60.1, 60.2, 100.0, 110.0, 120.0, 130.0, 139.0]
        verdicts = [guard.check(round(stamp * SECOND)).verdict for stamp in stamps]
        assert [k for k, verdict in enumerate(verdicts) if verdict is not Verdict.OK] == [2, 5]
