"""Fingerprints of the inputs of a stored result, to detect that they have changed."""

from pathlib import Path
from zlib import crc32

from pydantic import BaseModel

from vizloc_ros.features.onnx_session import read_network


def fingerprint(*facts: object) -> str:
    """Eight hexadecimal digits that depend on the facts, whose ``repr`` must be complete."""
    return f"{crc32(repr([*facts]).encode()):08x}"


def teacher_fingerprint(path: Path, options: BaseModel) -> str:
    """Fingerprint of a network's file and its options, in any folder. Raises ``FeatureError`` if it cannot be read."""
    return fingerprint(read_network(path).checksum, options.model_dump_json(exclude={"path"}))
