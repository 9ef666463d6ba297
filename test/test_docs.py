"""The documentation says what the code does: parameters, topics, diagnostics, commands, launch arguments, links."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vizloc_ros.cli.main import app
from vizloc_ros.mapping.visual_map import VisualMap

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
INTERFACE = REPOSITORY / "docs" / "topics_and_parameters.md"
NODE_FILES = sorted(path for room in ("nodes", "ros") for path in (REPOSITORY / "vizloc_ros" / room).glob("*.py"))
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def section(page: Path, marker: str) -> str:
    """What stands between ``<!-- marker -->`` and ``<!-- end -->``."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n(.*?)<!-- end -->", page.read_text(), re.DOTALL)
    assert found, f"{page.name} has no section '{marker}'"
    return found[1]


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its two head lines."""
    return [[cell.strip() for cell in line.strip("| \n").split(" | ")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("node", ["hfnet", "map_server", "localizer", "pixloc_tracker"])
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
    """The literal strings that the nodes hand to functions such as ``create_publisher``."""
    return {
        argument.value
        for path in NODE_FILES
        for call in calls(path, *functions)
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_every_topic_is_documented() -> None:
    topics = names_in_code("create_publisher", "create_subscription")
    assert {"features", "candidates", "localization/pose", "/tf"} <= topics
    assert {topic for topic in topics if f"| `{topic}` (" not in INTERFACE.read_text()} == set()


def test_every_key_of_the_diagnostics_is_documented() -> None:
    keys = names_in_code("count", "set_value", "stopwatch") - {"hfnet", "map_server", "localizer", "pixloc_tracker"}
    assert {"rejected", "inliers", "hfnet_total"} <= keys
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
    """What prose says: ``vizloc map build`` with the options that follow."""
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


def test_the_map_can_be_read_as_shown(
    street_map: VisualMap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"```python\n(.*?)```", (REPOSITORY / "docs" / "map_format.md").read_text(), re.DOTALL)
    assert shown
    monkeypatch.chdir(street_map.folder.parent)
    exec(compile(shown[1], "map_format.md", "exec"), {})
    assert f"{street_map.info.landmarks} landmarks" in capsys.readouterr().out


@by_page
def test_nothing_is_left_to_be_written(page):
    assert "TODO" not in page.read_text()
