"""Benchmarks measure the intended: the bare network, descriptors that were not rounded, a map that localizes."""

from pathlib import Path

import numpy as np
import pytest
from repository import REPOSITORY

from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import dequantize
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping import map_writer
from vizloc_ros.mapping.check import check_map
from vizloc_ros.mapping.visual_map import VisualMap


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))


def test_the_network_is_cut_where_its_heads_end(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from hfnet_helpers import SMALL, exported, small_network, tensor, texture
    from network_cut import BARE, SAMPLED, STAGES, CutNetwork

    network, image = small_network(), texture(0)
    cut = CutNetwork(exported(tmp_path, network, half=False))
    found = {stage: cut.session(stage, Device(threads=1)).run(None, {"image": image[None, None]}) for stage in STAGES}
    logits, dense, global_descriptor = found[BARE]
    with torch.no_grad():
        local, deep = network.backbone(tensor(image).float())
        expected = (network.detector(local), network.descriptor(local), network.global_head(deep)[0])
    for value, wanted in zip(found[BARE], expected, strict=True):
        assert value == pytest.approx(wanted.numpy(), rel=1e-3, abs=1e-3)
    assert (logits.shape[1], dense.shape[1], len(global_descriptor)) == (65, SMALL.descriptor_dimension, 12)
    assert [len(outputs) for outputs in found.values()] == [3, 5, 6, 5]
    keypoints, offsets, scores, *_ = found[SAMPLED]
    assert np.array_equal(list(found.values())[2][3], keypoints)
    assert np.array_equal(list(found.values())[2][5], offsets)
    assert np.array_equal(list(found.values())[1][4], scores)


def test_descriptors_are_rounded_only_where_they_should_be() -> None:
    from quantization import descriptors_as

    extractor = open_extractor("rootsift")
    image = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)
    with descriptors_as("float32"):
        exact = extractor.extract(image).descriptors
        assert map_writer.ARRAYS["observation_descriptors"][0] is np.float32
    with descriptors_as("int8"):
        rounded = extractor.extract(image).descriptors
    assert map_writer.ARRAYS["observation_descriptors"][0] is np.int8
    assert (exact.dtype, rounded.dtype) == (np.float32, np.int8)
    assert np.abs(127 * exact - rounded).max() <= 0.5 + 1e-4
    assert np.linalg.norm(exact, axis=1) == pytest.approx(1, abs=1e-5)
    assert (dequantize(exact) * dequantize(rounded)).sum(axis=1).min() > 0.99


def test_queries_localize_in_the_simulated_map_and_only_there(tmp_path: Path) -> None:
    from simulated_map import CAMERAS, Size, Street, foreign_query, simulated_query

    size, rng = Size(stops=40, landmarks=12_000, global_descriptor=64), np.random.default_rng(0)
    street = Street(size)
    street.write(tmp_path / "map")
    check_map(tmp_path / "map")
    visual_map = VisualMap.open(tmp_path / "map")
    assert (visual_map.info.keyframes, visual_map.info.landmarks) == (120, 12_000)
    assert tuple(visual_map.info.cameras) == CAMERAS
    assert visual_map.info.observations == pytest.approx(size.track_length * size.landmarks, rel=0.1)
    assert np.array_equal(visual_map.landmarks_of(64), street.landmarks_of(64))
    localizer = HierarchicalLocalizer(visual_map)
    for keyframe in (10, 59, 87):
        features, camera, truth = simulated_query(visual_map, keyframe, keypoints=700, matching=300, wrong=0.4, rng=rng)
        pose = localizer.localize(features, camera).pose
        assert pose is not None
        meters, degrees = pose_error(pose.map_from_cam, truth)
        assert meters < 0.05
        assert degrees < 0.2
    assert localizer.localize(*foreign_query(visual_map, keypoints=700, rng=rng)).pose is None
