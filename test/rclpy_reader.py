"""Reader of one source file: what it has of rclpy, and each use of that."""

from __future__ import annotations

import ast
import builtins
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rclpy_kinds import (
    FOREIGN,
    Foreign,
    Kind,
    Named,
    Object,
    OwnClass,
    OwnObject,
    Scopes,
    arguments_of,
    by_name,
)
from rclpy_releases import Call, Use

if TYPE_CHECKING:
    from rclpy_usage import Sources


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
        """Tell whether it is only the way to something, as ``Parameter.Type`` in ``Parameter.Type.BOOL``."""
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
