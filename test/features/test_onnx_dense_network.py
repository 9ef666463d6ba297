"""Networks with dense outputs as extractors: how a file is read, keypoints, descriptors, errors, and real teachers."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from repository import DATA

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.onnx_dense_network import DenseMaps, DenseNetwork, DenseNetworkConfig, sample_dense_descriptors
from vizloc_ros.features.onnx_features import NMS_RADIUS, OnnxFeatures, local_maxima, refine
from vizloc_ros.features.types import dequantize
from vizloc_ros.mapping.map_format import ExtractorInfo, MapInfo
from vizloc_ros.mapping.visual_map import open_map_extractor

onnx = pytest.importorskip("onnx", reason="onnx is not installed: make setup")
from onnx_helpers import DETECTORS, DUSTBIN, KERNELS, RELIABILITY, SLOPE, STRIDE, write_network  # noqa: E402

pytestmark = pytest.mark.e2e

TEACHERS = DATA.parent / "teachers"


@pytest.fixture(scope="module")
def network_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("network") / "tiny.onnx", DETECTORS["probability"])


def texture(seed: int, size: tuple[int, int] = (160, 120)) -> UInt8:
    noise = np.random.default_rng(seed).normal(size=(size[1], size[0]))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def padded(image: UInt8) -> Float32:
    """Input of the networks here: 0 to 1, the last row and column repeated up to a multiple of 32."""
    height, width = image.shape
    return np.pad(image, ((0, -height % 32), (0, -width % 32)), mode="edge").astype(np.float32) / 255


def softmax_of_cells(bright: Float32) -> Float32:
    """Pixel by pixel, the slow way."""
    chances = np.empty_like(bright)
    for row in range(0, len(bright), 8):
        for column in range(0, bright.shape[1], 8):
            cell = np.exp(SLOPE * bright[row : row + 8, column : column + 8])
            chances[row : row + 8, column : column + 8] = cell / (cell.sum() + np.exp(DUSTBIN))
    return chances


EXPECTED = {
    "probability": lambda gray: gray,
    "logit": lambda gray: SLOPE * gray - DUSTBIN,
    "cells": softmax_of_cells,
}


def dots(*positions: tuple[int, int]) -> UInt8:
    """A dark image of 100 x 70 with dots at pixels (x, y), the brightest first."""
    image = np.full((70, 100), 20, np.uint8)
    for i, (x, y) in enumerate(positions):
        image[y, x] = 250 - 30 * i
    return image


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_kind_of_detector_is_recognised_and_read(kind: str, tmp_path: Path) -> None:
    network = DenseNetwork(write_network(tmp_path / "tiny.onnx", DETECTORS[kind]))
    image = texture(1, (100, 70))
    maps = network.maps(image)
    assert (maps.kind, maps.stride) == (kind, STRIDE)
    assert maps.descriptors.shape == (len(KERNELS), 96 // STRIDE, 128 // STRIDE)
    np.testing.assert_allclose(maps.scores, EXPECTED[kind](padded(image))[:70, :100], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", DETECTORS)
def test_keypoints_are_where_the_dots_are(kind: str, tmp_path: Path) -> None:
    positions = ((40, 30), (9, 50), (70, 12))
    path = write_network(tmp_path / "tiny.onnx", DETECTORS[kind])
    settings = {"path": path, "threshold": 0.2, "subpixel": False}
    features = OnnxFeatures.open(settings, None).extract(dots(*positions, (3, 30), (97, 3)))
    np.testing.assert_array_equal(features.keypoints, positions, "the two at the border are dropped")
    assert features.image_size == (100, 70)
    x, y = np.transpose(positions)
    expected = EXPECTED[kind](padded(dots(*positions)))[y, x]
    np.testing.assert_allclose(features.scores, expected, rtol=1e-4)
    assert len(OnnxFeatures.open({"path": path, "max_keypoints": 2}, None).extract(dots(*positions))) == 2


def test_reliability_is_multiplied_in(tmp_path: Path) -> None:
    network = DenseNetwork(write_network(tmp_path / "tiny.onnx", DETECTORS["cells"], RELIABILITY))
    image = np.full((64, 64), 128, np.uint8)
    image[:, 32:] = 0
    maps, gray = network.maps(image), padded(image)
    chances = softmax_of_cells(gray)
    np.testing.assert_allclose(maps.scores[:, :24], chances[:, :24] * gray[:, :24], rtol=1e-4)
    assert maps.scores[:, 40:].max() == 0
    halfway = maps.scores[30, 28:36] / chances[30, 28:36]
    np.testing.assert_allclose(halfway, 128 / 255 * (7.5 - np.arange(8)) / 8, rtol=1e-4)


def test_colours_are_given_in_the_order_of_the_network(tmp_path: Path) -> None:
    network = DenseNetwork(write_network(tmp_path / "tiny.onnx", DETECTORS["probability"], channels=3))
    blue_green_red = np.full((32, 32, 3), (10, 20, 30), np.uint8)
    np.testing.assert_allclose(network.maps(blue_green_red).scores, 30 / 255, rtol=1e-6)
    np.testing.assert_allclose(network.maps(blue_green_red[..., 1]).scores, 20 / 255, rtol=1e-6)


def test_a_gray_network_sees_colours_as_gray(network_path: Path) -> None:
    colours = cv2.applyColorMap(texture(2), cv2.COLORMAP_JET)
    network = DenseNetwork(network_path)
    gray = cv2.cvtColor(colours, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(network.maps(colours).scores, network.maps(gray).scores)


def test_the_configuration_says_what_the_names_do_not(tmp_path: Path) -> None:
    path = write_network(tmp_path / "tiny.onnx", *(DETECTORS[kind] for kind in ("probability", "logit")))
    with pytest.raises(ConfigError, match=r"tiny\.onnx: its scores cannot be told .*scores \[.*score_logits \["):
        DenseNetwork(path)
    config = DenseNetworkConfig(scores="scores", score_kind="logit", score_offset=-3.0, value_range=255.0)
    maps = DenseNetwork(path, config).maps(np.full((32, 32), 7, np.uint8))
    np.testing.assert_allclose(maps.scores, 4.0, rtol=1e-6)


@pytest.mark.parametrize("kind", DETECTORS)
def test_odds_are_those_of_the_probabilities(kind: str, tmp_path: Path) -> None:
    image = texture(3, (96, 64)) // 3
    gray = padded(image)
    odds = DenseNetwork(write_network(tmp_path / "tiny.onnx", DETECTORS[kind])).maps(image).odds
    if kind == "probability":
        np.testing.assert_allclose(odds, gray / (1 - gray), rtol=1e-5)
    else:  # against the dustbin, or against nothing: the same here
        np.testing.assert_allclose(odds, np.exp(SLOPE * gray - DUSTBIN), rtol=1e-4)


def test_sampling_is_bilinear_between_the_centres_of_the_blocks(network_path: Path) -> None:
    image = texture(4, (100, 70))
    points = np.random.default_rng(5).uniform(0, (99, 69), (200, 2)).astype(np.float32)
    points[:4] = ((0, 0), (99, 0), (99, 69), (1.5, 1.5))  # corners, and the centre of a block
    gray = padded(image)
    rows, columns = len(gray) // STRIDE, gray.shape[1] // STRIDE
    blocks = gray.reshape(rows, STRIDE, columns, STRIDE)
    dense = np.einsum("yixj,dij->dyx", blocks, KERNELS[:, 0])
    expected = []
    for x, y in (points + 0.5) / STRIDE - 0.5:
        x, y = min(max(x, 0), columns - 1), min(max(y, 0), rows - 1)
        total = sum(
            dense[:, r, c] * max(0, 1 - abs(x - c)) * max(0, 1 - abs(y - r))
            for r in range(rows)
            for c in range(columns)
        )
        expected.append(total / np.linalg.norm(total))
    np.testing.assert_allclose(DenseNetwork(network_path).maps(image).sample(points), expected, atol=2e-5)


def test_sampling_survives_one_cell_and_no_point() -> None:
    one = np.arange(1, 17, dtype=np.float32).reshape(16, 1, 1)
    expected = one.ravel() / np.linalg.norm(one)
    np.testing.assert_allclose(
        sample_dense_descriptors(one, np.array([[3.0, 30.0]], np.float32), 32.0)[0], expected, rtol=1e-6
    )
    assert sample_dense_descriptors(one, np.zeros((0, 2), np.float32), 32.0).shape == (0, 16)


def test_local_maxima_are_those_of_a_search_of_every_pixel() -> None:
    scores = np.random.default_rng(6).random((60, 80)).astype(np.float32)
    r = NMS_RADIUS
    expected = [
        (scores[y, x], x, y)
        for y in range(r, 60 - r)
        for x in range(r, 80 - r)
        if scores[y, x] == scores[y - r : y + r + 1, x - r : x + r + 1].max() and scores[y, x] > 0.97
    ]
    assert len(expected) > 10
    ordered = [[x, y] for _, x, y in sorted(expected, reverse=True)]
    np.testing.assert_array_equal(local_maxima(scores, 1000, 0.97), ordered)
    np.testing.assert_array_equal(local_maxima(scores, 5, 0.97), ordered[:5])


@pytest.mark.parametrize("kind", ["probability", "logit"])
def test_refinement_finds_the_top_of_a_hill(kind: str) -> None:
    tops = np.array([[20.3, 15.8], [40.0, 30.45], [9.51, 28.7]])
    y, x = np.mgrid[:50, :60]
    squared = (x - tops[:, 0, None, None]) ** 2 + (y - tops[:, 1, None, None]) ** 2
    logits = (-0.4 * squared).max(axis=0).astype(np.float32)
    scores = logits if kind == "logit" else np.exp(logits)
    maps = DenseMaps(scores, kind, np.zeros((16, 1, 1), np.float32), 64.0)
    np.testing.assert_allclose(refine(maps, np.round(tops).astype(np.int64)), tops, atol=1e-4)


def test_an_image_without_keypoints_has_empty_features(network_path: Path) -> None:
    for image in (np.zeros((40, 40), np.uint8), np.full((6, 6), 200, np.uint8)):
        features = OnnxFeatures.open({"path": network_path}, None).extract(image)
        assert features.descriptors.shape == (0, len(KERNELS))


@pytest.fixture(scope="module")
def learned(network_path: Path) -> OnnxFeatures:
    extractor = open_extractor(str(network_path), {"words": 8, "dimension": 16, "max_keypoints": 200})
    assert isinstance(extractor, OnnxFeatures)
    return extractor.learn([extractor.extract(texture(seed)) for seed in range(8)], seed=0)


def test_an_extractor_comes_back_from_its_files(
    learned: OnnxFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned.save(tmp_path)
    monkeypatch.chdir(tmp_path)  # a map is opened from anywhere
    opened = open_extractor(learned.name, learned.settings, tmp_path)
    assert (opened.name, opened.feature_id) == ("tiny.onnx", learned.feature_id)
    assert opened.settings == learned.settings
    one, other = opened.extract(texture(50)), learned.extract(texture(50))
    assert len(one) > 50
    np.testing.assert_array_equal(one.global_descriptor, other.global_descriptor)
    assert np.linalg.norm(one.global_descriptor) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(one.descriptors, other.descriptors)
    np.testing.assert_allclose(np.linalg.norm(dequantize(one.descriptors), axis=1), 1, atol=1e-5)


def test_the_feature_id_names_what_the_numbers_depend_on(network_path: Path) -> None:
    def feature_id(**settings: object) -> str:
        return OnnxFeatures.open({"path": network_path, **settings}, None).feature_id

    assert feature_id().startswith("tiny-2048-")
    different = [{}, {"threshold": 0.1}, {"subpixel": False}, {"network": {"value_range": 255}}, {"max_keypoints": 9}]
    assert len({feature_id(**settings) for settings in different}) == len(different)


def test_a_map_whose_network_has_gone_or_changed_names_the_file(tmp_path: Path) -> None:
    path = write_network(tmp_path / "tiny.onnx", DETECTORS["probability"])
    extractor = OnnxFeatures.open({"path": path, "words": 8}, None)
    learned = extractor.learn([extractor.extract(texture(seed)) for seed in range(3)], seed=0)
    (tmp_path / "extractor").mkdir()
    learned.save(tmp_path / "extractor")
    description = ExtractorInfo(name=learned.name, settings=learned.settings, feature_id=learned.feature_id)
    info = MapInfo.model_construct(extractor=description)
    assert open_map_extractor(tmp_path, info).feature_id == learned.feature_id

    write_network(path, DETECTORS["logit"])
    with pytest.raises(FeatureError, match=r"tiny\.onnx: is not the network that the map was built with"):
        open_map_extractor(tmp_path, info)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FeatureError, match=r"tiny\.onnx: "):
        open_map_extractor(tmp_path, info)
    path.unlink()
    with pytest.raises(FeatureError, match=r"tiny\.onnx: there is no such network"):
        open_map_extractor(tmp_path, info)


def test_what_is_no_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    with pytest.raises(FeatureError, match=r"broken\.onnx: there is no such network"):
        open_extractor(str(path))
    path.write_bytes(b"no network")
    with pytest.raises(FeatureError, match=r"broken\.onnx: cannot be read as a network"):
        open_extractor(str(path))


def test_a_network_without_what_is_needed_is_named(network_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.onnx: has no output \['dense'\]; it has scores .*features \["):
        DenseNetwork(network_path, DenseNetworkConfig(descriptors="dense"))
    with pytest.raises(ConfigError, match=r"scores cannot be told from its outputs features \["):
        DenseNetwork(write_network(tmp_path / "tiny.onnx"))
    fixed = DenseNetwork(write_network(tmp_path / "fixed.onnx", DETECTORS["probability"], size=(64, 96)))
    assert fixed.maps(texture(0, (96, 64))).scores.shape == (64, 96)
    with pytest.raises(FeatureError, match=r"fixed\.onnx: fails on an image of 160x120"):
        fixed.maps(texture(0))
    blocks = DenseNetwork(network_path, DenseNetworkConfig(scores="features", score_kind="logit"))
    with pytest.raises(FeatureError, match=r"tiny\.onnx: makes scores .* which do not cover it"):
        blocks.maps(texture(0))


def test_a_wrong_setting_is_named(network_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tiny\.onnx: max_keypoints: .*greater"):
        open_extractor(str(network_path), {"max_keypoints": 0})
    with pytest.raises(ConfigError, match=r"network\.multiple: .*multiple of 8"):
        open_extractor(str(network_path), {"network": {"multiple": 20}})
    with pytest.raises(ConfigError, match=r"sigma"):
        open_extractor(str(network_path), {"sigma": 1.6})
    with pytest.raises(ConfigError, match=r"a descriptor head takes dense features and keypoints, not image \["):
        open_extractor(str(network_path), {"descriptor_head": str(network_path)})


def test_an_exported_hfnet_is_opened_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="exporting needs PyTorch: make setup")
    from vizloc_ros.features.hfnet.hfnet_config import MobileNetConfig
    from vizloc_ros.features.hfnet.hfnet_export import export_onnx
    from vizloc_ros.features.hfnet.hfnet_network import MobileHfNet
    from vizloc_ros.features.hfnet.runtime import HfNetExtractor

    export_onnx(
        MobileHfNet(MobileNetConfig(width=0.25, descriptor_dimension=32, global_dimension=64)), tmp_path / "own.onnx"
    )
    monkeypatch.chdir(tmp_path)
    extractor = open_extractor("own.onnx", {"max_keypoints": 100})
    assert isinstance(extractor, HfNetExtractor)
    assert extractor.settings["weights"] == str((tmp_path / "own.onnx").resolve())
    assert len(extractor.extract(texture(0))) <= 100
    assert open_extractor(extractor.name, extractor.settings).feature_id == extractor.feature_id


def shifted_views(shift: tuple[int, int]) -> tuple[UInt8, UInt8]:
    """Two crops of one picture: pixel p of the first is p - shift in the second."""
    scene = cv2.resize(texture(7, (120, 90)), (480, 360), interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(8)
    for _ in range(150):
        corner = rng.integers(0, (460, 340))
        colour = int(rng.integers(0, 256))
        cv2.rectangle(scene, corner.tolist(), (corner + rng.integers(6, 40, 2)).tolist(), colour, -1)
    x, y = shift
    return scene[:320, :416], np.ascontiguousarray(scene[y : y + 320, x : x + 416])


def share_found_again(extractor: OnnxFeatures, shift: tuple[int, int]) -> tuple[float, float]:
    """Of the 200 best keypoints, the share that is within a pixel in the other view, and how alike those are."""
    first, second = shifted_views(shift)
    one, other = extractor.extract(first), extractor.extract(second)
    expected = one.keypoints[:200] - shift
    distances = np.linalg.norm(expected[:, None] - other.keypoints, axis=2)
    visible = ((expected > 8) & (expected < (407, 311))).all(axis=1)
    again = visible & (distances.min(axis=1) < 1)
    descriptors = dequantize(one.descriptors[:200]), dequantize(other.descriptors[distances.argmin(axis=1)])
    similarity = np.einsum("nd,nd->n", *descriptors)
    return float(again.sum() / visible.sum()), float(np.median(similarity[again]))


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("edgepoint2_e64", None),
        ("xfeat", None),
        ("alike_n", None),
        ("aliked_n16", None),
        ("aliked_n16", "aliked_n16_sddh"),
    ],
)
def test_a_real_network_finds_the_same_keypoints_in_a_shifted_view(name: str, head: str | None) -> None:
    if not (TEACHERS / f"{name}.onnx").is_file():
        pytest.skip(f"no teacher networks in {TEACHERS}")
    settings = {"descriptor_head": str(TEACHERS / f"{head}.onnx")} if head else {}
    extractor = open_extractor(str(TEACHERS / f"{name}.onnx"), settings)
    assert isinstance(extractor, OnnxFeatures)
    # XFeat chooses other keypoints where the cells lie differently.
    found, similarity = share_found_again(extractor, (24, 16) if name == "xfeat" else (23, 10))
    assert found > 0.85
    assert similarity > 0.9
