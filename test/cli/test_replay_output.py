"""Output of a replay and of the demo: four figures first, then reasons; the figures of all stages on request."""

import io
from typing import Any

import pytest
from rich.console import Console

from vizloc_ros.cli.replay import print_replay

REPORT: dict[str, Any] = {
    "num_images": 317,
    "interrupted": "",
    "num_poses": 311,
    "recall": {"0.25m_2deg": 0.9811, "0.5m_5deg": 0.9811, "5m_10deg": 0.9811},
    "median_translation_m": 0.0154,
    "median_rotation_deg": 0.0558,
    "num_processed": 315,
    "processed_hz": 9.96,
    "dropped": 2,
    "latency_ms": {"p50": 53.8, "p99": 319.2},
    "timings_ms": {"align": {"p50": 10.9, "p99": 29.6}},
    "localizer": {"num_images": 16, "num_poses": 14, "recall": {"0.5m_5deg": 0.875}, "median_translation_m": 0.0017},
    "reasons": {"pixloc_tracker: no pose to start from yet": 4},
    "warnings": {},
    "notes": [],
    "truth": "",
}


def shown(stages: bool = False, **changes: Any) -> str:
    console = Console(width=140, file=io.StringIO(), record=True)
    print_replay(console, {**REPORT, **changes}, stages)
    return console.export_text()


def cells(text: str) -> dict[str, str]:
    rows = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in text.splitlines() if "│" in line]
    return {row[0]: row[1] for row in rows}


def test_four_figures_come_first() -> None:
    assert cells(shown()) == {
        "images right": "98.1 % of 317 within 0.5 m, 5 deg",
        "median error": "0.015 m, 0.056 deg",
        "rate": "10.0 images a second, 2 dropped",
        "latency": "54 ms, 99 % within 319 ms",
    }
    text = shown()
    assert "     4  pixloc_tracker: no pose to start from yet" in text
    assert "2 of 317 images were dropped" in text


def test_an_interruption_is_said() -> None:
    assert "interrupted" not in shown(stages=True)
    text = shown(interrupted="after 317 of 500 images")
    assert "interrupted after 317 of 500 images: all figures are of the images that were played" in text


def test_stages_are_shown_on_request() -> None:
    assert "align" not in shown()
    text = shown(stages=True)
    assert cells(text)["timings [ms]: align"] == "p50 10.9, p99 29.6"
    assert cells(text)["localizer: images"] == "16"
    assert cells(text)["localizer: recall: 0.5 m, 5 deg"] == "87.5 %"


@pytest.mark.parametrize("stages", [False, True])
def test_without_ground_truth_and_without_poses(stages: bool) -> None:
    none = {"recall": {}, "median_translation_m": None, "median_rotation_deg": None}
    table = cells(shown(stages, **none))
    assert table["images right"] == "311 of 317 with a pose; no ground truth"
    assert table["median error"] == "-"
    text = shown(stages, **none, num_poses=0, processed_hz=None, latency_ms=None, dropped=0)
    assert cells(text)["rate"] == "-, 0 dropped"
    assert cells(text)["latency"] == "-"
    assert "None of 317 images got a pose." in text
