"""Names and signatures of rclpy in each release of ROS 2, as data for ``test/project/test_rclpy_api.py``.

    git clone --bare https://github.com/ros2-gbp/rclpy-release
    python scripts/rclpy_api.py rclpy-release.git

ROS 2's packages are built from that repository; taken is the newest tag of each release. The sources are read, never
imported. Only names and signatures are written: one file a release in ``test/data/rclpy_api``.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SOURCE = "https://github.com/ros2-gbp/rclpy-release"
RELEASES = ("humble", "iron", "jazzy", "kilted", "lyrical", "rolling")
# What a node may need. A module that the package starts to use must be added.
MODULES = (
    *("rclpy", "rclpy.callback_groups", "rclpy.clock", "rclpy.clock_type", "rclpy.context", "rclpy.duration"),
    *("rclpy.exceptions", "rclpy.executors", "rclpy.impl.rcutils_logger", "rclpy.logging", "rclpy.node"),
    *("rclpy.lifecycle", "rclpy.lifecycle.managed_entity", "rclpy.lifecycle.node", "rclpy.lifecycle.publisher"),
    *("rclpy.parameter", "rclpy.publisher", "rclpy.qos", "rclpy.serialization", "rclpy.signals", "rclpy.subscription"),
    *("rclpy.task", "rclpy.time", "rclpy.timer", "rclpy.utilities"),
)
EXTENSION_MODULE, EXTENSION = "rclpy.impl.implementation_singleton", "rclpy_implementation"
PRIVATE = ("_parameter_overrides", "_state_machine")  # private names that the package uses all the same
SPECIAL = ("__call__", "__enter__", "__init__", "__new__")
DATA = Path(__file__).resolve().parents[1] / "test" / "data" / "rclpy_api"

Scope = dict[str, str]  # dotted name by the name that a module knows it by


class Repository:
    """The files of one tag of a git repository."""

    def __init__(self, folder: Path, release: str) -> None:
        """Finds the newest tag of the release."""
        self._folder = folder
        tags = self._git("tag", "--list", f"release/{release}/rclpy/*", "--sort=-version:refname").split()
        if not tags:
            raise SystemExit(f"{folder} has no tag release/{release}/rclpy/*: is it a clone of {SOURCE}?")
        self.tag = tags[0]
        self.commit, self.date = self._git("log", "-1", "--format=%H %cs", self.tag).split()
        self.files = self._git("ls-tree", "-r", "--name-only", self.tag).splitlines()

    def read(self, path: str) -> str:
        """The text of a file."""
        return self._git("show", f"{self.tag}:{path}")

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self._folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def release_data(repository: Repository, release: str) -> dict[str, Any]:
    """Data of a release for its file: source, version, date, and the modules with their names and signatures."""
    modules = {}
    for name in MODULES:
        path = name.replace(".", "/")
        found = [file for file in (f"{path}.py", f"{path}/__init__.py") if file in repository.files]
        if found:
            package = name if found[0].endswith("/__init__.py") else name.rpartition(".")[0]
            modules[name] = Module(name, package, ast.parse(repository.read(found[0]))).data
    sources = [repository.read(file) for file in repository.files if re.fullmatch(r"src/rclpy/.*\.cpp", file)]
    modules[EXTENSION_MODULE] = {"classes": extension_classes("\n".join(sources))}
    version = re.search(r"<version>(.+?)</version>", repository.read("package.xml"))
    return {
        "release": release,
        "version": version[1] if version else "",
        "date": repository.date,
        "source": SOURCE,
        "tag": repository.tag,
        "commit": repository.commit,
        "modules": dict(sorted(modules.items())),
    }


def extension_classes(sources: str) -> dict[str, Any]:
    """The names of the C++ extension as attributes of a class, and its enumerations as classes inside of it."""
    bound = r'\(\s*(?:m|module)\s*,\s*"(\w+)"'
    names = re.findall(rf"(?:class_|enum_|register_exception)<[^;\"]*?>\s*(?:\w+\s*)?{bound}", sources)
    names += re.findall(r'\b(?:m|module)\.(?:def|def_submodule|attr)\(\s*"(\w+)"', sources)
    classes: dict[str, Any] = {EXTENSION: {"attributes": dict.fromkeys(sorted(set(names)), "")}}
    for name, values in re.findall(rf"enum_<[^;\"]*?>\s*{bound}\s*\)(.*?);", sources, re.DOTALL):
        members = sorted(re.findall(r'\.value\(\s*"(\w+)"', values))
        classes[f"{EXTENSION}.{name}"] = {"attributes": dict.fromkeys(members, "")}
    return dict(sorted(classes.items()))


class Module:
    """Reads one module; ``data`` is what it offers: functions, classes, names, and aliases of what others define."""

    def __init__(self, name: str, package: str, tree: ast.Module) -> None:
        self._name, self._package = name, package
        self._scope: Scope = {}
        self._functions: dict[str, str] = {}
        self._classes: dict[str, Any] = {}
        self._names: set[str] = set()
        self._aliases: dict[str, str] = {}
        for statement in ast.walk(tree):  # those for type checkers too: annotations name what they import
            if isinstance(statement, ast.ImportFrom):
                self._scope |= {alias.asname or alias.name: origin for alias, origin in _imports(statement, package)}
        self._scope |= {s.name: f"{name}.{s.name}" for s in tree.body if isinstance(s, ast.ClassDef)}
        for statement in _executed(tree.body):
            self._read(statement)

    @property
    def data(self) -> dict[str, Any]:
        """In a fixed order, without what is empty."""
        found = {
            "functions": dict(sorted(self._functions.items())),
            "classes": dict(sorted(self._classes.items())),
            "names": sorted(self._names - self._aliases.keys()),
            "aliases": dict(sorted(self._aliases.items())),
        }
        return {kind: values for kind, values in found.items() if values}

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if _is_public(statement.name) and not _is_decorated(statement, "overload"):
                self._functions[statement.name] = self._signature(statement)
        elif isinstance(statement, ast.ClassDef):
            if _is_public(statement.name):
                self._read_class(statement, statement.name)
        elif isinstance(statement, ast.ImportFrom):
            for alias, origin in _imports(statement, self._package):
                name = alias.asname or alias.name
                if _is_public(name) and origin.startswith("rclpy."):
                    self._aliases[name] = origin
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            for name in _assigned(statement):
                origin = self._origin(statement.value) if statement.value else ""
                if origin.startswith("rclpy.") and _is_public(name):
                    self._aliases[name] = origin
                elif _is_public(name):
                    self._names.add(name)
                self._scope.setdefault(name, origin or f"{self._name}.{name}")

    def _read_class(self, definition: ast.ClassDef, qualified: str) -> None:
        bases = [self._origin(base.value if isinstance(base, ast.Subscript) else base) for base in definition.bases]
        generic = any(isinstance(base, ast.Subscript) and self._has_variable(base) for base in definition.bases)
        methods: dict[str, str] = {}
        attributes: dict[str, str] = {}
        for statement in _executed(definition.body):
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                attributes |= dict.fromkeys(_set_on_self(statement) - attributes.keys(), "")
                if _is_decorated(statement, "property"):
                    attributes[statement.name] = self._returned(statement)
                elif not _is_decorated(statement, "overload") and not _is_decorated(statement, "setter"):
                    methods[statement.name] = self._signature(statement, is_method=True)
            elif isinstance(statement, ast.ClassDef) and _is_public(statement.name):
                self._read_class(statement, f"{qualified}.{statement.name}")
                attributes.setdefault(statement.name, "")
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                attributes |= dict.fromkeys(set(_assigned(statement)) - attributes.keys(), "")
        found = {
            "bases": [base for base in bases if base.startswith("rclpy.")],
            "generic": generic,
            "methods": {name: methods[name] for name in sorted(methods) if _is_public(name) or name in SPECIAL},
            "attributes": {
                name: attributes[name] for name in sorted(attributes) if _is_public(name) or name in PRIVATE
            },
        }
        self._classes[qualified] = {kind: values for kind, values in found.items() if values}

    def _has_variable(self, base: ast.Subscript) -> bool:
        """Return True if a base such as ``Generic[T]`` has a type variable; rclpy's names of those end in T or Type."""
        names = [node.id for node in ast.walk(base.slice) if isinstance(node, ast.Name)]
        return any(re.search(r"(T|Type|_T_co)$", name) for name in names)

    def _signature(self, function: ast.FunctionDef | ast.AsyncFunctionDef, is_method: bool = False) -> str:
        """Such as ``(period, callback, group=..., *, clock=...) -> rclpy.timer.Timer``, without ``self``."""
        given = function.args
        positional = [*given.posonlyargs, *given.args]
        without = 1 if is_method and not _is_decorated(function, "staticmethod") else 0
        plain = ast.arguments(
            posonlyargs=[_plain(argument) for argument in given.posonlyargs[without:]],
            args=[_plain(argument) for argument in positional[max(without, len(given.posonlyargs)) :]],
            vararg=given.vararg and _plain(given.vararg),
            kwonlyargs=[_plain(argument) for argument in given.kwonlyargs],
            kw_defaults=[default and ast.Constant(...) for default in given.kw_defaults],
            kwarg=given.kwarg and _plain(given.kwarg),
            defaults=[ast.Constant(...) for _ in given.defaults],
        )
        returned = self._returned(function)
        return f"({ast.unparse(plain)})" + (f" -> {returned}" if returned else "")

    def _returned(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        """The class of rclpy that a function returns as far as its annotation tells, or ''."""
        annotation = function.returns
        while isinstance(annotation, ast.Subscript | ast.Constant):
            if isinstance(annotation, ast.Subscript):  # Optional[Timer], Publisher[MsgT]
                annotation = annotation.slice if ast.unparse(annotation.value) == "Optional" else annotation.value
            elif isinstance(annotation.value, str):
                annotation = ast.parse(annotation.value, mode="eval").body
            else:
                return ""
        origin = self._origin(annotation) if annotation else ""
        return origin if origin.startswith("rclpy.") and EXTENSION not in origin else ""

    def _origin(self, expression: ast.expr) -> str:
        """The dotted name that a name or an attribute stands for; '' for any other expression."""
        if isinstance(expression, ast.Name):
            return self._scope.get(expression.id, expression.id)
        if isinstance(expression, ast.Attribute) and (owner := self._origin(expression.value)):
            return f"{owner}.{expression.attr}"
        return ""


def _imports(statement: ast.ImportFrom, package: str) -> Iterator[tuple[ast.alias, str]]:
    """Each imported name with its dotted origin; relative imports are those of a module in the package."""
    parts = package.split(".")[: len(package.split(".")) + 1 - statement.level] if statement.level else []
    module = ".".join([*parts, *([statement.module] if statement.module else [])])
    for alias in statement.names:
        yield alias, f"{module}.{alias.name}"


def _executed(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, those inside ``if`` and ``try`` too, but not what only type checkers see."""
    for statement in body:
        if isinstance(statement, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(statement.test):
                yield from _executed(statement.body)
            yield from _executed(statement.orelse)
        elif isinstance(statement, ast.Try):
            for block in (statement.body, statement.orelse, *(handler.body for handler in statement.handlers)):
                yield from _executed(block)
        else:
            yield statement


def _assigned(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _set_on_self(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The attributes that a method sets on its object."""
    return {
        node.attr
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }


def _is_decorated(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    return any(ast.unparse(decorator).rpartition(".")[2] == name for decorator in function.decorator_list)


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _plain(argument: ast.arg) -> ast.arg:
    return ast.arg(argument.arg)


def written(data: dict[str, Any]) -> str:
    """JSON with one line for each class, so that a change of rclpy is a change of few lines."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    inner = re.compile(r"\n {5,}(?=\S)|\n {4}(?=[}\]])")
    return inner.sub(" ", text) + "\n"


def main() -> None:
    """Writes the files of all releases."""
    parser = argparse.ArgumentParser(description="Write names and signatures of rclpy in each release of ROS 2.")
    parser.add_argument("clone", type=Path, help=f"clone of {SOURCE}")
    clone = parser.parse_args().clone
    DATA.mkdir(parents=True, exist_ok=True)
    for release in RELEASES:
        data = release_data(Repository(clone, release), release)
        (DATA / f"{release}.json").write_text(written(data), encoding="utf-8")


if __name__ == "__main__":
    main()
