"""Ctrl-C and SIGTERM during a replay: a report of the images that were played, which says so."""

import json
import os
import signal
from pathlib import Path
from threading import Event

import pytest
from cli_helpers import Vizloc

pytest.importorskip("rclpy")

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.replay.interruption import Interruption
from vizloc_ros.replay.player import Published, PublishedImages

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@BOTH
def test_the_first_signal_ends_the_playback_and_another_one_everything(number: signal.Signals) -> None:
    stopped, before = Event(), signal.getsignal(number)
    with Interruption() as interruption:
        interruption.ends(stopped.set)
        os.kill(os.getpid(), number)
        assert stopped.wait(10)
        assert interruption.number == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


@BOTH
def test_a_signal_before_or_after_the_playback_is_no_end_of_it(number: signal.Signals) -> None:
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        interruption.ends(lambda: None)
        interruption.over()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert not interruption.number


@pytest.mark.ros
def test_an_interrupted_replay_reports_the_images_that_were_played(
    vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch, street: SyntheticStreet, street_map: VisualMap, tmp_path: Path
) -> None:
    """SIGTERM with the fifth image; all five are in the map, so recall is that of five and not of twenty."""
    write_bag(street.records("query")[:20], tmp_path / "bag")
    add = PublishedImages.add

    def add_and_interrupt(images: PublishedImages, message: Published) -> None:
        add(images, message)
        if images.count == 5 and message.topic == "/camera/image":
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(PublishedImages, "add", add_and_interrupt)
    ended = vizloc(
        "replay", tmp_path / "bag", street_map.folder, "--rate", 0.4, "--composed", "--out", tmp_path / "out"
    )
    assert ended.code == 130, ended.err
    assert "interrupted after 5 of 20 images: all figures are of the images that were played" in ended.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"] == "after 5 of 20 images"
    assert report["num_images"] == 5
    assert report["num_poses"] >= 1
    assert report["recall"]["5m_10deg"] == report["num_poses"] / 5
