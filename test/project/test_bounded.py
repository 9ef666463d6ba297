"""Reading that ends: special files are refused at once, YAML that would grow is refused by line."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vizloc_ros.arrays import UNREADABLE_ARRAY
from vizloc_ros.bounded import load_first_yaml, load_yaml, open_regular, read_array, read_regular, read_regular_text
from vizloc_ros.cli.config_file import read_mapping
from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.errors import ConfigError, FeatureError, InputError, VizlocError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.launching.parameter_files import read_sections
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor

ALIASES = "a: &a [x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "aliases": (ALIASES, "line 1 has an anchor '&a'"),
    "merge keys": (MERGES, "line 1 has an anchor '&a'"),
    "merge key": ("a: {<<: {b: 1}}", "line 1 has a merge key '<<'"),
    "depth": ("a: " + "[" * 900 + "]" * 900, "line 1 has more than 32 levels"),
    "blocks": ("- " * 900 + "x", "line 1 has more than 32 levels"),
    "digits": ("a: 1\nb: " + "9" * 5000, "line 2 has a number of 5000 characters"),
    "sexagesimal": ("a: 1" + ":1" * 9000, "line 1 has a number of 18001 characters"),
    "date": ("a: 2024-99-99", "a value cannot be read: month"),
    "values": ("- 1\n" * 300_000, "line 200000 has more than 200000 values"),
    "tag": ("a: !!python/object/apply:os.system [echo]", "line 1 has a tag"),
    "binary": ("a: !!binary aGk=", "line 1 has a tag"),
    "documents": ("a: 1\n---\nb: 2\n", "it has several documents"),
    "size": ("#" * 20_000_000, "it has 20000000 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_yaml_that_would_grow_is_refused_in_time(name: str) -> None:
    text, said = REFUSED[name]
    started = time.process_time()
    with pytest.raises(yaml.YAMLError) as error:
        load_yaml(text)
    assert said in str(error.value)
    assert time.process_time() - started < 5.0, "0.01 to 1.5 s on an idle core"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(PLAIN)
def test_plain_values_are_read_as_pyyaml_reads_them(value: object) -> None:
    for flow in (False, True):
        text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow)
        if "&id" not in text:
            assert load_yaml(text) == yaml.safe_load(text)
            assert load_first_yaml(f"{text}\n---\nother\n") == yaml.safe_load(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"\n #?,%@`~<\\\t0:", max_size=60) | st.text(max_size=60))
def test_any_text_is_values_or_a_yaml_error(text: str) -> None:
    with suppress(yaml.YAMLError):
        load_yaml(text)


@pytest.fixture(params=["fifo", "zero", "folder", "socketless link"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A path that is no regular file."""
    path = tmp_path / "special.yaml"
    if request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if request.param == "zero" else "/dev/tty")
    return path


def open_weights(path: Path) -> object:
    return open_extractor("hfnet", {"weights": str(path)})


def open_network(path: Path) -> object:
    link = path.with_suffix(".onnx")
    link.symlink_to(path)
    return open_extractor(str(link))


READERS: dict[str, tuple[Callable[[Path], object], type[Exception]]] = {
    "open": (open_regular, OSError),
    "bytes": (lambda path: read_regular(path, 10), OSError),
    "text": (read_regular_text, OSError),
    "array": (read_array, OSError),
    "options": (read_mapping, ConfigError),
    "parameters": (read_sections, ConfigError),
    "calibration": (read_camera_info, VizlocError),
    "weights": (open_weights, FeatureError),
    "network": (open_network, FeatureError),
    "tracker": (lambda path: open_pyramid_extractor(str(path)), FeatureError),
}


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_is_refused_at_once(special: Path, reader: str) -> None:
    read, error = READERS[reader]
    with pytest.raises(error, match=r"regular file|No such device|\[Errno"):
        read(special)


def test_a_checkpoint_is_a_regular_file(special: Path) -> None:
    pytest.importorskip("torch")
    from vizloc_ros.training.checkpoint import load_checkpoint

    with pytest.raises(InputError, match=r"is no checkpoint, or is damaged"):
        load_checkpoint(special)


def test_a_larger_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse
    with pytest.raises(OSError, match="has 1099511627776 bytes, more than the 16777216 that it may have"):
        read_regular_text(path)


def test_an_array_is_read_only_if_it_is_as_long_as_it_says(tmp_path: Path) -> None:
    path, array = tmp_path / "a.npy", np.arange(12.0).reshape(3, 4)
    np.save(path, array)
    assert np.array_equal(read_array(path), array)
    whole = path.read_bytes()
    huge = whole.replace(b"(3, 4)", b"(3000000000, 4)").replace(b" " * 9 + b"\n", b"\n")
    assert len(huge) == len(whole)
    nested = whole.replace(b"(3, 4)", b"(" * 40 + b")" * 40).replace(b" " * 34, b"")
    for content in (whole[:-1], whole + b"x", huge, nested, b"\x93NUMPY\x09\x00", b""):
        path.write_bytes(content)
        with pytest.raises(UNREADABLE_ARRAY):
            read_array(path)
