"""Bounded reading: regular files up to a size, arrays as long as they say, plain YAML up to a number of values.

A file may be a FIFO, which blocks, or a device, which never ends. A YAML file of a hundred lines may stand for more
values than fit into memory. Both are noticed before they are read. Errors are ``OSError`` and ``yaml.YAMLError``, as
those of files that cannot be read, so callers need one ``except`` for all of them.
"""

import errno
import io
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, CollectionStartEvent, NodeEvent, ScalarEvent
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

TEXT_LIMIT = 16 << 20  # bytes of a description, a file of options or a calibration
NETWORK_LIMIT = 4 << 30  # bytes of a network
_MAX_DEPTH = 32
_MAX_VALUES = 200_000
_MAX_DIGITS = 64  # characters of a value that is no text
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map"))


def open_regular(path: Path, limit: int | None = None) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: path of the file; links are followed.
        limit: largest size [bytes]; None for any.

    Raises:
        OSError: the file is missing, larger, or no regular file: a folder, a FIFO, a device, a socket.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)  # a FIFO must not block
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        if limit is not None and state.st_size > limit:
            raise OSError(errno.EFBIG, f"has {state.st_size} bytes, more than the {limit} that it may have", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int | None) -> bytes:
    """Read a regular file of up to ``limit`` bytes. Raises ``OSError`` as ``open_regular``."""
    with open_regular(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # a file that grows meanwhile would never end


def read_regular_text(path: Path, limit: int | None = TEXT_LIMIT, encoding: str = "utf-8") -> str:
    """Read a regular text file. Raises ``OSError`` as ``open_regular``, and ``UnicodeDecodeError``."""
    return io.StringIO(read_regular(path, limit).decode(encoding), newline=None).read()


@dataclass(frozen=True)
class ArrayFile:
    """Header of an ``.npy`` file.

    Attributes:
        dtype: type of the elements.
        shape: shape of the array.
        fortran: whether the first index varies fastest.
        start: position of the first element [bytes].
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @classmethod
    def of(cls, file: BinaryIO) -> "ArrayFile":
        """Read the header of an open file, and compare the size of the file with it.

        Raises:
            OSError, ValueError and others of ``arrays.UNREADABLE_ARRAY``: the file is no array, is cut off or too long,
                or holds Python objects.
        """
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its format is {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            shape, fortran, dtype = read(file)
        except (MemoryError, RecursionError) as error:
            raise ValueError("its header cannot be read") from error
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are never read")
        start = file.tell()
        needed, size = start + dtype.itemsize * math.prod(shape), file.seek(0, os.SEEK_END)
        if size != needed:
            raise ValueError(f"it has {size} bytes, and an array of {dtype}{list(shape)} has {needed}")
        return cls(dtype, shape, fortran, start)


def read_array(path: Path) -> NDArray[Any]:
    """Read an ``.npy`` file into memory. Raises as ``open_regular`` and ``ArrayFile.of``."""
    with open_regular(path) as file:
        ArrayFile.of(file)
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))


class PlainYamlError(yaml.YAMLError):
    """A YAML text is not of plain values, or has too many."""


def load_yaml(text: str) -> Any:
    """Plain values of a YAML text: mappings, lists, texts, numbers, true, false, null.

    Raises:
        yaml.YAMLError: the text is not YAML; has aliases, merge keys, tags, several documents; or is too deep or long.
    """
    documents = list(_documents(text, 2))
    if len(documents) > 1:
        raise PlainYamlError("it has several documents, separated by '---', where one is expected")
    return _value(documents[0]) if documents else None


def load_first_yaml(text: str) -> Any:
    """Plain values of the first document of a YAML text, such as the first message that was printed; as ``load_yaml``.

    None if there is no document.
    """
    return next((_value(node) for node in _documents(text, 1)), None)


def compose_yaml(text: str) -> yaml.Node | None:
    """Nodes of a YAML text, with their lines; None if it is empty. Raises ``yaml.YAMLError`` as ``load_yaml``."""
    documents = list(_documents(text, 2))
    if len(documents) > 1:
        raise PlainYamlError("it has several documents, separated by '---', where one is expected")
    return documents[0] if documents else None


def _documents(text: str, count: int) -> Iterator[yaml.Node]:
    """Yield the nodes of the first documents."""
    if len(text) > TEXT_LIMIT:
        raise PlainYamlError(f"it has {len(text)} characters, more than the {TEXT_LIMIT} that it may have")
    composer = _PlainComposer(text)
    for _ in range(count):
        if not composer.check_node():
            return
        node = composer.get_node()
        if node is not None:
            yield node


def _value(node: yaml.Node) -> Any:
    try:
        return SafeConstructor().construct_document(node)
    except (ValueError, OverflowError) as error:  # an integer or a date that cannot be
        raise PlainYamlError(f"a value cannot be read: {error}") from error


class _PureParser(Reader, Scanner, Parser):
    """Parser for installations of PyYAML without the library libyaml."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


_Parser: Any = _PureParser  # libyaml is ten times as fast
if yaml.__with_libyaml__:
    _Parser = yaml.cyaml.CParser  # type: ignore[attr-defined]


class _PlainComposer(Composer, _Parser, Resolver):
    """Composer that refuses what plain values do not need, before it grows in memory."""

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        Resolver.__init__(self)
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """Compose the next node."""
        event = self.peek_event()
        self._require_plain(event)
        self._values += 1
        self._depth += 1
        if self._values > _MAX_VALUES:
            raise _refusal(f"more than {_MAX_VALUES} values", event)
        if self._depth > _MAX_DEPTH:
            raise _refusal(f"more than {_MAX_DEPTH} levels", event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and node.tag != _TEXT:
            if node.tag == _MERGE:
                raise _refusal("a merge key '<<'", event)
            if len(node.value) > _MAX_DIGITS:
                raise _refusal(f"a number of {len(node.value)} characters", event)
        return node

    def _require_plain(self, event: Any) -> None:
        if isinstance(event, AliasEvent):
            raise _refusal(f"an alias '*{event.anchor}'", event)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise _refusal(f"an anchor '&{event.anchor}'", event)
        tag = event.tag if isinstance(event, ScalarEvent | CollectionStartEvent) else None
        if tag not in (None, "!") and tag not in _TAGS:
            raise _refusal(f"a tag '{tag}'", event)


def _refusal(what: str, event: Any) -> PlainYamlError:
    return PlainYamlError(f"line {event.start_mark.line + 1} has {what}, which is not allowed: write plain values")
