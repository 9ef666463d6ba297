"""Choice among the records of several cameras."""

from vizloc_ros.datasets.record import every, of_first_camera
from vizloc_ros.datasets.synthetic import open_synthetic

RECORDS = open_synthetic("length=12&cameras=front,rear").records("query")


def test_every_nth_is_of_each_camera() -> None:
    cameras = [record.mounting.camera for record in every(RECORDS, 3)]
    assert cameras.count("front") == cameras.count("rear") == len(RECORDS) // 6


def test_the_first_camera_has_every_instant_once() -> None:
    chosen = of_first_camera(RECORDS)
    assert {record.mounting.camera for record in chosen} == {"front"}
    assert [record.timestamp_ns for record in chosen] == sorted({record.timestamp_ns for record in RECORDS})
    assert of_first_camera(chosen) == chosen
    assert of_first_camera([]) == []
