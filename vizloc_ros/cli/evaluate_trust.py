"""``vizloc evaluate trust``: faults of cameras, calibrations and places, and what becomes of the poses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vizloc_ros.cli.arguments import ConfigOption, ExtractorOption, ProviderOption, SeedOption, command_line
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.evaluation.evidence import EvidenceLog
from vizloc_ros.evaluation.faults import FAULTS, chosen_faults
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.evaluation.trust import TrustRow, TrustRun, write_rows
from vizloc_ros.evaluation.trust_worlds import foreign_images, open_world
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.wording import number_text

console = Console()
_QUICK_WORLD = "length=12&width=400&height=250"
_QUICK = {"every": 8, "good_s": 0.8, "drive_s": 2.4}


def trust(
    out: Annotated[Path | None, typer.Option(help="Folder for maps, table and report.json", file_okay=False)] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Fault; give several for several")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the faults, and do nothing")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few small images: to see that it runs")] = False,
    tracking: Annotated[bool, typer.Option(help="Also run the tracker")] = True,
    evidence: Annotated[bool, typer.Option("--evidence", help="Also write the evidence for every pose")] = False,
    every: Annotated[int, typer.Option(help="The localizer gets every N-th image", min=1)] = 2,
    drive: Annotated[float, typer.Option(help="The tracker drives so long [s]; the fault begins at 2 s", min=3)] = 20.0,
    extractor: ExtractorOption = "hfnet",
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Run faults through localizer and tracker, and count wrong poses.

    The worlds are rendered; --seed makes others. A wrong pose is over 0.5 m or 5 deg off.
    """
    from vizloc_ros.features.device import Device

    chosen = chosen_faults(only or [])
    if listed:
        console.print(_fault_table())
        return
    if out is None:
        raise typer.BadParameter("give a folder for the results", param_hint="--out")
    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    run = TrustRun(options, **_QUICK) if quick else TrustRun(options, every, drive_s=drive, seed=seed)
    world_options = _QUICK_WORLD if quick else ""
    pyramids = open_pyramid_extractor(device=device, long_side=options.long_side) if tracking else None
    out.mkdir(parents=True, exist_ok=True)
    rows: list[TrustRow] = []
    for name in dict.fromkeys(fault.world for fault in chosen):
        world = open_world(name, seed, world_options)
        visual_map = world.map_in(out / "maps", open_extractor(extractor, device=device), pyramids, seed, bar)
        records = visual_map.info.place.records_in_map(world.driven)
        log = EvidenceLog(name) if evidence else None
        for fault in chosen:
            if fault.world != name:
                continue
            foreign = foreign_images(fault.name, seed, world_options)
            if "localizer" in fault.runs:
                rows.append(run.localizer(fault, visual_map, records, foreign, log, bar))
            if "tracker" in fault.runs and pyramids is not None:
                rows.append(run.tracker(fault, visual_map, records, foreign, pyramids, log, bar))
            _write(out, rows, seed)
        if log is not None:
            log.write(out / "evidence" / name)
    order = [fault.name for fault in chosen]
    rows.sort(key=lambda row: order.index(row.fault))
    _write(out, rows, seed)
    console.print(trust_table(rows))
    console.print(f"written to {out}")


def _write(out: Path, rows: Sequence[TrustRow], seed: int) -> None:
    report = {"rows": [row.as_dict() for row in rows], "num_wrong": sum(row.wrong for row in rows)}
    write_report(out / "report.json", {**report, "command": command_line(), "seed": seed})
    write_rows(out / "trust.csv", rows)


def trust_table(rows: Sequence[TrustRow]) -> Table:
    """Table of the rows, with the most frequent reason for withheld poses."""
    table = Table(title="Trust", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = "wrong: over 0.5 m or 5 deg off; [s]: longest time of wrong poses; [m], [deg]: largest errors"
    table.add_column("fault, and why poses were withheld", overflow="fold")
    table.add_column("run", no_wrap=True)
    for column in ("images", "poses", "wrong", "[s]", "[m]", "[deg]"):
        table.add_column(Text(column), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            _fault_text(row),
            row.run,
            f"{row.images}",
            f"{row.poses}",
            Text(f"{row.wrong}", style="red" if row.wrong else ""),
            number_text(row.longest_wrong_s),
            _error_text(row.largest_error_m),
            _error_text(row.largest_error_deg),
        )
    return table


def _fault_text(row: TrustRow) -> Text:
    reasons = [f"\n{count} x {_shortened(text)}" for text, count in list(row.reasons.items())[:2]]
    return Text.assemble((row.fault, "bold"), *((reason, "dim") for reason in reasons))


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _error_text(error: float | None) -> str:
    return "-" if error is None else "any" if error == float("inf") else f"{error:.2f}"


def _fault_table() -> Table:
    table = Table(title="Faults", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("fault", "does", "poses are"):
        table.add_column(column, overflow="fold")
    for fault in FAULTS:
        table.add_row(Text(fault.name), Text(fault.does), Text(fault.expected))
    return table
