"""The synthetic street as a flight in EuRoC's format: raw images of a lens, poses of a body."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import raw_image
from sfm_helpers import posed, write_image

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.geometry.poses import array_of, pose_error, pose_from_matrix
from vizloc_ros.readers import open_dataset

DISTORTION = np.array([-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05])
BODY_FROM_CAM = np.array(  # EuRoC's cam0
    [
        [0.0148655429818, -0.999880929698, 0.00414029679422, -0.0216401454975],
        [0.999557249008, 0.0149672133247, 0.025715529948, -0.064676986768],
        [-0.0257744366974, 0.00375618835797, 0.999660727178, 0.00981073058949],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def write_flight(folder: Path, records: list[Record]) -> None:
    """Write records with poses as ``mav0``."""
    camera, cam_from_body = records[0].camera, pose_from_matrix(BODY_FROM_CAM).inverse()
    images, truth = ["#timestamp [ns],filename"], ["#timestamp, p_RS_R_x [m], ..., q_RS_w [], q_RS_x [], ..."]
    for record in records:
        stamp = record.timestamp_ns
        write_image(folder / f"cam0/data/{stamp}.png", raw_image(record, DISTORTION))
        images.append(f"{stamp},{stamp}.png")
        x, y, z, qx, qy, qz, qw = array_of(posed(record) * cam_from_body).tolist()
        truth.append(f"{stamp},{x!r},{y!r},{z!r},{qw!r},{qx!r},{qy!r},{qz!r},0,0,0,0,0,0,0,0,0")
    (folder / "cam0/data.csv").write_text("\n".join(images))
    (folder / "cam0/sensor.yaml").write_text(
        f"T_BS:\n  cols: 4\n  rows: 4\n  data: {BODY_FROM_CAM.ravel().tolist()}\n"
        f"resolution: [{camera.width}, {camera.height}]\n"
        f"intrinsics: [{camera.fx!r}, {camera.fy!r}, {camera.cx!r}, {camera.cy!r}]\n"
        f"distortion_model: radial-tangential\ndistortion_coefficients: {DISTORTION.tolist()}\n"
    )
    (folder / "state_groundtruth_estimate0").mkdir()
    (folder / "state_groundtruth_estimate0/data.csv").write_text("\n".join(truth))


@pytest.fixture(scope="module")
def flight(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both laps of the street, one behind the other."""
    folder: Path = tmp_path_factory.mktemp("street")
    write_flight(folder / "mav0", street.records("map") + street.records("query"))
    return folder


def splits(flight: Path, street: SyntheticStreet) -> str:
    count, total = len(street.records("map")), len(street.records("map")) + len(street.records("query"))
    return f"euroc:{flight}?map=0-{count - 1}&query={count}-{total - 1}"


def test_poses_come_back(flight: Path, street: SyntheticStreet) -> None:
    dataset = open_dataset(splits(flight, street))
    for split in ("map", "query"):
        for record, original in zip(dataset.records(split), street.records(split), strict=True):
            distance, degrees = pose_error(posed(record), posed(original))
            assert record.timestamp_ns == original.timestamp_ns
            assert distance < 1e-6
            assert degrees < 1e-4  # the digits of the published T_BS
