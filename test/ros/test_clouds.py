import array
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_helpers import ros_nodes, spin_until
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vizloc_ros.errors import FeatureError, RosError
from vizloc_ros.features.types import Features
from vizloc_ros.localization.places import Place
from vizloc_ros.pixloc.patches import QuantizedPatches
from vizloc_ros.pixloc.references import QuantizedLevel, QuantizedReferences
from vizloc_ros.ros import clouds, qos
from vizloc_ros.ros.messages import header_of
from vizloc_ros.ros.point_clouds import SCALARS, CloudField, CloudLayout

HEADER = header_of(1_234_567_890_123_456_789, "map")
STRUCT_CODES = dict(zip(SCALARS, "bBhHiIfd", strict=True))


def some_features(rng: np.random.Generator, size: int, dimension: int = 128) -> Features:
    return Features(
        keypoints=rng.uniform(-0.5, (1241, 376), (size, 2)).astype(np.float32),
        scores=rng.random(size, np.float32),
        descriptors=rng.integers(-127, 128, (size, dimension), np.int8),
        global_descriptor=rng.random(4, np.float32),
        image_size=(1241, 376),
    )


def some_place(rng: np.random.Generator, size: int, dimension: int = 128) -> Place:
    return Place(
        positions=rng.normal(0, 100, (size, 3)).astype(np.float32),
        landmark_ids=rng.integers(0, 2**31, size).astype(np.int32),
        descriptors=rng.integers(-127, 128, (size, dimension), np.int8),
    )


def assert_same_places(found: list[Place], expected: list[Place]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for name in ("positions", "landmark_ids", "descriptors"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype


def xyz(msg: PointCloud2) -> np.ndarray:
    """Positions (N, 3) of any cloud with x, y, z."""
    points = clouds.MAP_POINTS.decode(msg)
    return np.stack([points[axis] for axis in "xyz"], axis=1)


def as_big_endian(msg: PointCloud2) -> PointCloud2:
    """Same cloud in the byte order of a big-endian machine, with its fields in reverse order after an unknown one."""
    fields, offset = [PointField(name="ring", offset=0, datatype=PointField.UINT16, count=1)], 2
    for field in reversed(msg.fields):
        fields.append(PointField(name=field.name, offset=offset, datatype=field.datatype, count=field.count))
        offset += field.count * int(SCALARS[field.datatype][1])
    data = bytearray()
    for start in range(0, len(msg.data), msg.point_step):
        data += b"\xab\xcd"
        for field in reversed(msg.fields):
            code = f"{field.count}{STRUCT_CODES[field.datatype]}"
            data += struct.pack(">" + code, *struct.unpack_from("<" + code, msg.data, start + field.offset))
    return PointCloud2(
        header=msg.header,
        height=1,
        width=msg.width,
        fields=fields,
        is_bigendian=True,
        point_step=offset,
        row_step=offset * msg.width,
        data=array.array("B", data),
    )


@pytest.mark.parametrize("size", [0, 1, 300])
@pytest.mark.parametrize("change", [lambda msg: msg, as_big_endian], ids=["as_sent", "foreign_order"])
class TestRoundTrips:
    def test_features(self, rng, size, change):
        features = some_features(rng, size)
        msg = clouds.features_to_msg(features, HEADER)
        back = clouds.features_from_msg(change(msg), features.image_size, features.global_descriptor)
        assert msg.header == HEADER
        assert (msg.point_step, msg.width, msg.is_dense) == (12 + 128, size, True)
        for name in ("keypoints", "scores", "descriptors", "global_descriptor"):
            np.testing.assert_array_equal(getattr(back, name), getattr(features, name))
            assert getattr(back, name).dtype == getattr(features, name).dtype
        assert back.image_size == features.image_size
        assert back.descriptors.flags.c_contiguous

    def test_places(self, rng, size, change):
        places = [some_place(rng, size), some_place(rng, 2)]
        back = clouds.places_from_msg(change(clouds.places_to_msg(places, HEADER)))
        assert_same_places(back, places if size else places[1:])

    def test_map_points(self, rng, size, change):
        points = rng.normal(0, 100, (size, 3)).astype(np.float32)
        np.testing.assert_array_equal(xyz(change(clouds.map_points_to_msg(points, HEADER))), points)

    def test_global_descriptor(self, rng, size, change):
        descriptor = rng.random(size + 1, np.float32)
        back = clouds.global_descriptor_from_msg(
            change(clouds.global_descriptor_to_msg(descriptor, 2**32 - 1 - size, HEADER))
        )
        np.testing.assert_array_equal(back.descriptor, descriptor)
        assert back.feature_id == 2**32 - 1 - size


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_features_without_global_descriptor(rng):
    back = clouds.features_from_msg(clouds.features_to_msg(some_features(rng, 3), HEADER), (1241, 376))
    assert back.global_descriptor.shape == (0,)


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=12), dimension=st.integers(1, 9), seed=st.integers(0, 99))
def test_places_come_back_best_first_without_the_empty_ones(sizes, dimension, seed):
    rng = np.random.default_rng(seed)
    places = [some_place(rng, size, dimension) for size in sizes]
    msg = clouds.places_to_msg(places, HEADER)
    assert msg.header == HEADER
    points = clouds.CANDIDATES.decode(msg)
    assert points["place"].tolist() == [rank for rank, size in enumerate(sizes) for _ in range(size)]
    assert_same_places(clouds.places_from_msg(msg), [place for place in places if len(place.landmark_ids)])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_decode_equals_struct_module_for_any_layout(data):
    """Any organized cloud, with gaps, padded rows, unknown fields and either byte order, against ``struct``."""
    order = data.draw(st.sampled_from("<>"))
    height, width = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 4))
    fields, offset = [], 0
    for index in range(data.draw(st.integers(1, 5))):
        datatype, count = data.draw(st.sampled_from(list(SCALARS))), data.draw(st.integers(1, 3))
        offset += data.draw(st.integers(0, 3))
        fields.append(PointField(name=f"f{index}", offset=offset, datatype=datatype, count=count))
        offset += count * int(SCALARS[datatype][1])
    point_step = offset + data.draw(st.integers(0, 3))
    row_step = width * point_step + data.draw(st.integers(0, 5))
    content = data.draw(st.binary(min_size=height * row_step, max_size=height * row_step))
    msg = PointCloud2(
        height=height,
        width=width,
        fields=data.draw(st.permutations(fields)),
        is_bigendian=order == ">",
        point_step=point_step,
        row_step=row_step,
        data=array.array("B", content),
    )
    wanted = data.draw(st.lists(st.sampled_from(fields), min_size=1, unique_by=lambda field: field.name))
    layout = CloudLayout("any", tuple(CloudField(field.name, field.datatype, vector=True) for field in wanted))
    points = layout.decode(msg)
    assert len(points) == height * width
    for field in wanted:
        code = f"{order}{field.count}{STRUCT_CODES[field.datatype]}"
        expected = [
            struct.unpack_from(code, content, row * row_step + column * point_step + field.offset)
            for row in range(height)
            for column in range(width)
        ]
        shape = (height * width, field.count)
        np.testing.assert_array_equal(points[field.name], np.array(expected, SCALARS[field.datatype]).reshape(shape))


def test_decode_is_a_view(rng):
    msg = clouds.features_to_msg(some_features(rng, 5), HEADER)
    points = clouds.FEATURES.decode(msg)
    msg.data[0:4] = array.array("B", struct.pack("<f", 42.0))
    assert points["x"][0] == 42.0


def test_reads_xyz_of_a_lidar_cloud():
    """Positions of a cloud with PCL's 16-byte alignment, intensity, and count 0 for 1."""
    fields = [
        PointField(name=name, offset=offset, datatype=PointField.FLOAT32, count=0)
        for name, offset in (("x", 0), ("y", 4), ("z", 8), ("intensity", 16))
    ]
    data = array.array("B", struct.pack("<8f8f", 1, 2, 3, 9, 7, 9, 9, 9, 4, 5, 6, 9, 7, 9, 9, 9))
    msg = PointCloud2(height=2, width=1, fields=fields, point_step=32, row_step=32, data=data)
    np.testing.assert_array_equal(xyz(msg), [[1, 2, 3], [4, 5, 6]])


def corrupted(msg, **attributes):
    for name, value in attributes.items():
        setattr(msg, name, value)
    return msg


def field_with(field, **attributes):
    values = {name: getattr(field, name) for name in ("name", "offset", "datatype", "count")}
    return PointField(**{**values, **attributes})


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda m: corrupted(m, fields=m.fields[1:]), "has no field 'x', only y, score, descriptor"),
            (lambda m: corrupted(m, fields=[]), "has no field 'x', only none"),
            (lambda m: corrupted(m, fields=[field_with(m.fields[0], datatype=8), *m.fields[1:]]), "'x' is f8 x 1"),
            (lambda m: corrupted(m, fields=[field_with(m.fields[0], datatype=99), *m.fields[1:]]), "'x' is unknown"),
            (lambda m: corrupted(m, fields=[field_with(m.fields[0], count=2), *m.fields[1:]]), "'x' is f4 x 2"),
            (lambda m: corrupted(m, fields=[*m.fields[:3], field_with(m.fields[3], count=2**32 - 1)]), "ends beyond"),
            (lambda m: corrupted(m, fields=[field_with(m.fields[0], offset=137), *m.fields[1:]]), "'x' ends beyond"),
            (lambda m: corrupted(m, data=m.data[:-1]), "do not fit 1 rows of 5 points"),
            (lambda m: corrupted(m, data=array.array("B")), "0 bytes of data"),
            (lambda m: corrupted(m, width=6), "do not fit 1 rows of 6 points"),
            (lambda m: corrupted(m, row_step=4), "row_step 4"),
            (
                lambda m: corrupted(m, width=0, row_step=0, point_step=2**32 - 1, data=array.array("B")),
                "point_step 4294",
            ),
        ],
    )
    def test_broken_features(self, rng, change, reason):
        msg = change(clouds.features_to_msg(some_features(rng, 5), HEADER))
        with pytest.raises(RosError, match="cloud 'features'.*" + reason):
            clouds.features_from_msg(msg, (8, 6))

    def test_nan_keypoint(self, rng):
        features = some_features(rng, 5)
        features.keypoints[2, 1] = np.nan
        with pytest.raises(FeatureError, match=r"features.*finite"):
            clouds.features_from_msg(clouds.features_to_msg(features, HEADER), (1241, 376))

    def test_descriptor_that_is_not_quantized(self):
        arrays = {name: np.zeros(2, np.float32) for name in ("x", "y", "score")}
        with pytest.raises(FeatureError, match="'descriptor' is float32"):
            clouds.FEATURES.encode({**arrays, "descriptor": np.zeros((2, 8), np.float32)}, Header())

    def test_arrays_of_different_length(self):
        arrays = {"x": np.zeros(2, np.float32), "y": np.zeros(3, np.float32), "z": np.zeros(2, np.float32)}
        with pytest.raises(FeatureError, match=r"'y' is \(3,\) for 2 points"):
            clouds.MAP_POINTS.encode(arrays, Header())

    def test_places_out_of_order(self, rng):
        msg = clouds.places_to_msg([some_place(rng, 2), some_place(rng, 1)], HEADER)
        clouds.CANDIDATES.decode(msg)["place"] = [1, 1, 0]  # in the message itself
        with pytest.raises(FeatureError, match=r"cloud 'candidates'.*not in order"):
            clouds.places_from_msg(msg)

    @pytest.mark.parametrize("landmark", [-1, 2**32])
    def test_landmark_id_beyond_uint32(self, rng, landmark):
        place = some_place(rng, 2)
        wrong = Place(place.positions, np.array([0, landmark]), place.descriptors)
        with pytest.raises(FeatureError, match="'landmark'"):
            clouds.places_to_msg([wrong], HEADER)

    def test_nan_position(self, rng):
        place = some_place(rng, 3)
        place.positions[1, 2] = np.nan
        with pytest.raises(FeatureError, match=r"candidates.*finite"):
            clouds.places_from_msg(clouds.places_to_msg([place], HEADER))

    def test_global_descriptor_of_two_points(self):
        arrays = {"descriptor": np.zeros((2, 3), np.float32), "feature_id": np.zeros(2, np.uint32)}
        with pytest.raises(RosError, match="2 points instead of one"):
            clouds.global_descriptor_from_msg(clouds.GLOBAL_DESCRIPTOR.encode(arrays, HEADER))


@pytest.mark.ros
def test_cloud_survives_the_middleware(rng):
    places = [some_place(rng, 5_000), some_place(rng, 5_000)]
    received = []
    with ros_nodes("clouds_sender", "clouds_receiver") as (sender, receiver):
        publisher = sender.create_publisher(PointCloud2, "candidates", qos.FEATURES)
        receiver.create_subscription(PointCloud2, "candidates", received.append, qos.FEATURES)
        spin_until(lambda: publisher.get_subscription_count() == 1, sender, receiver)
        publisher.publish(clouds.places_to_msg(places, HEADER))
        spin_until(lambda: bool(received), sender, receiver)
    assert_same_places(clouds.places_from_msg(received[0]), places)


def some_references(rng: np.random.Generator, count: int, *, patches: bool) -> QuantizedReferences:
    half = rng.random(count).astype(np.float16)
    levels = tuple(QuantizedLevel(rng.integers(-127, 128, (count, 8), np.int8), half, half) for _ in range(2))
    of_patches = QuantizedPatches(rng.integers(-127, 128, (count, 16), np.int8), 20 * half, 50 * half)
    return QuantizedReferences(
        rng.normal(size=(count, 3)).astype(np.float32), np.arange(count), levels, of_patches if patches else None
    )


@pytest.mark.parametrize("patches", [True, False])
def test_a_submap_arrives_as_it_was_sent(patches: bool) -> None:
    sent = some_references(np.random.default_rng(0), 30, patches=patches)
    received = clouds.submap_from_msg(clouds.submap_to_msg(sent, 7, HEADER))
    assert received.map_number == 7
    expected, references = sent.dequantized(), received.references
    np.testing.assert_array_equal(references.positions, expected.positions)
    np.testing.assert_array_equal(references.levels[1].features, expected.levels[1].features)
    assert (references.patches is not None) is patches
    if references.patches is not None and expected.patches is not None:
        np.testing.assert_array_equal(references.patches.values, expected.patches.values)
        np.testing.assert_array_equal(references.patches.contrasts, expected.patches.contrasts)
        np.testing.assert_array_equal(references.patches.resolutions, expected.patches.resolutions)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_patches_that_cannot_be_are_refused(value: float) -> None:
    sent = some_references(np.random.default_rng(0), 30, patches=True)
    assert sent.patches is not None
    resolutions = sent.patches.resolutions.copy()
    resolutions[4] = value
    wrong = replace(sent, patches=replace(sent.patches, resolutions=resolutions))
    with pytest.raises(FeatureError, match="contrasts and resolutions must be finite, and not negative"):
        clouds.submap_from_msg(clouds.submap_to_msg(wrong, 7, HEADER))
