"""Parameter files as ROS 2 reads them: sections by node name, with wildcards, and every value as it is written there.

Given several files, ROS 2 puts their sections into one list, in the order in which each name comes first, and the last
section that fits a node wins. So ``/**`` in a second file beats ``localizer`` in the first one and, if the first file
has it too, also ``localizer`` in the second. Here a later file always comes after an earlier one, and the outcome is
written as one file whose sections are the full names of nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from vizloc_ros.bounded import compose_yaml, read_regular_text
from vizloc_ros.errors import ConfigError

_PARAMETERS = "ros__parameters"
_BOOL, _STR = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:str"
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"})  # as ROS reads it


@dataclass(frozen=True)
class Value:
    """Value of a parameter.

    Attributes:
        written: the scalar or list, with its quotes: ROS and PyYAML differ in what they take for a number.
        section: the name of the section it is from, such as ``/**`` or ``/**/localizer``.
    """

    written: yaml.Node
    section: str = ""

    @classmethod
    def of(cls, value: str | bool | int | Sequence[str]) -> Value:
        """Value that is not from a file."""
        if not isinstance(value, str | bool | int):
            return cls(
                yaml.SequenceNode("tag:yaml.org,2002:seq", [cls.of(one).written for one in value], flow_style=True)
            )
        if isinstance(value, str):
            return cls(yaml.ScalarNode(_STR, value, style="'"))
        return cls(yaml.ScalarNode(_BOOL if isinstance(value, bool) else "tag:yaml.org,2002:int", str(value).lower()))

    @property
    def text(self) -> str:
        """Scalar without its quotes; empty for a list."""
        return self.written.value if isinstance(self.written, yaml.ScalarNode) else ""

    @property
    def texts(self) -> list[str]:
        """Scalars of a list without their quotes; none for a scalar."""
        return [one.value for one in self.written.value] if isinstance(self.written, yaml.SequenceNode) else []

    @property
    def is_true(self) -> bool:
        """Return true if ROS takes it for true."""
        return self.text in _TRUE

    def is_for(self, node: str) -> bool:
        """Return true if its section names the node, rather than fitting it by a wildcard."""
        return self.section.rpartition("/")[2] == node


Values = dict[str, Value]  # by the parameter's name


@dataclass(frozen=True)
class Section:
    """Parameters that a file has under one name of nodes."""

    name: str
    values: Values

    def fits(self, node: str) -> bool:
        """Return true if the section is for a node, given by its full name."""
        pattern = re.escape(f"/{self.name.lstrip('/')}").replace(r"/\*", r"(/\w+)").replace(r"\*", "*")
        return re.fullmatch(pattern, node) is not None


def read_sections(path: Path) -> list[Section]:
    """Sections of a parameter file, in the order in which ROS applies them.

    Raises:
        ConfigError: no such file, not YAML, or not made of sections with ``ros__parameters``.
    """
    try:
        root = compose_yaml(read_regular_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: the parameters cannot be read: {' '.join(str(error).split())}") from error
    sections: dict[str, Values] = {}
    for name, values in _sections(root, (), path) if root is not None else ():
        sections.setdefault(name, {}).update(values)
    return [Section(name, values) for name, values in sections.items()]


def values_for(node: str, sections: Sequence[Section]) -> Values:
    """Values of a file for a node, given by its full name."""
    return {name: value for section in sections if section.fits(node) for name, value in section.values.items()}


def write_parameters(path: Path, values_by_node: Mapping[str, Values]) -> None:
    """Write a parameter file with one section for each node, given by its full name."""

    def mapping(content: Mapping[str, yaml.Node]) -> yaml.MappingNode:
        return yaml.MappingNode(
            "tag:yaml.org,2002:map", [(_key(key), node) for key, node in content.items()], None, None, False
        )

    sections = {
        node: mapping({_PARAMETERS: mapping({name: _copy(value.written) for name, value in values.items()})})
        for node, values in values_by_node.items()
    }
    text = yaml.serialize(mapping(sections), Dumper=yaml.SafeDumper, allow_unicode=True, width=1 << 20)
    path.write_text(text, encoding="utf-8")


def _sections(node: yaml.Node, names: tuple[str, ...], path: Path) -> Iterator[tuple[str, Values]]:
    """Pairs (name, values) of every ``ros__parameters`` at or below a node of the file."""
    if not isinstance(node, yaml.MappingNode):
        raise _error(path, node, f"expected the name of a node, then {_PARAMETERS}, then parameters")
    for key, value in node.value:
        if key.value != _PARAMETERS:
            yield from _sections(value, (*names, str(key.value)), path)
        elif not names:
            raise _error(path, key, f"there is no name of a node above {_PARAMETERS}")
        elif not isinstance(value, yaml.MappingNode):
            raise _error(path, value, f"there are no parameters under {_PARAMETERS}")
        else:
            section = "/".join(names)
            yield section, {name: Value(written, section) for name, written in _parameters(value, "", path)}


def _parameters(mapping: yaml.MappingNode, prefix: str, path: Path) -> Iterator[tuple[str, yaml.Node]]:
    """Pairs (name, value) of the parameters in a mapping; those in mappings within it have names with dots."""
    for key, value in mapping.value:
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode):
            yield from _parameters(value, f"{name}.", path)
        elif isinstance(value, yaml.ScalarNode) and not value.value and not value.style:
            raise _error(path, key, f"parameter '{name}' has no value; the empty text is ''")
        else:
            yield name, value


def _error(path: Path, node: yaml.Node, problem: str) -> ConfigError:
    return ConfigError(f"{path}, line {node.start_mark.line + 1}: {problem}")


def _key(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode(_STR, text)


def _copy(node: yaml.Node) -> yaml.Node:
    """Copy of a scalar or list: PyYAML writes a node that it meets twice as an alias, which ROS refuses."""
    if isinstance(node, yaml.ScalarNode):
        return yaml.ScalarNode(node.tag, node.value, style=node.style)
    return yaml.SequenceNode(node.tag, [_copy(element) for element in node.value], flow_style=True)
