"""The Markdown tables of the nodes' parameters, for the documentation: ``python test/parameter_tables.py``."""

import re

from pydantic import BaseModel
from repository import REPOSITORY

from vizloc_ros.options import subgroup
from vizloc_ros.ros.node_options import NODE_OPTIONS
from vizloc_ros.ros.parameters import option_parameters, written

PAGE = REPOSITORY / "docs" / "topics_and_parameters.md"


def parameters_table(model: type[BaseModel]) -> str:
    """One row for each parameter of a node."""
    rows = ["| parameter | type | default | allowed | description |", "| --- | --- | --- | --- | --- |"]
    for one in option_parameters(model):
        default = written(one.default)
        rows.append(f"| `{one.name}` | {one.type_name} | `{default}` | {one.allowed} | {one.field.description} |")
    return "\n".join(rows) + "\n"


def settable_table() -> str:
    """One row for each node with parameters that can be set while it runs."""
    rows = ["| node | parameters |", "| --- | --- |"]
    for node, model in NODE_OPTIONS.items():
        names = [f"all of `{name}.`" if name in groups_of(model) else f"`{name}`" for name in model.settable]
        rows += [f"| {node} | {', '.join(names)} |"] if names else []
    return "\n".join(rows) + "\n"


def groups_of(model: type[BaseModel]) -> set[str]:
    """Names of the groups of a tree of options."""
    return {name for name, field in model.model_fields.items() if subgroup(field) is not None}


def with_tables(page: str) -> str:
    """The page with the tables that the code has now."""
    for node, model in NODE_OPTIONS.items():
        pattern = rf"(<!-- parameters: {node} -->\n).*?(<!-- end -->)"
        table = parameters_table(model)
        page = re.sub(pattern, lambda found, table=table: found[1] + table + found[2], page, flags=re.DOTALL)
    pattern = r"(<!-- settable -->\n).*?(<!-- end -->)"
    return re.sub(pattern, lambda found: found[1] + settable_table() + found[2], page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
