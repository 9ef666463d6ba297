"""The documentation says what the code does: parameters, topics, diagnostics, commands, launch arguments, links."""

import ast
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from repository import REPOSITORY
from typer.testing import CliRunner

from vizloc_ros.cli.main import app
from vizloc_ros.mapping.visual_map import VisualMap

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
INTERFACE = REPOSITORY / "docs" / "topics_and_parameters.md"
NODE_FILES = sorted(path for room in ("nodes", "ros") for path in (REPOSITORY / "vizloc_ros" / room).glob("*.py"))
NODE_NAMES = ["hfnet", "visual_map_server", "localizer", "pixloc_tracker"]
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def section(page: Path, marker: str) -> str:
    """Text between ``<!-- marker -->`` and ``<!-- end -->``."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)
    assert found, f"{page.name} has no section '{marker}'"
    return found[1]


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its two head lines."""
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("node", NODE_NAMES)
def test_parameter_tables_are_those_of_the_nodes(node: str) -> None:
    pytest.importorskip("rclpy")
    from parameter_tables import parameters_table

    from vizloc_ros.ros.node_options import NODE_OPTIONS

    assert section(INTERFACE, f"parameters: {node}") == parameters_table(NODE_OPTIONS[node])


def literal(node: ast.expr | None) -> Any:
    """The value of an expression, or None where it is computed or missing."""
    return node.value if isinstance(node, ast.Constant) else None


def calls(path: Path, *functions: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if name in functions:
                yield node


def launch_arguments(path: Path) -> dict[str, tuple[str | None, str, str]]:
    """By name: the default (None where it is computed), the choices, the description."""
    arguments = {}
    for call in calls(path, "DeclareLaunchArgument"):
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        choices = ast.literal_eval(given["choices"]) if "choices" in given else []
        default = literal(given["default_value"]) if "default_value" in given else "(required)"
        allowed = ", ".join(filter(None, choices))
        arguments[literal(call.args[0])] = (default, allowed, literal(given["description"]))
    return arguments


@pytest.mark.parametrize("path", sorted((REPOSITORY / "launch").glob("*.launch.py")), ids=lambda path: path.name)
def test_launch_arguments_are_those_of_the_launch_file(path: Path) -> None:
    table = rows(section(INTERFACE, f"launch: {path.name}"))
    documented = {row[0].strip("`"): (row[1].strip("`"), row[2].strip("`"), row[3]) for row in table}
    declared = launch_arguments(path)
    assert documented.keys() == declared.keys()
    for name, (default, allowed, description) in declared.items():
        shown = documented[name]
        assert shown[1:] == (allowed, description), name
        assert shown[0] == default if default is not None else shown[0], name


def names_in_code(*functions: str) -> set[str]:
    """The strings that the nodes hand to functions such as ``create_publisher``: literals, and constants of modules."""
    constants = {
        target.id: node.value
        for path in NODE_FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name)
    }
    arguments = (argument for path in NODE_FILES for call in calls(path, *functions) for argument in call.args)
    values = (constants.get(argument.id) if isinstance(argument, ast.Name) else argument for argument in arguments)
    return {value for each in values if isinstance(value := literal(each), str)}


def test_every_topic_is_documented() -> None:
    topics = names_in_code("create_publisher", "create_subscription", "subscribe_to_either", "topic_of")
    assert {"features", "candidates", "localization/pose", "/tf"} <= topics
    assert {topic for topic in topics if f"| `{topic}` (" not in INTERFACE.read_text()} == set()


def test_every_key_of_the_diagnostics_is_documented() -> None:
    keys = names_in_code("count", "set_value", "stopwatch", "watch")
    assert {"rejected", "inliers", "hfnet_total", "image_publishers", "request_listeners"} <= keys
    page = (REPOSITORY / "docs" / "diagnostics.md").read_text()
    assert {key for key in keys if f"`{key}`" not in page} == set()


def shown_lines(page: Path) -> Iterator[str]:
    """The lines of indented and fenced blocks, continued lines joined."""
    yield from re.findall(r"^(?: {4,}|\t)(\S.*)$", page.read_text().replace("\\\n", " "), re.MULTILINE)
    for block in re.findall(r"```(?:bash|sh)?\n(.*?)```", page.read_text().replace("\\\n", " "), re.DOTALL):
        yield from block.splitlines()


def vizloc_words(line: str) -> list[str] | None:
    """The arguments after ``vizloc``, or None for another command."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    return words[1:] if words and Path(words[0]).name == "vizloc" else None


def commands() -> list[Any]:
    found = {
        (page.name, *words) for page in PAGES for line in shown_lines(page) if (words := vizloc_words(line)) is not None
    }
    return [pytest.param(list(words), id=" ".join(words)[:60]) for _, *words in sorted(found)]


@pytest.mark.parametrize("words", commands())
def test_shown_commands_parse(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        context = command.make_context("vizloc", list(words), parent=context)
        command, words = command.get_command(context, words[0]), words[1:]
        assert command is not None, "no such subcommand"
    if "--help" not in words:
        command.make_context("vizloc", list(words), parent=context)  # raises for what is unknown or missing


def mentions() -> list[str]:
    """Commands in prose: ``vizloc map build`` with the options that follow."""
    spans = {span for page in PAGES for span in re.findall(r"`(vizloc [^`]+)`", page.read_text())}
    return sorted(spans)


@pytest.mark.parametrize("span", mentions())
def test_mentioned_commands_exist(span: str) -> None:
    words = span.split()[1:]
    command: Any = typer.main.get_command(app)
    path = []
    while words and words[0] in getattr(command, "commands", {}):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    assert path, f"vizloc has no command {words[0]}"
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}
    assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0


def test_shown_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^(\w+) \?=", makefile, re.MULTILINE))
    for page in PAGES:
        for target, given in re.findall(r"(?:^ {4,}|`)make (\w+)(?: +([A-Z]+)=)?", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"
            assert not given or given in variables, f"{page.name}: {given}="


def anchors(page: Path) -> set[str]:
    """The anchors GitHub makes of the headings."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@by_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def defined_in(path: Path) -> set[str]:
    """The functions, classes and constants of a module, and the members of its classes as ``Class.member``."""

    def names(body: list[ast.stmt]) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (target.id for target in targets if isinstance(target, ast.Name))

    body = ast.parse(path.read_text()).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return {*names(body), *(f"{one.name}.{member}" for one in classes for member in names(one.body))}


def code_rows() -> list[Any]:
    """The rows of the tables between ``<!-- code -->`` and ``<!-- end -->``: a file, and names that it defines."""
    return [
        pytest.param(page, cells, id=f"{page.stem}: {cells[0][:60]}")
        for page in PAGES
        for table in re.findall(r"<!-- code -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)
        for cells in rows(table)
    ]


@pytest.mark.parametrize(("page", "cells"), code_rows())
def test_tables_name_code_that_exists(page: Path, cells: list[str]) -> None:
    _, where, *names = cells  # the last cell may be empty
    files = [(page.parent / path).resolve() for path in re.findall(r"\]\((\S+\.py)\)", where)]
    named = re.findall(r"`([\w.]+)`", " ".join(names))
    assert set(named) <= {name for file in files for name in defined_in(file)}
    assert bool(named) == bool(files), "a file and what is meant in it"


def test_the_tables_of_the_papers_name_their_equations() -> None:
    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    hfnet, pixloc = page.split("## PixLoc: from paper to file")
    assert "Eq. 1:" in hfnet.split("## HF-Net: from paper to file")[1]
    assert {int(number) for number in re.findall(r"Eq\. (\d)[:,]", pixloc)} == set(range(1, 9))


@by_page
def test_files_that_are_named_exist(page: Path) -> None:
    """Names of modules in the text and in links, with or without their folders; NAME stands for any."""
    files = [
        f"/{path.relative_to(REPOSITORY)}" for path in (*REPOSITORY.glob("*.py"), *REPOSITORY.glob("[!.]*/**/*.py"))
    ]
    text = page.read_text()
    linked = re.findall(r"\[([\w/]+\.py)\]\(([^)\s]+)\)", text)
    for name in (*re.findall(r"`([\w/]+\.py)`", text), *(shown for shown, _ in linked)):
        assert "NAME" in name or any(file.endswith(f"/{name}") for file in files), f"{page.name}: {name}"
    for shown, path in linked:
        assert f"/{path}".endswith(f"/{shown}"), f"{page.name}: {shown} leads to {path}"


def test_the_rooms_are_drawn_as_they_import() -> None:
    """Every arrow between rooms is an import."""
    rooms = (REPOSITORY / "docs" / "architecture.md").read_text().split("## The rooms")[1]
    drawn = re.search(r"```mermaid\nflowchart TD\n(.*?)```", rooms, re.DOTALL)
    assert drawn
    arrows = re.findall(r"^  (\w+) --> (\w+)$", drawn[1], re.MULTILINE)
    assert len(arrows) == len(drawn[1].splitlines())
    for importer, imported in arrows:
        modules = (REPOSITORY / "vizloc_ros" / importer).rglob("*.py")
        assert any(f"from vizloc_ros.{imported}" in module.read_text() for module in modules), (importer, imported)


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().split()) <= 600


@pytest.mark.e2e
def test_the_map_can_be_read_as_shown(
    street_map: VisualMap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "map_format.md").read_text(), re.DOTALL)
    assert shown
    monkeypatch.chdir(street_map.folder.parent)
    exec(compile(shown[1], "map_format.md", "exec"), {})
    assert f"{street_map.info.landmarks} landmarks" in capsys.readouterr().out


MAX_WORDS_OF_A_DECISION = 80


def decisions() -> list[Any]:
    page = (REPOSITORY / "docs" / "decisions.md").read_text()
    entries = [entry.partition("\n") for entry in re.split(r"^### ", page, flags=re.MULTILINE)[1:]]
    return [pytest.param(heading, body, id=heading[:40]) for heading, _, body in entries]


@pytest.mark.parametrize(("heading", "body"), decisions())
def test_decisions_are_short(heading: str, body: str) -> None:
    assert re.match(r"\d+\. \S", heading)
    shown = re.sub(r"\]\([^)]*\)", "]", body)  # without the targets of links
    assert len([word for word in shown.split() if re.search(r"\w", word)]) <= MAX_WORDS_OF_A_DECISION


def test_decisions_are_numbered_in_order() -> None:
    page = (REPOSITORY / "docs" / "decisions.md").read_text()
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", page, re.MULTILINE)]
    assert numbers == sorted(set(numbers))


# In a quoted message, what stands for a value: A, WxH, 'cuda', 3.0, /image, ...; and the punctuation beside it.
VALUE = re.compile(
    r"\b(?:[A-Z]|WxH|MAP|WEIGHTS|TOPIC|TYPE|cpu|CPUExecutionProvider|(?:visual_)?map_server|\d+(?:\.\d+)?)\b"
    r"|'[^']*'|(?<!\w)/\w+|\.\.\.|[%():,]| ->? "
)


@functools.cache
def texts_in_code() -> str:
    """All strings of the package, with \\0 for the values in them."""
    found = set()
    for path in (REPOSITORY / "vizloc_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(literal(part) or "\0" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return "\n".join(sorted(found))


def quoted_messages(name: str, heading: str) -> list[Any]:
    """The texts quoted in the first column of all tables whose head begins with ``heading``."""
    page = (REPOSITORY / "docs" / name).read_text()
    tables = re.findall(rf"^\| {heading}[^\n]*\n\| ---.*?(?=\n\n|\Z)", page, re.MULTILINE | re.DOTALL)
    return [
        pytest.param(message, id=f"{name}: {message[:50]}")
        for table in tables
        for row in rows(table)
        for message in re.findall(r"`([^`]+)`", row[0])
    ]


@pytest.mark.parametrize(
    "message",
    [
        *quoted_messages("diagnostics.md", "condition"),
        *quoted_messages("diagnostics.md", "reason"),
        *quoted_messages("map_build.md", "warning"),
    ],
)
def test_quoted_messages_are_those_of_the_code(message: str) -> None:
    """All words between two values are together in some text of the code."""
    stretches = [words for part in VALUE.split(message) if " " in (words := part.strip())]
    assert [words for words in stretches if words not in texts_in_code()] == []


@pytest.mark.parametrize("key", quoted_messages("evaluation.md", "key"))
def test_keys_of_reports_are_those_of_the_code(key: str) -> None:
    is_written = key in texts_in_code().splitlines()
    assert is_written


def test_the_output_of_a_build_is_documented() -> None:
    table = (REPOSITORY / "docs" / "map_build.md").read_text().split("## Output of the build")[1].split("\n\n")[0]
    labels = [row[0] for row in rows(table.strip())]
    assert len(labels) == 6
    assert {label for label in labels if label not in texts_in_code()} == set()


@by_page
def test_nothing_is_left_to_be_written(page):
    assert "TODO" not in page.read_text()
