"""Similarities of int8 descriptors: those of float64, on any processor, and what the shipped graph is made of."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor, make_tensor_value_info

from vizloc_ros.arrays import Float64, Int8
from vizloc_ros.features import descriptor_similarity
from vizloc_ros.features.descriptor_similarity import PRODUCT_FILE, Compared, similarities
from vizloc_ros.features.types import dequantize, quantize


def of_float64(a: Int8, b: Int8) -> Float64:
    lengths = [np.maximum(np.linalg.norm(values.astype(np.float64), axis=1), 1) for values in (a, b)]
    return np.asarray((a.astype(np.float64) @ b.astype(np.float64).T) / lengths[0][:, None] / lengths[1])


@pytest.fixture(params=["integers", "float32"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both products, the second as on processors where integers would overflow."""
    if request.param == "float32":
        monkeypatch.setattr(descriptor_similarity, "integer_product", lambda: None)
    elif descriptor_similarity.integer_product() is None:
        pytest.skip("this processor has no exact product of int8")
    return str(request.param)


@given(st.integers(0, 2**31), st.integers(0, 300), st.integers(0, 300), st.sampled_from([1, 3, 64, 128, 256]))
def test_they_are_those_of_float64(seed: int, count: int, others: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-127, 128, (n, size), np.int8) for n in (count, others))
    np.testing.assert_allclose(similarities(a, b), of_float64(a, b), atol=1e-6)


def test_extreme_descriptors_do_not_overflow(product: str) -> None:
    signs = np.random.default_rng(0).choice(np.array([-127, 127], np.int8), (500, 256))
    np.testing.assert_allclose(similarities(signs, signs), of_float64(signs, signs), atol=1e-6)


def test_zero_descriptors_are_similar_to_nothing(product: str) -> None:
    a = np.zeros((2, 64), np.int8)
    a[1, 3] = -127
    np.testing.assert_array_equal(similarities(a, a), [[0, 0], [0, 1]])


def test_projections_rank_as_unit_vectors_do(product: str) -> None:
    rng = np.random.default_rng(3)
    units = rng.normal(size=(400, 64)).astype(np.float32)
    a = quantize(units / np.linalg.norm(units, axis=1, keepdims=True))
    ranked = Compared(a[:300]).projections(a[300:])
    np.testing.assert_array_equal(ranked.argmax(axis=1), (dequantize(a[300:]) @ dequantize(a[:300]).T).argmax(axis=1))


def test_views_and_transposed_descriptors_are_compared(product: str) -> None:
    values = np.random.default_rng(4).integers(-127, 128, (64, 90), np.int8)
    a, b = values.T[::2], values.T[1::3]
    np.testing.assert_allclose(similarities(a, b), of_float64(a, b), atol=1e-6)


def test_the_shipped_graph_is_this_one() -> None:
    nodes = [
        make_node("MatMulInteger", ["rows", "columns", "offset"], ["products"]),
        make_node("Cast", ["products"], ["numbers"], to=TensorProto.FLOAT),
        make_node("Mul", ["one", "column_scales"], ["scales"]),
        make_node("Mul", ["numbers", "scales"], ["projections"]),  # one operator when ONNX Runtime has loaded it
    ]
    inputs = [
        make_tensor_value_info("rows", TensorProto.UINT8, ["N", "D"]),
        make_tensor_value_info("columns", TensorProto.INT8, ["D", "M"]),
        make_tensor_value_info("column_scales", TensorProto.FLOAT, ["M"]),
    ]
    output = make_tensor_value_info("projections", TensorProto.FLOAT, ["N", "M"])
    constants = [make_tensor("offset", TensorProto.UINT8, [], [128]), make_tensor("one", TensorProto.FLOAT, [], [1.0])]
    graph = make_graph(nodes, "int8_product", inputs, [output], constants)
    model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8, producer_name="vizloc_ros")
    assert onnx.load(str(PRODUCT_FILE)) == model
