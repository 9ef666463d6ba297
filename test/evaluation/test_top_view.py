"""The picture of a trajectory is from above in every world, fills its frame, and joins wrong estimates to the truth."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.evaluation.plots import plot_trajectory
from vizloc_ros.evaluation.top_view import TopView, vertical_axis

# Axes of the world in those of a z-up one: the drive begins along the first row's 1.
WORLDS = {
    "z up": (np.eye(3), 2, 1.0),
    "y down": (np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]]), 1, -1.0),
    "y up": (np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]), 1, 1.0),
    "x up": (np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), 0, 1.0),
    "x down": (np.array([[0, 0, -1], [0, 1, 0], [1, 0, 0]]), 0, -1.0),
}


def drive(turn: float, *, down: bool = False, steps: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, rotations and landmarks of a drive to the left by an angle [deg], or of a flight that looks down."""
    heading = np.radians(np.linspace(0, turn, steps))
    ahead = np.column_stack([np.cos(heading), np.sin(heading), np.zeros(steps)])
    centers, below = np.cumsum(ahead, axis=0), np.array([0.0, 0.0, -1.0])
    axes = [(np.cross(-f, below), -f, below) if down else (np.cross(below, f), below, f) for f in ahead]
    rng = np.random.default_rng(0)
    spread = rng.normal(size=(2000, 3)) * ([9, 9, 0.5] if down else [5, 5, 5])  # a street with high houses
    return centers, np.array([np.column_stack(a) for a in axes]), centers[rng.integers(0, steps, 2000)] + spread


def moved(world: str, scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    matrix = WORLDS[world][0]
    return scene[0] @ matrix.T, matrix @ scene[1], scene[2] @ matrix.T


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(
    "scene",
    [drive(0), drive(90), drive(0, down=True), drive(360, down=True)],
    ids=["straight", "bend", "flight", "round flight"],
)
def test_the_vertical_is_found_from_the_cameras(world: str, scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    assert vertical_axis(*moved(world, scene)) == WORLDS[world][1:]


def test_a_camera_that_is_mounted_sideways_turns_about_the_vertical() -> None:
    centers, rotations, landmarks = drive(180)
    sideways = rotations @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert vertical_axis(centers, sideways, landmarks)[0] == 2


@pytest.mark.parametrize("world", WORLDS)
def test_a_turn_to_the_left_is_to_the_left_in_the_picture(world: str) -> None:
    scene = moved(world, drive(120))
    view = TopView.of(*scene)
    page = view.flat(scene[0]) * [1, -1 if view.inverted else 1]
    start, end = page[1] - page[0], page[-1] - page[-2]
    assert start[0] * end[1] - start[1] * end[0] > 0
    span = view.high - view.low
    assert span[0] >= span[1] >= 0.24 * span[0]
    assert view.shows(scene[0]).all()


@pytest.mark.parametrize("scale", [0.05, 1.0, 50.0], ids=["table", "street", "city"])
def test_the_trajectory_fills_the_frame_whatever_its_size(scale: float) -> None:
    centers, rotations, landmarks = drive(90)
    view = TopView.of(scale * centers, rotations, scale * landmarks)
    extent = np.ptp(scale * centers[:, :2], axis=0)
    assert extent.max() >= 0.5 * (view.high - view.low).max()


def test_wrong_estimates_are_joined_to_their_true_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    centers, rotations, landmarks = drive(90)
    truth = {str(i): Rigid3d(Rotation3d(r), c) for i, (r, c) in enumerate(zip(rotations, centers, strict=True))}
    estimates = {name: Rigid3d(pose.rotation, pose.translation + 0.05) for name, pose in truth.items()}
    for name, shift in (("5", [3.0, -2.0, 0.0]), ("9", [0.0, 4.0, 1.0])):
        estimates[name] = Rigid3d(truth[name].rotation, truth[name].translation + shift)
    plot_trajectory(tmp_path / "a.png", landmarks, centers, truth, estimates, rotations=rotations)
    axes = drawn[0].axes[0]
    (lines,) = (c for c in axes.collections if isinstance(c, LineCollection))
    view = TopView.of(np.concatenate([centers, centers]), rotations, landmarks)
    expected = [[view.flat(p[n].translation[None])[0] for p in (estimates, truth)] for n in ("5", "9")]
    np.testing.assert_allclose(lines.get_segments(), expected)
    assert lines.get_label() == "to the true place, beyond 0.25 m (2)"
    (dots,) = (c for c in axes.collections if c.get_label() == "keyframes")
    assert len(dots.get_offsets()) == len(centers)
