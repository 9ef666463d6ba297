"""Cosine similarities of int8 descriptors, from exact products of integers.

Processors with instructions for int8 (VNNI of x86, dot products of ARM) multiply three to four times as many of them as
of float32; ONNX Runtime has these products, NumPy has not. Where they would overflow, as without VNNI, the products are
those of float32.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.arrays import Float32, Int8, Int64
from vizloc_ros.features.device import Device
from vizloc_ros.features.onnx_session import open_session, read_network
from vizloc_ros.features.types import Features, inverse_norms

PRODUCT_FILE = Path(__file__).parents[1] / "weights/int8_product.onnx"
_OFFSET = np.uint8(128)  # the rows are to be unsigned: their sign bit is flipped


@dataclass(frozen=True)
class Compared:
    """Descriptors that many others are compared with.

    Attributes:
        descriptors: (M, D) int8 descriptors.
    """

    descriptors: Int8

    @cached_property
    def inverse_norms(self) -> Float32:
        """(M,) inverse lengths; those of zero vectors are finite, so that their similarities are zero."""
        return inverse_norms(self.descriptors)

    @cached_property
    def _columns(self) -> Int8 | Float32:
        columns = self.descriptors if integer_product() is not None else self.descriptors.astype(np.float32)
        return np.ascontiguousarray(columns.T)

    def projections(self, rows: Int8) -> Float32:
        """(N, M) similarities with (N, D) descriptors, times the lengths of the rows: enough to rank each row."""
        if not len(rows) or not len(self.descriptors):
            return np.zeros((len(rows), len(self.descriptors)), np.float32)
        if (product := integer_product()) is None:
            found: Float32 = rows.astype(np.float32) @ self._columns
            found *= self.inverse_norms
            return found
        unsigned = np.ascontiguousarray(rows).view(np.uint8) ^ _OFFSET
        given = {"rows": unsigned, "columns": self._columns, "column_scales": self.inverse_norms}
        found, *_ = product.run(None, given)
        return found


def similarities(a: Int8, b: Int8) -> Float32:
    """(N, M) cosine similarities of (N, D) and (M, D) descriptors; those of zero vectors are zero."""
    found = Compared(b).projections(a)
    found *= inverse_norms(a)[:, None]
    return found


def pair_similarities(features: Features, keypoints: Int64, others: Compared, rows: Int64) -> Float32:
    """(P,) cosine similarities of the descriptors of keypoints and rows of others."""
    ours, theirs = features.descriptors[keypoints].astype(np.float32), others.descriptors[rows].astype(np.float32)
    products = np.einsum("pd,pd->p", ours, theirs)
    products *= features.inverse_norms[keypoints]
    products *= others.inverse_norms[rows]
    return products


@cache
def integer_product() -> Any:
    """Session of the product of integers, for several threads at the same time; None if it is not exact here."""
    session = open_session(read_network(PRODUCT_FILE), Device(threads=1))
    signs = np.where(np.random.default_rng(0).random((2, 64, 64)) < 0.9, 127, -127).astype(np.int8)
    given = {
        "rows": signs[0].view(np.uint8) ^ _OFFSET,
        "columns": np.ascontiguousarray(signs[1].T),
        "column_scales": np.ones(64, np.float32),
    }
    found, *_ = session.run(None, given)
    exact = np.array_equal(found, signs[0].astype(np.int32) @ signs[1].astype(np.int32).T)
    return session if exact else None
