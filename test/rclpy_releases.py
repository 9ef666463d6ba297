"""The names and signatures of rclpy in each release of ROS 2, which ``scripts/rclpy_api.py`` has written."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parent / "data" / "rclpy_api"


@dataclass(frozen=True)
class Call:
    """The form of a call: how many positional arguments, which keywords, and whether ``*`` or ``**`` may add some."""

    positional: int
    keywords: tuple[str, ...] = ()
    is_open: bool = False


@dataclass(frozen=True)
class Use:
    """One place where something of rclpy is used.

    Attributes:
        line: where.
        paths: what it is, such as ``rclpy.node.Node.create_timer``; several where only the method's name is known.
        call: how it is called.
        subscripted: it stands before ``[]``.
        entered: it is called in a with statement.
    """

    line: int
    paths: tuple[str, ...]
    call: Call | None = None
    subscripted: bool = False
    entered: bool = False


@dataclass(frozen=True)
class Found:
    """Target of a path.

    Attributes:
        kind: ``module``, ``class``, ``function`` (methods too) or ``value``.
        path: of a class, without aliases.
        signature: of a function; a property has the one of its getter.
    """

    kind: str
    path: str = ""
    signature: str = ""

    @property
    def returns(self) -> str:
        """The path of the class that is returned, or ''."""
        return self.signature.partition(" -> ")[2]


class Release:
    """One release."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.name, self.version, self.date = data["release"], data["version"], data["date"]
        self._modules = data["modules"]
        self._classes: dict[str, dict[str, Any]] = {
            f"{module}.{name}": members
            for module, content in self._modules.items()
            for name, members in content.get("classes", {}).items()
        }

    def split(self, path: str) -> tuple[str, str]:
        """A path as the module and what is in it."""
        module = max((module for module in self._modules if f"{path}.".startswith(f"{module}.")), key=len, default="")
        return module, path[len(module) + 1 :]

    def methods(self) -> Iterator[tuple[str, str]]:
        """Each public method's name, and the path of its class."""
        for path, members in self._classes.items():
            for name in members.get("methods", {}):
                if not name.startswith("_"):
                    yield name, path

    def find(self, path: str) -> Found | None:
        """Target of a dotted path; None if there is none."""
        if path in self._modules:
            return Found("module")
        if path in self._classes:
            return Found("class", path)
        owner, _, name = path.rpartition(".")
        if owner in self._modules:
            return self._in_module(self._modules[owner], name)
        found = self.find(owner) if owner else None
        if found is None or found.kind != "class":
            return Found("value") if found else None  # the data do not say what a value has
        return self.find(f"{found.path}.{name}") if found.path != owner else self._in_class(owner, name)

    def problem(self, path: str, use: Use) -> str | None:
        """Problem of a use of a path in this release."""
        found = self.find(path)
        if found is None:
            return f"there is no {path}"
        if use.subscripted and found.kind == "class" and not self._classes[found.path].get("generic"):
            return f"{path} is not generic, so it cannot have []"
        if use.entered and not self._is_context_manager(found.path or found.returns):
            return f"{path}() is no context manager"
        if use.call is None:
            return None
        signature = self._constructor(found.path) if found.kind == "class" else found.signature
        if found.kind == "class" and "**" in signature:  # as QoSProfile of Humble: it takes its attributes
            unknown = [name for name in use.call.keywords if self.find(f"{found.path}.{name}") is None]
            return f"{path}() has no argument '{unknown[0]}'" if unknown else None
        why = binding_problem(signature, use.call) if signature and found.kind != "value" else None
        return f"{path}() {why}" if why else None

    def _in_module(self, content: Mapping[str, Any], name: str) -> Found | None:
        if name in content.get("functions", {}):
            return Found("function", signature=content["functions"][name])
        if name in content.get("aliases", {}):
            origin = content["aliases"][name]
            has_data = any(origin.startswith(f"{module}.") for module in self._modules if module != "rclpy")
            return self.find(origin) if has_data else Found("value")
        return Found("value") if name in content.get("names", ()) else None

    def _in_class(self, path: str, name: str) -> Found | None:
        for members in self._with_bases(path):
            if name in members.get("methods", {}):
                return Found("function", signature=members["methods"][name])
            if name in members.get("attributes", {}):
                kind = members["attributes"][name]
                return Found("value", signature=f"() -> {kind}" if kind else "")
        return None

    def _with_bases(self, path: str) -> Iterator[dict[str, Any]]:
        members = self._classes.get(path, {})
        yield members
        for base in members.get("bases", []):
            yield from self._with_bases(base)

    def _constructor(self, path: str) -> str:
        """The signature that a class is called with; '' where a base outside of rclpy decides."""
        for members in self._with_bases(path):
            for name in ("__init__", "__new__"):
                if name in members.get("methods", {}):
                    return str(members["methods"][name])
        return ""

    def _is_context_manager(self, path: str) -> bool:
        return any("__enter__" in members.get("methods", {}) for members in self._with_bases(path))


def read_releases() -> list[Release]:
    """All releases, the oldest first."""
    releases = [Release(json.loads(file.read_text(encoding="utf-8"))) for file in DATA.glob("*.json")]
    return sorted(releases, key=lambda release: [int(number) for number in release.version.split(".")])


def binding_problem(signature: str, call: Call) -> str | None:
    """Why a function with this signature cannot be called so; None if it can."""
    [function] = ast.parse(f"def f{signature}: ...").body
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    by_keyword = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)]
    if call.positional > len(positional) and arguments.vararg is None:
        return f"takes {len(positional)} positional arguments, not {call.positional}"
    for name in call.keywords:
        if name not in by_keyword and arguments.kwarg is None:
            return f"has no argument '{name}'"
        if name in positional[: call.positional]:
            return f"gets '{name}' twice"
    if call.is_open:
        return None
    required = positional[call.positional : len(positional) - len(arguments.defaults)]
    required += [a.arg for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default]
    missing = [name for name in required if name not in call.keywords]
    return f"needs '{missing[0]}'" if missing else None
