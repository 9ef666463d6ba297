"""What Python sources use of rclpy, and which releases of ROS 2 do not have it. Sources are read, never imported.

An object's class is known from where it is made or from its annotation; a variable ``node: Any`` is taken for a node.
A method of an object of unknown class is checked if only classes of rclpy have one of that name.

    python test/rclpy_usage.py

prints the table of the documentation.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rclpy_kinds import ClassInfo, Kind, Named, OwnClass, OwnObject, handles_nodes, statements
from rclpy_reader import Reader
from rclpy_releases import Found, Release, Use, read_releases
from repository import REPOSITORY

# Names of methods that other classes have too.
COMMON = {
    name
    for kind in (str, bytes, list, dict, set, int, float, Path, threading.Event, threading.Thread)
    for name in dir(kind)
}


@dataclass(frozen=True)
class Problem:
    """A use of something that some releases do not have."""

    file: str
    line: int
    path: str
    missing: str
    releases: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.missing} in {', '.join(self.releases)}"


class Sources:
    """Sources that are read together, by file name: a class in one may be the base of a class in another."""

    def __init__(self, texts: Mapping[str, str], releases: Sequence[Release]) -> None:
        self.releases = releases
        trees = {file: ast.parse(text, file) for file, text in texts.items()}
        self.trees = {file: tree for file, tree in trees.items() if handles_nodes(tree)}
        self.modules = {Path(file).stem for file in texts}
        nodes = [node for tree in trees.values() for node in statements(tree)]
        self.classes = {node.name: ClassInfo() for node in nodes if isinstance(node, ast.ClassDef)}
        elsewhere = COMMON | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        methods = {pair for release in releases for pair in release.methods() if pair[0] not in elsewhere}
        self.owners_by_name: dict[str, list[str]] = defaultdict(list)  # classes of rclpy, by methods only they have
        for method, owner in sorted(methods):
            self.owners_by_name[method].append(owner)
        for tree in self.trees.values():  # read twice in all: then the kinds of all classes' members are known
            Reader(self).read(tree)

    def uses(self) -> Iterator[tuple[str, Use]]:
        """Each use of rclpy, with its file."""
        for file, tree in self.trees.items():
            for use in Reader(self).read(tree):
                yield file, use

    def problems(self) -> list[Problem]:
        """What some releases do not have."""
        found = []
        for file, use in self.uses():
            releases: dict[str, list[str]] = defaultdict(list)
            for release in self.releases:
                missing = [problem for path in use.paths if (problem := release.problem(path, use))]
                if len(missing) == len(use.paths):
                    releases[min(missing, key=lambda what: what.startswith("there is no"))].append(release.name)
            found += [Problem(file, use.line, use.paths[0], what, tuple(names)) for what, names in releases.items()]
        return list(dict.fromkeys(found))

    def find(self, path: str) -> Found | None:
        """What a path leads to in the newest release that says what it returns, else in the newest that has it."""
        found = [found for release in reversed(self.releases) if (found := release.find(path))]
        return next((one for one in found if one.returns), found[0] if found else None)

    def member(self, owner: OwnObject, name: str) -> tuple[bool, Kind]:
        """Tell whether the sources define a member, and its kind; if they do not, the kind is that of rclpy's base."""
        info = self.classes[owner.name]
        if not owner.above and name in info.members:
            return True, info.members[name]
        for base in info.bases:
            if isinstance(base, OwnClass):
                is_own, kind = self.member(OwnObject(base.name), name)
                if is_own or kind is not None:
                    return is_own, kind
            elif isinstance(base, Named) and self.find(f"{base.path}.{name}"):
                return False, Named(f"{base.path}.{name}")
        return False, None


def package_sources() -> dict[str, str]:
    """The text of every Python file of the package, its launch files and its tests, by its path."""
    files = [file for folder in ("vizloc_ros", "launch", "test") for file in (REPOSITORY / folder).rglob("*.py")]
    return {str(file.relative_to(REPOSITORY)): file.read_text(encoding="utf-8") for file in sorted(files)}


def table(sources: Sources) -> str:
    """The Markdown table of what the package uses (not its tests), and what of that a release does not have."""
    newest = sources.releases[-1]
    members: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for file, use in sources.uses():
        module, name = newest.split(use.paths[0])
        if not file.startswith("test/") and name:
            owner, _, member = name.partition(".")
            members[module][owner] |= {member} - {"", "__init__"}
    missing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for problem in sources.problems():
        module, name = newest.split(problem.path)
        for release in problem.releases if not problem.file.startswith("test/") else ():
            missing[module, release].add(name)
    columns = [f"{release.name.capitalize()} {release.version}, {release.date}" for release in sources.releases]
    lines = [f"| used of rclpy | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for module, owners in sorted(members.items()):
        used = ", ".join(_listed(owner, names) for owner, names in sorted(owners.items()))
        cells = [_cell(missing[module, release.name]) for release in sources.releases]
        lines.append(f"| `{module}`: {used} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _listed(owner: str, members: set[str]) -> str:
    """A name, with those of its members that are used; `Type.BOOL` says that `Type` is."""
    shown = sorted(name for name in members if not any(other.startswith(f"{name}.") for other in members))
    return f"`{owner}`" + (f" ({', '.join(f'`{name}`' for name in shown)})" if shown else "")


def _cell(missing: set[str]) -> str:
    return f"without {', '.join(f'`{name}`' for name in sorted(missing))}" if missing else "✓"


if __name__ == "__main__":
    sys.stdout.write(table(Sources(package_sources(), read_releases())))
