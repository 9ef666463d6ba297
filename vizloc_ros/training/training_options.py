"""Options of a training run, and those that may change when it is resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel

from vizloc_ros.options import Options

MAY_CHANGE = "may change when a run is resumed"
"""Mark of options that may have another value in a resumed run, as in ``steps: Annotated[int, MAY_CHANGE]``.

They are the length and the learning rate of the training, and the locations of its files.
"""


class RunOptions(Options):
    """Options of every run.

    Attributes:
        steps: number of steps.
        validate_every: number of steps between validations.
    """

    steps: Annotated[int, MAY_CHANGE]
    validate_every: Annotated[int, MAY_CHANGE]


def fixed_options(options: BaseModel, group: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of the options that must stay the same in a resumed run.

    These are all options without the mark that a checkpoint holds. Of a path, only the last name counts.
    """
    for name, field in type(options).model_fields.items():
        if MAY_CHANGE not in field.metadata and not field.exclude:
            yield from _fixed_values(f"{group}{name}", getattr(options, name))


def _fixed_values(name: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseModel):
        yield from fixed_options(value, f"{name}.")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _fixed_values(f"{name}[{i}]", item)
    else:
        yield name, value.name if isinstance(value, Path) else value
