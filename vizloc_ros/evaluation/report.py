"""``report.json`` and its table for the terminal.

The keys, as far as they apply: ``num_images``, ``num_poses``, ``recall`` (shares of all images asked for),
``median_translation_m``, ``median_rotation_deg``, ``retrieval``, ``converged``, ``lost``, ``dropped``, ``latency_ms``
and ``timings_ms`` (with "p50" and "p99"), ``map_bytes_per_keyframe``, ``command``, ``seed``.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

PERCENTILES = {"p50", "p99"}
SHARES = ("recall", "recall_of_processed", "retrieval", "converged")


def write_report(path: Path, report: Mapping[str, object]) -> None:
    """Writes a report as JSON: whole or not at all. NumPy values become plain, and what is not finite null."""
    text = json.dumps(_plain(report), indent=2, allow_nan=False)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(text + "\n", encoding="utf-8")
    aside.replace(path)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def report_table(report: Mapping[str, object]) -> Table:
    """A table of a report's figures; shares as per cent, times as median and 99th percentile."""
    table = Table(title="Report", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for label, value in _rows(report):
        table.add_row(Text(label), Text(value))  # plain: rich would take "[m]" for markup
    return table


def _rows(report: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in report.items():
        if not isinstance(value, Mapping) or value.keys() == PERCENTILES:
            yield _label(key), _cell(value)
            continue
        for name, item in value.items():
            text = f"{100 * item:.1f} %" if key in SHARES and isinstance(item, float) else _cell(item)
            yield f"{_label(key)}: {str(name).replace('_', ', ')}", text


def _label(key: str) -> str:
    """``median_translation_m`` to ``median translation [m]``."""
    for unit in ("m", "deg", "ms"):
        key = f"{key.removesuffix('_' + unit)} [{unit}]" if key.endswith(f"_{unit}") else key
    return key.replace("_", " ").removeprefix("num ")


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)
