"""Benchmarks measure the intended quantities: the bare network, and descriptors that were not rounded."""

from pathlib import Path

import numpy as np
import pytest
from repository import REPOSITORY

from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import dequantize
from vizloc_ros.mapping import map_writer


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
