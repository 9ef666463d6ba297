"""Specifications of datasets behind their reader: ``PATH?option=value&split=FIRST-LAST``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from vizloc_ros.errors import DatasetError


def parse_specification(spec: str, expected: str, holds: str = "") -> tuple[Path, dict[str, str]]:
    """Split ``PATH?option=value&...`` into the folder and the options.

    Args:
        spec: text behind the reader's name and its colon.
        expected: the folder's content, for the error.
        holds: pattern of a file that is in every folder of the dataset; empty: not checked here.

    Raises:
        DatasetError: there is no such folder, or it does not hold the file; options are not yet looked at.
    """
    folder_text, _, query = spec.partition("?")
    folder = Path(folder_text)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; it should be {expected}")
    if holds and not any(folder.glob(holds)):
        raise DatasetError(f"{folder}: there is no {holds} in it; it should be {expected}")
    return folder, dict(parse_qsl(query, keep_blank_values=True))


def require_no_options(options: Mapping[str, str], known: Sequence[str], where: str) -> None:
    """Raise ``DatasetError`` for options that no reader took; it lists those that are known."""
    if options:
        raise DatasetError(f"{where}: there is no option {', '.join(options)}; there is {', '.join(known) or 'none'}")


def chosen_names(text: str, known: Sequence[str], option: str, where: str) -> list[str]:
    """Names of a list with commas. Raises ``DatasetError`` for a name that is not known."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DatasetError(f"{where}: {option}={','.join(unknown)}; there is {', '.join(known) or 'none'}")
    return names
