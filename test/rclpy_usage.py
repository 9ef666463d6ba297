"""What Python sources use of rclpy, and which releases of ROS 2 do not have it. Sources are read, never imported.

An object's class is known from where it is made or from its annotation; a variable ``node: Any`` is taken for a node.
A method of an object of unknown class is checked if only classes of rclpy have one of that name.

    python test/rclpy_usage.py

prints the table of the documentation.
"""

from __future__ import annotations

import ast
import builtins
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rclpy_releases import Call, Found, Release, Use, read_releases
from repository import REPOSITORY

MESSAGE_PACKAGES = ("_msgs", "_interfaces")  # how their names end

# What a variable or an attribute of unknown kind is taken for.
BY_NAME = {
    "executor": "rclpy.executors.Executor",
    "node": "rclpy.node.Node",
    "parameter": "rclpy.parameter.Parameter",
    "publisher": "rclpy.publisher.Publisher",
}

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
    """What has nothing to do with rclpy."""


Kind = Named | Object | OwnClass | OwnObject | Foreign | None
Scopes = tuple[dict[str, Kind], ...]  # the outermost first
FOREIGN = Foreign()


@dataclass
class ClassInfo:
    """A class of the sources."""

    bases: list[Kind] = field(default_factory=list)
    members: dict[str, Kind] = field(default_factory=dict)


class Sources:
    """Sources that are read together, by file name: a class in one may be the base of a class in another."""

    def __init__(self, texts: Mapping[str, str], releases: Sequence[Release]) -> None:
        self.releases = releases
        trees = {file: ast.parse(text, file) for file, text in texts.items()}
        self.trees = {file: tree for file, tree in trees.items() if handles_nodes(tree)}
        self.modules = {Path(file).stem for file in texts}
        nodes = [node for tree in trees.values() for node in ast.walk(tree)]
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
        """Whether the sources define a member, and its kind; if they do not, the kind is that of rclpy's base."""
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


class Reader(ast.NodeVisitor):
    """Reads one file: follows what it has of rclpy, and notes each use."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._uses: list[Use] = []
        self._scopes: Scopes = ({},)
        self._class = ""
        self._bodies: list[tuple[Scopes, str, list[ast.stmt]]] = []

    def read(self, tree: ast.Module) -> list[Use]:
        """All uses. The body of a function is read after what is around it, as it runs after that."""
        self._bodies = [(self._scopes, "", tree.body)]
        while self._bodies:
            self._scopes, self._class, body = self._bodies.pop(0)
            for statement in body:
                self.visit(statement)
        return self._uses

    # Kinds of expressions

    def kind(self, expression: ast.expr) -> Kind:
        """The kind of an expression."""
        match expression:
            case ast.Name(id=name):
                return self._kind_of_name(name)
            case ast.Attribute(value=value, attr=name):
                return self._kind_of_attribute(self.kind(value), name)
            case ast.Call(func=ast.Name(id="super")):
                return OwnObject(self._class, above=True)
            case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name)), *_]):
                return self._kind_of_attribute(self.kind(value), name)
            case ast.Call(func=function):
                return self._kind_of_result(self.kind(function))
            case ast.IfExp(body=first, orelse=second):
                return self._known(first, second)
            case ast.BoolOp(values=values):
                return self._known(*values)
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.kind(value)
            case ast.Subscript():
                return None
        return FOREIGN  # literals, comparisons, arithmetic

    def _known(self, *alternatives: ast.expr) -> Kind:
        kinds = [self.kind(alternative) for alternative in alternatives]
        return next((kind for kind in kinds if kind not in (None, FOREIGN)), None if None in kinds else FOREIGN)

    def _kind_of_name(self, name: str) -> Kind:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        if name in self._sources.classes:
            return OwnClass(name)
        return FOREIGN if hasattr(builtins, name) else by_name(name)

    def _kind_of_attribute(self, owner: Kind, name: str) -> Kind:
        if isinstance(owner, Named):
            found = self._sources.find(owner.path)
            if found is None or found.kind != "value":
                return Named(f"{owner.path}.{name}")
            owner = Object(found.returns) if found.returns else FOREIGN
        if isinstance(owner, Object) and self._sources.find(f"{owner.path}.{name}"):
            return Named(f"{owner.path}.{name}")
        if isinstance(owner, OwnObject):
            is_own, kind = self._sources.member(owner, name)
            return kind if is_own or kind is not None else by_name(name)
        return FOREIGN if isinstance(owner, OwnClass | Foreign) else by_name(name)

    def _kind_of_result(self, function: Kind) -> Kind:
        if isinstance(function, OwnClass):
            return OwnObject(function.name)
        if isinstance(function, Named) and (found := self._sources.find(function.path)):
            made = found if found.kind == "class" else self._sources.find(found.returns)
            return Object(made.path) if made and made.kind == "class" else FOREIGN
        return FOREIGN if isinstance(function, Foreign) else None

    def _kind_by_annotation(self, annotation: ast.expr | None, name: str) -> Kind:
        match annotation:
            case ast.Constant(value=str(text)):
                return self._kind_by_annotation(ast.parse(text, mode="eval").body, name)
            case ast.BinOp(left=left):  # Node | None
                return self._kind_by_annotation(left, name)
            case None | ast.Name(id="Any" | "object"):
                return by_name(name)
            case ast.Name() | ast.Attribute():
                made = self._kind_of_result(self.kind(annotation))
                return FOREIGN if made is None else made
        return None

    # Uses

    def _note(self, node: ast.expr | ast.stmt, kind: Kind, **how: Any) -> None:
        if isinstance(kind, Named):
            self._uses.append(Use(node.lineno, (kind.path,), **how))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            root = alias.name.partition(".")[0]
            self._note(node, Named(alias.name) if root == "rclpy" else FOREIGN)
            bound = Named(alias.name if alias.asname else root)
            self._bind(alias.asname or root, bound if root == "rclpy" else FOREIGN)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            kind: Kind = FOREIGN
            if module.partition(".")[0] == "rclpy":
                kind = Named(f"{module}.{alias.name}")
            elif alias.name in self._sources.classes and module.rpartition(".")[2] in self._sources.modules:
                kind = OwnClass(alias.name)
            self._note(node, kind)
            self._bind(alias.asname or alias.name, kind)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note(node, self.kind(node))
        self._visit_owner(node)

    def _visit_owner(self, node: ast.Attribute) -> None:
        owner = node.value
        while isinstance(owner, ast.Attribute) and self._is_part_of_path(owner):
            owner = owner.value
        self.visit(owner)

    def _is_part_of_path(self, node: ast.Attribute) -> bool:
        """Whether it is only the way to something, as ``Parameter.Type`` in ``Parameter.Type.BOOL``."""
        kind = self.kind(node)
        found = self._sources.find(kind.path) if isinstance(kind, Named) else None
        return found is not None and found.kind in ("module", "class")

    def visit_Call(self, node: ast.Call) -> None:
        kind = self.kind(node.func)
        is_open = any(isinstance(given, ast.Starred) for given in node.args) or any(not k.arg for k in node.keywords)
        positional = sum(not isinstance(given, ast.Starred) for given in node.args)
        call = Call(positional, tuple(keyword.arg for keyword in node.keywords if keyword.arg), is_open)
        self._note(node, kind, call=call)
        if isinstance(node.func, ast.Name) and node.func.id == "getattr":
            self._note(node, self.kind(node))
        if isinstance(node.func, ast.Attribute):
            owners = self._sources.owners_by_name.get(node.func.attr)
            if owners and self.kind(node.func.value) is None:
                self._uses.append(Use(node.lineno, tuple(f"{owner}.{node.func.attr}" for owner in owners), call))
            self._visit_owner(node.func)
        else:
            self.visit(node.func)
        for given in (*node.args, *node.keywords):
            self.visit(given)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._note(node, self.kind(node.value), subscripted=True)
        self.generic_visit(node)

    def _visit_annotation(self, annotation: ast.expr | None) -> None:
        if annotation is None:
            return
        self.visit(annotation)
        for part in ast.walk(annotation):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                with suppress(SyntaxError):  # words, as in Annotated or Literal
                    text = ast.parse(f"({part.value})", mode="eval")
                    for inner in ast.walk(text):
                        ast.copy_location(inner, part)
                    self.visit(text)

    # Bindings

    def _bind(self, name: str, kind: Kind) -> None:
        self._scopes[-1][name] = kind

    def _bind_target(self, target: ast.expr, kind: Kind) -> None:
        match target:
            case ast.Name(id=name):
                self._bind(name, by_name(name) if kind is None else kind)
            case ast.Tuple(elts=elements) | ast.List(elts=elements):
                for element in elements:
                    self._bind_target(element, None)
            case ast.Attribute(value=owner, attr=name) if self._class and self.kind(owner) == OwnObject(self._class):
                members = self._sources.classes[self._class].members
                if members.get(name) in (None, FOREIGN):  # else known already; this may be ``= None``
                    members[name] = by_name(name) if kind is None else kind
            case _:
                self.visit(target)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for element, value in zip(target.elts, node.value.elts, strict=False):
                    self._bind_target(element, self.kind(value))
            else:
                self._bind_target(target, self.kind(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit_annotation(node.annotation)
        if node.value:
            self.visit(node.value)
        name = node.target.id if isinstance(node.target, ast.Name) else ""
        kind = self._kind_by_annotation(node.annotation, name)
        self._bind_target(node.target, self.kind(node.value) if node.value and kind in (None, FOREIGN) else kind)

    def visit_withitem(self, node: ast.withitem) -> None:
        self.visit(node.context_expr)
        if isinstance(node.context_expr, ast.Call):
            self._note(node.context_expr, self.kind(node.context_expr.func), entered=True)
        if node.optional_vars:
            kind = self.kind(node.context_expr)
            self._bind_target(node.optional_vars, kind if isinstance(kind, Object | OwnObject) else None)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._bind(node.name, None)
        self._visit_function(node, {})

    def _visit_function(self, node: ast.FunctionDef, scope: dict[str, Kind]) -> None:
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        for argument in arguments_of(node):
            self._visit_annotation(argument.annotation)
            scope.setdefault(argument.arg, self._kind_by_annotation(argument.annotation, argument.arg))
        self._visit_annotation(node.returns)
        self._bodies.append(((*self._scopes, scope), self._class, node.body))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.bases, *node.decorator_list):
            self.visit(part)
        info = self._sources.classes[node.name]
        info.bases = [self.kind(base) for base in node.bases]
        self._bind(node.name, OwnClass(node.name))
        around, self._class = self._class, node.name
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef):
                info.members.setdefault(statement.name, None)
                is_static = any(ast.unparse(decorator) == "staticmethod" for decorator in statement.decorator_list)
                arguments = arguments_of(statement)
                scope: dict[str, Kind] = {} if is_static else {arguments[0].arg: OwnObject(node.name)}
                self._visit_function(statement, scope)
            else:
                scopes, names = self._scopes, dict[str, Kind]()
                self._scopes = (*scopes, names)
                self.visit(statement)
                self._scopes = scopes
                for name, kind in names.items():
                    info.members.setdefault(name, kind)
        self._class = around


def imported(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """Each import with the module that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node, node.module or ""
        elif isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)


def is_of_ros(module: str) -> bool:
    """Whether a module is rclpy's or one of messages."""
    root = module.partition(".")[0]
    return root == "rclpy" or root.endswith(MESSAGE_PACKAGES)


def handles_nodes(tree: ast.Module) -> bool:
    """Whether a file may have a node in its hands: in others, the names of methods say nothing."""
    return any(is_of_ros(module) or module.startswith("vizloc_ros.nodes.") for _, module in imported(tree))


def arguments_of(function: ast.FunctionDef | ast.Lambda) -> list[ast.arg]:
    """All arguments, in the order of a definition."""
    arguments = function.args
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *starred]


def by_name(name: str) -> Kind:
    """What a variable of unknown kind is taken for."""
    path = BY_NAME.get(name.lstrip("_"))
    return Object(path) if path else None


def package_sources() -> dict[str, str]:
    """The text of every Python file of the package, its launch files and its tests, by its path."""
    files = [file for folder in ("vizloc_ros", "launch", "test") for file in (REPOSITORY / folder).rglob("*.py")]
    return {str(file.relative_to(REPOSITORY)): file.read_text(encoding="utf-8") for file in sorted(files)}


def evaluates_annotations(tree: ast.Module) -> bool:
    """Whether a file that imports rclpy or messages at its top evaluates its annotations when it is imported."""
    modules = [module for node, module in imported(tree) if node in tree.body]
    return any(map(is_of_ros, modules)) and "__future__" not in modules


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
