"""Kinds of expressions in sources that use rclpy, and which files do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

MESSAGE_PACKAGES = ("_msgs", "_interfaces")  # how their names end

# What a variable or an attribute of unknown kind is taken for.
BY_NAME = {
    "executor": "rclpy.executors.Executor",
    "node": "rclpy.node.Node",
    "parameter": "rclpy.parameter.Parameter",
    "publisher": "rclpy.publisher.Publisher",
}

# Kinds of expressions; None is an unknown one.


@dataclass(frozen=True)
class Named:
    """Something of rclpy, by its path: a module, a class, a function, or an object's method or attribute."""

    path: str


@dataclass(frozen=True)
class Object:
    """An object of a class of rclpy."""

    path: str


@dataclass(frozen=True)
class OwnClass:
    """A class of the sources."""

    name: str


@dataclass(frozen=True)
class OwnObject:
    """An object of a class of the sources; ``above`` for ``super()``, which has only what the bases have."""

    name: str
    above: bool = False


@dataclass(frozen=True)
class Foreign:
    """Kind of all that has nothing to do with rclpy."""


Kind = Named | Object | OwnClass | OwnObject | Foreign | None
Scopes = tuple[dict[str, Kind], ...]  # the outermost first
FOREIGN = Foreign()


@dataclass
class ClassInfo:
    """A class of the sources."""

    bases: list[Kind] = field(default_factory=list)
    members: dict[str, Kind] = field(default_factory=dict)


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Each statement, also within others; ``ast.walk`` takes ten times as long, for their expressions."""
    for block in ("body", "orelse", "finalbody", "handlers", "cases"):
        for node in getattr(tree, block, ()):
            if isinstance(node, ast.stmt):
                yield node
            yield from statements(node)


def imported(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Each import with the module that it names."""
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom):
            yield node, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)


def is_of_ros(module: str) -> bool:
    """Tell whether a module is rclpy's or one of messages."""
    root = module.partition(".")[0]
    return root == "rclpy" or root.endswith(MESSAGE_PACKAGES)


def handles_nodes(tree: ast.Module) -> bool:
    """Tell whether a file may have a node in its hands: in others, the names of methods say nothing."""
    ours = ("vizloc_ros.nodes.", "vizloc_ros.ros.managed_node", "vizloc_ros.ros.pipeline_node")
    return any(is_of_ros(module) or module.startswith(ours) for _, module in imported(tree))


def arguments_of(function: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    """All arguments, in the order of a definition."""
    arguments = function.args
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


def evaluates_annotations(tree: ast.Module) -> bool:
    """Tell whether a file that imports rclpy or messages at its top evaluates its annotations when it is imported."""
    modules = [module for node, module in imported(tree) if node in tree.body]
    return any(map(is_of_ros, modules)) and "__future__" not in modules


def by_name(name: str) -> Kind:
    """Kind that a variable of unknown kind is taken for."""
    path = BY_NAME.get(name.lstrip("_"))
    return Object(path) if path else None
