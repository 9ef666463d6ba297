"""What tells whether something that was kept in a file still answers the same question."""

from pathlib import Path
from zlib import crc32

from pydantic import BaseModel

from vizloc_ros.features.onnx_session import read_network


def fingerprint(*facts: object) -> str:
    """Eight hexadecimal digits that change with the facts, whose ``repr`` must tell all about them."""
    return f"{crc32(repr([*facts]).encode()):08x}"


def teacher_fingerprint(path: Path, config: BaseModel) -> str:
    """The same for what a network's file answers, wherever it lies. Raises ``FeatureError`` if it cannot be read."""
    return fingerprint(read_network(path).checksum, config.model_dump_json(exclude={"path"}))
