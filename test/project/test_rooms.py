"""Imports run one way through the rooms of the package, and the documentation quotes the same order."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import REPOSITORY

PACKAGE = REPOSITORY / "vizloc_ros"
# A room imports from the rooms before it; rooms of one line do not import from each other.
ORDER = (
    ("dependencies", "errors", "arrays"),
    ("bounded", "files", "options", "parallel", "timing", "wording"),
    ("work",),
    ("geometry",),
    ("datasets", "features"),
    ("mapping", "bags"),
    ("localization", "pixloc"),
    ("option_tree", "readers"),
    ("evaluation", "ros"),
    ("training", "nodes", "launching", "benchmark", "view"),
    ("replay",),
    ("cli",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
# Who may import these at module level; elsewhere they are optional, or the module must do without.
ONLY_IN = {
    "rclpy": ("ros", "nodes", "replay", "launching"),
    "launch": ("launching",),
    "torch": ("training",),
    "rerun": ("view",),
}
GRAPHS = ("features/hfnet", "pixloc/network", "features/onnx_export.py")  # what torch trains and exports


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def module_level(tree: ast.Module) -> ast.Module:
    return ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])


MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    room, tree = room_of(path), ast.parse(path.read_text())
    inner = {name.split(".")[1] for name in imports(tree) if name.startswith("vizloc_ros.")}
    assert room in RANK
    assert {other for other in inner if other != room and RANK[other] >= RANK[room]} == set()
    for library, rooms in ONLY_IN.items():
        if any(name.split(".")[0] == library for name in imports(module_level(tree))):
            exported = library == "torch" and str(path.relative_to(PACKAGE)).startswith(GRAPHS)
            assert room in rooms or exported, f"{library} is imported"


def test_file_names_are_unique() -> None:
    """So that the name of a file is enough to open it."""
    names = Counter(path.name for path in MODULES if path.name != "__init__.py")
    assert {name for name, count in names.items() if count > 1} == set()


def test_the_documentation_has_the_same_order() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    quoted = re.search(r"<!-- rooms -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert quoted is not None
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in quoted[1].splitlines()[2:]]
    assert [tuple(row) for row in rows] == list(ORDER)
