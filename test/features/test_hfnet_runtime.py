"""HF-Net as an extractor: where keypoints land, what is refused, and what a map keeps of it."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from repository import REPOSITORY

pytestmark = pytest.mark.e2e

REASON = "PyTorch and onnx are needed to export a network to test with: pip install 'vizloc_ros[train]'"
pytest.importorskip("torch", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)

from hfnet_helpers import MAX_KEYPOINTS, SMALL, exported, texture  # noqa: E402

from vizloc_ros.errors import ConfigError, DeviceError, FeatureError, ImageError  # noqa: E402
from vizloc_ros.features.checksummed_onnx import CHECKSUM_METADATA, EMPTY_CHECKSUM, with_checksum  # noqa: E402
from vizloc_ros.features.device import Device, available  # noqa: E402
from vizloc_ros.features.hfnet.runtime import HfNetExtractor  # noqa: E402
from vizloc_ros.features.hfnet.weights import DEFAULT_WEIGHTS, HFNET_METADATA  # noqa: E402
from vizloc_ros.features.types import Features  # noqa: E402

ONE_THREAD = Device(threads=1)
IMAGE = texture(20, (320, 240))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def fixed_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For images of 200 x 120."""
    return exported(tmp_path_factory.mktemp("fixed"), size=(200, 120))


@pytest.fixture(scope="module")
def extractor(weights: Path) -> HfNetExtractor:
    return open_with(weights)


def open_with(weights: Path, device: Device = ONE_THREAD, **settings: Any) -> HfNetExtractor:
    return HfNetExtractor.open({"weights": str(weights), "max_keypoints": MAX_KEYPOINTS, **settings}, None, device)


def assert_same(one: Features, other: Features) -> None:
    np.testing.assert_array_equal(one.keypoints, other.keypoints)
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_array_equal(one.descriptors, other.descriptors)
    np.testing.assert_array_equal(one.global_descriptor, other.global_descriptor)


def test_features_of_an_image(extractor: HfNetExtractor) -> None:
    features = extractor.extract(IMAGE)
    assert len(features) > 300
    assert features.image_size == (320, 240)
    assert features.keypoints.dtype == features.scores.dtype == features.global_descriptor.dtype == np.float32
    assert (np.diff(features.scores) <= 0).all()
    assert features.scores.min() > 0.005
    assert features.descriptors.shape == (len(features), SMALL.descriptor_dimension)
    assert features.descriptors.dtype == np.int8
    lengths = np.linalg.norm(features.descriptors.astype(float), axis=1)
    np.testing.assert_allclose(lengths, 127, atol=2)
    assert np.linalg.norm(features.global_descriptor) == pytest.approx(1, abs=1e-5)
    assert_same(extractor.extract(IMAGE), features)


def test_keypoints_move_with_the_image(extractor: HfNetExtractor) -> None:
    """By multiples of the stride exactly, away from the border."""
    shift = np.array([16, 24])
    one = extractor.extract(np.ascontiguousarray(IMAGE[: -shift[1], : -shift[0]]))
    other = extractor.extract(np.ascontiguousarray(IMAGE[shift[1] :, shift[0] :]))

    moved = other.keypoints + shift
    inner = np.flatnonzero(((one.keypoints > 85) & (one.keypoints < [235, 155])).all(axis=1))
    distances = np.abs(one.keypoints[inner][:, None] - moved).max(axis=2)
    same = distances.min(axis=1) < 0.01
    assert len(inner) > 40
    assert same.mean() >= 0.95
    pairs = inner[same], distances.argmin(axis=1)[same]
    difference = one.descriptors[pairs[0]].astype(int) - other.descriptors[pairs[1]]
    assert np.abs(difference).max() <= 1


def test_a_larger_image_has_its_keypoints_at_the_same_places(weights: Path) -> None:
    """Every pixel three times: shrinking gives the small image back, whose pixel x has its centre at 3 x + 1."""
    small = open_with(weights).extract(IMAGE)
    large = open_with(weights, long_side=320).extract(np.kron(IMAGE, np.ones((3, 3), np.uint8)))
    assert large.image_size == (960, 720)
    np.testing.assert_allclose(large.keypoints, 3 * small.keypoints + 1, atol=1e-3)
    np.testing.assert_array_equal(large.descriptors, small.descriptors)


@pytest.mark.parametrize("size", [(333, 217), (217, 333), (321, 240), (100, 37), (16, 16)])
def test_any_size_is_cropped_to_whole_cells(extractor: HfNetExtractor, size: tuple[int, int]) -> None:
    image = texture(21, size)
    features = extractor.extract(image)
    width, height = (side // 8 * 8 for side in size)
    assert features.image_size == size
    assert (features.keypoints >= 3.5).all()
    assert (features.keypoints <= [width - 4.5, height - 4.5]).all()
    np.testing.assert_array_equal(features.keypoints, extractor.extract(image[:height, :width]).keypoints)


def test_scales_differ_where_rounding_makes_them(weights: Path) -> None:
    """617 x 411 at a long side of 200 becomes 200 x 133: no one factor gives both."""
    shrunk = open_with(weights, long_side=200, refine=False)
    image = cv2.resize(IMAGE, (617, 411), interpolation=cv2.INTER_CUBIC)
    points = shrunk.extract(image).keypoints
    pixels = (points + 0.5) * [200 / 617, 133 / 411] - 0.5
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)
    assert pixels[:, 1].max() < 128 - 4


def test_colour_is_turned_gray(extractor: HfNetExtractor) -> None:
    colour = np.stack([texture(seed, (160, 96)) for seed in range(3)], axis=2)
    assert_same(extractor.extract(colour), extractor.extract(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)))


def test_refinement_moves_keypoints_by_half_a_pixel_at_most(weights: Path, extractor: HfNetExtractor) -> None:
    refined, whole = extractor.extract(IMAGE), open_with(weights, refine=False).extract(IMAGE)
    np.testing.assert_array_equal(whole.keypoints, np.round(whole.keypoints))
    offsets = np.abs(refined.keypoints - whole.keypoints)
    assert 0.05 < offsets.mean() < offsets.max() <= 0.5
    np.testing.assert_array_equal(refined.descriptors, whole.descriptors)


def test_fewer_keypoints_are_the_best_ones(weights: Path, extractor: HfNetExtractor) -> None:
    every = extractor.extract(IMAGE)
    few = open_with(weights, max_keypoints=50).extract(IMAGE)
    np.testing.assert_array_equal(few.keypoints, every.keypoints[:50])
    threshold = float(every.scores[20])
    strict = open_with(weights, threshold=threshold).extract(IMAGE)
    np.testing.assert_array_equal(strict.scores, every.scores[every.scores > threshold])


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_image_of_one_value_has_no_keypoints(extractor: HfNetExtractor, value: int) -> None:
    features = extractor.extract(np.full((96, 160), value, np.uint8))
    assert len(features) == 0
    assert features.descriptors.shape == (0, SMALL.descriptor_dimension)
    assert np.isfinite(features.global_descriptor).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((15, 200), np.uint8), "200x15 is too small"),
        (np.zeros((20, 4000), np.uint8), "4000x20 is too small .* 640 its sides are 640 and 3"),
        (np.zeros((0, 0), np.uint8), "must be .H, W. gray"),
        (np.full((96, 160), np.nan, np.float32), "not float32"),
        (np.zeros((96, 160), np.uint16), "not uint16"),
        (np.zeros((96, 160, 4), np.uint8), "shape .96, 160, 4."),
        (np.zeros(96, np.uint8), "shape .96,."),
    ],
)
def test_images_that_are_refused(extractor: HfNetExtractor, image: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        extractor.extract(image)


def test_a_fixed_size_pads_and_finds_nothing_in_the_padding(fixed_weights: Path) -> None:
    """178 x 114 of 200 x 120 show the image; the keypoints are in the original's pixels."""
    extractor = open_with(fixed_weights, refine=False, long_side=178)
    features = extractor.extract(texture(22, (356, 228)))
    assert len(features) > 50
    pixels = (features.keypoints + 0.5) / 2 - 0.5
    assert (pixels >= 4).all()
    assert (pixels < [174, 110]).all()
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-3)


@pytest.mark.parametrize(
    ("size", "long_side", "advised"),
    [
        ((200, 92), 960, "200x88"),  # NetVLAD would pool a row of cells without an image
        ((168, 120), 960, "168x120"),
        ((320, 240), 960, "320x240"),  # would be shrunk below what the map's images were
        ((1241, 376), 200, "200x56"),
        ((210, 126), 960, "208x120"),
    ],
)
def test_a_fixed_size_that_an_image_does_not_fill_is_refused(
    fixed_weights: Path, size: tuple[int, int], long_side: int, advised: str
) -> None:
    extractor = open_with(fixed_weights, long_side=long_side)
    message = f"for images of 200x120, and one of {size[0]}x{size[1]} is .* at a long side of {long_side}: "
    with pytest.raises(ImageError, match=f"{message}.* --size {advised}$"):
        extractor.extract(texture(24, size))


def test_the_advised_size_sees_what_the_map_s_network_sees(extractor: HfNetExtractor, tmp_path: Path) -> None:
    image = texture(25, (213, 125))
    fixed = open_with(exported(tmp_path, size=(208, 120)))
    assert fixed.feature_id == extractor.feature_id
    np.testing.assert_allclose(fixed.extract(image).keypoints, extractor.extract(image).keypoints, atol=1e-3)
    np.testing.assert_allclose(
        fixed.extract(image).global_descriptor, extractor.extract(image).global_descriptor, atol=1e-5
    )


def test_a_fixed_size_is_the_same_network(weights: Path, fixed_weights: Path, extractor: HfNetExtractor) -> None:
    """A map of the one is used with the other."""
    fixed = open_with(weights, Device(threads=1, weights=fixed_weights))
    assert fixed.feature_id == extractor.feature_id
    assert fixed.settings == extractor.settings
    image = texture(23, (200, 120))
    one, other = fixed.extract(image), extractor.extract(image)
    np.testing.assert_allclose(one.global_descriptor, other.global_descriptor, atol=1e-5)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


def test_calls_from_several_threads_agree(extractor: HfNetExtractor) -> None:
    images = [texture(seed, (160, 96)) for seed in range(4)]
    expected = [extractor.extract(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(extractor.extract, images * 4), expected * 4, strict=True):
            assert_same(found, wanted)


def test_settings_make_the_same_extractor_again(weights: Path, tmp_path: Path) -> None:
    extractor = open_with(weights, long_side=200, threshold=0.01, refine=False)
    assert all(isinstance(value, str | int | float | bool) for value in extractor.settings.values())
    again = HfNetExtractor.open(extractor.settings, None, ONE_THREAD)
    assert again.feature_id == extractor.feature_id
    assert again.settings == extractor.settings
    assert_same(again.extract(IMAGE), extractor.extract(IMAGE))


def test_nothing_is_learned_from_a_map_s_images(extractor: HfNetExtractor, tmp_path: Path) -> None:
    features = extractor.extract(IMAGE)
    assert extractor.describe(features) is features
    assert extractor.learn([features], seed=0) is extractor
    extractor.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_feature_id_names_what_the_numbers_depend_on(weights: Path, extractor: HfNetExtractor) -> None:
    variants = [{"max_keypoints": 10}, {"threshold": 0.01}, {"long_side": 320}, {"refine": False}]
    ids = {extractor.feature_id, *(open_with(weights, **variant).feature_id for variant in variants)}
    assert len(ids) == 5
    assert extractor.feature_id == f"hfnet-{extractor.description.weights_id}-{MAX_KEYPOINTS}-0.005-640-refined"
    assert open_with(weights, Device(threads=2)).feature_id == extractor.feature_id


def test_warming_up_takes_any_size(extractor: HfNetExtractor, fixed_weights: Path) -> None:
    """A fixed network's is its own: the map's camera need not be the vehicle's."""
    open_with(fixed_weights).warm_up((1241, 376))
    with pytest.raises(ImageError, match="export them with --size 160x96"):
        open_with(fixed_weights, long_side=160).warm_up((200, 120))
    extractor.warm_up((160, 96))
    with pytest.raises(ImageError, match="too small"):
        extractor.warm_up((8, 8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sigma": 1}, "settings of hfnet: sigma: .*there is weights, max_keypoints"),
        ({1: 2}, "Keys should be strings"),
        ({"max_keypoints": 0}, "max_keypoints: "),
        ({"threshold": float("nan")}, "threshold: "),
        ({"long_side": "wide"}, "long_side: "),
        ({"max_keypoints": MAX_KEYPOINTS + 1}, f"finds at most {MAX_KEYPOINTS} keypoints, and max_keypoints is"),
    ],
)
def test_settings_that_are_refused(weights: Path, settings: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HfNetExtractor.open({"weights": str(weights), **settings}, None, ONE_THREAD)


def test_weights_are_found_from_anywhere(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(weights.parent)
    extractor = open_with(Path(weights.name))
    monkeypatch.chdir("/")
    assert HfNetExtractor.open(extractor.settings, None, ONE_THREAD).feature_id == extractor.feature_id


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"none\.onnx: the weights cannot be read .*vizloc export hfnet"):
        open_with(tmp_path / "none.onnx")
    with pytest.raises(FeatureError, match="the weights cannot be read"):
        open_with(tmp_path)


def test_the_default_weights_are_the_package_s() -> None:
    assert DEFAULT_WEIGHTS.parent.parent.name == "vizloc_ros"
    assert (DEFAULT_WEIGHTS.parent.parent / "features" / "hfnet" / "runtime.py").is_file()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_named(weights: Path, tmp_path: Path, share: float) -> None:
    content = weights.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FeatureError, match=r"cut\.onnx: is (cut off|damaged)"):
        open_with(path)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_flipped_bit_in_the_weights_is_found(weights: Path, tmp_path: Path, share: float) -> None:
    content = bytearray(weights.read_bytes())
    content[int(share * len(content))] ^= 4
    path = tmp_path / "flipped.onnx"
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=r"flipped\.onnx: is damaged"):
        open_with(path)


def test_other_files_are_named(weights: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no network")
    with pytest.raises(FeatureError, match=r"text\.onnx: is cut off, or no HF-Net"):
        open_with(text)
    sealed = tmp_path / "sealed.onnx"
    sealed.write_bytes(with_checksum(f"no network {EMPTY_CHECKSUM}".encode()))
    with pytest.raises(FeatureError, match=r"sealed\.onnx: ONNX Runtime .* cannot load it"):
        open_with(sealed)


@pytest.mark.parametrize("change", ["version", "outputs"])
def test_networks_of_another_format_are_named(weights: Path, tmp_path: Path, change: str) -> None:
    model = onnx.load(weights)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if change == "version":
        properties[HFNET_METADATA] = "99"
    else:
        del model.graph.output[1]
    onnx.helper.set_model_props(model, {**properties, CHECKSUM_METADATA: EMPTY_CHECKSUM})
    path = tmp_path / "other.onnx"
    path.write_bytes(with_checksum(model.SerializeToString()))
    with pytest.raises(FeatureError, match=r"other\.onnx: is an HF-Net of format .* export it again"):
        open_with(path)


def test_a_provider_that_is_not_installed_is_an_error(weights: Path) -> None:
    for provider in ("cuda", "tensorrt"):
        if provider in available():
            pytest.skip(f"this onnxruntime has {provider}")
        with pytest.raises(DeviceError, match=f"run on '{provider}', but this onnxruntime has .*cpu"):
            open_with(weights, Device(provider=provider))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself goes on with the CPU then."""
    if "cuda" in available():
        pytest.skip("this onnxruntime has cuda")
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="cannot start it and took CPUExecutionProvider"):
        open_with(weights, Device(provider="cuda"))


def test_providers_in_order_of_preference(tmp_path: Path) -> None:
    assert Device().providers("1a2b3c4d") == [("CPUExecutionProvider", {})]
    cuda, cpu = Device(provider="cuda", index=1).providers("1a2b3c4d")
    assert cuda == ("CUDAExecutionProvider", {"device_id": 1, "cudnn_conv_algo_search": "HEURISTIC"})
    assert cpu[0] == "CPUExecutionProvider"
    device = Device(provider="tensorrt", half=True, engine_cache=tmp_path / "engines")
    (name, options), *rest = device.providers("1a2b3c4d")
    assert name == "TensorrtExecutionProvider"
    assert options["trt_fp16_enable"] is True
    assert [entry[0] for entry in rest] == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    cache = Path(options["trt_engine_cache_path"])
    assert cache == tmp_path / "engines" / "1a2b3c4d", "other weights need other engines"
    assert cache.is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="TensorRT's cache cannot be made"):
        Device(provider="tensorrt", engine_cache=tmp_path / "file").providers("1a2b3c4d")


def test_devices_that_are_refused() -> None:
    assert "cpu" in available()
    with pytest.raises(ConfigError, match="no provider 'gpu'; there is: cpu, cuda, tensorrt"):
        Device(provider="gpu")
    with pytest.raises(ConfigError, match="cannot be negative"):
        Device(threads=-1)


def test_a_moved_file_is_the_same_network(weights: Path, tmp_path: Path, extractor: HfNetExtractor) -> None:
    moved = Path(shutil.copy(weights, tmp_path / "moved.onnx"))
    assert open_with(moved).feature_id == extractor.feature_id


def test_running_needs_neither_torch_nor_onnx() -> None:
    program = "import sys, vizloc_ros.features.hfnet.runtime as _; sys.exit(bool({'torch', 'onnx'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
