"""``vizloc evaluate trust``: faults of cameras, calibrations and places, and what becomes of the poses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vizloc_ros.cli.arguments import (
    ConfigOption,
    ExtractorOption,
    ProviderOption,
    RateOption,
    SeedOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.evidence import EvidenceLog
from vizloc_ros.evaluation.faults import FAULTS, Fault, chosen_faults
from vizloc_ros.evaluation.report import require_result_folder, write_report
from vizloc_ros.evaluation.trust import TrustRow, TrustRun, write_markdown, write_rows
from vizloc_ros.evaluation.trust_worlds import foreign_images, open_world
from vizloc_ros.features.extractor import FeatureExtractor, open_extractor
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.wording import number_text

if TYPE_CHECKING:
    from vizloc_ros.replay.node_faults import NodeFault

console = Console()
_QUICK_WORLD = "length=12&width=400&height=250"


@dataclass(frozen=True)
class _Setting:
    """Settings that all runs of one command share."""

    out: Path
    run: TrustRun
    extractor: FeatureExtractor
    pyramids: PyramidExtractor | None
    world_options: str
    seed: int

    def open(self, name: str) -> tuple[VisualMap, Sequence[Record]]:
        """Map of a world, built if it is not there, and the drive with poses in the map."""
        world = open_world(name, self.seed, self.world_options)
        visual_map = world.map_in(self.out / "maps", self.extractor, self.pyramids, self.seed, bar)
        return visual_map, visual_map.info.place.records_in_map(world.driven)

    def write(self, rows: Sequence[TrustRow]) -> None:
        """Write the rows so far."""
        report = {"rows": [row.as_dict() for row in rows], "num_wrong": sum(row.wrong for row in rows)}
        write_report(self.out / "report.json", {**report, "command": command_line(), "seed": self.seed})
        write_rows(self.out / "trust.csv", rows)
        write_markdown(self.out / "trust.md", rows)


def trust(
    out: Annotated[Path | None, typer.Option(help="Folder for maps, table and report.json", file_okay=False)] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Fault; give several for several")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the faults, and do nothing")] = False,
    nodes: Annotated[bool, typer.Option("--nodes", help="Through running nodes, with faults of messages, too")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Few small images: to see that it runs")] = False,
    tracking: Annotated[bool, typer.Option(help="Also run the tracker")] = True,
    evidence: Annotated[bool, typer.Option("--evidence", help="Also write the evidence for every pose")] = False,
    every: Annotated[int, typer.Option(help="The localizer gets every N-th image", min=1)] = 2,
    drive: Annotated[float, typer.Option(help="The tracker drives so long [s]; the fault begins at 2 s", min=3)] = 20.0,
    rate: RateOption = 1.0,
    extractor: ExtractorOption = "hfnet",
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    seed: SeedOption = 0,
) -> None:
    """Run faults, and count wrong poses.

    They go through localizer and tracker. The worlds are rendered; --seed makes
    others. A wrong pose is over 0.5 m or 5 deg off.
    """
    from vizloc_ros.features.device import Device

    if nodes:
        from vizloc_ros.replay.node_faults import NODE_FAULTS, chosen_node_faults
    if listed:
        console.print(_fault_table(NODE_FAULTS if nodes else FAULTS))
        return
    node_faults, faults = (chosen_node_faults(only or []), []) if nodes else ([], chosen_faults(only or []))
    if out is None:
        raise typer.BadParameter("give a folder for the results", param_hint="--out")
    options, device = read_options(config, OptionTree), Device(provider=provider, threads=1)
    run = (
        TrustRun(options, 8, good_s=0.8, drive_s=2.4, seed=seed)
        if quick
        else TrustRun(options, every, drive_s=drive, seed=seed)
    )
    pyramids = open_pyramid_extractor(device=device, long_side=options.long_side) if tracking or nodes else None
    opened = open_extractor(extractor, device=device)
    setting = _Setting(out, run, opened, pyramids, _QUICK_WORLD if quick else "", seed)
    require_result_folder(out)
    rows = _through_nodes(setting, node_faults, rate, provider) if nodes else _offline(setting, faults, evidence)
    setting.write(rows)
    console.print(trust_table(rows))
    console.print(f"written to {out}")


def _offline(setting: _Setting, faults: Sequence[Fault], evidence: bool) -> list[TrustRow]:
    """Rows of the faults without ROS, in their order."""
    rows: list[TrustRow] = []
    run, pyramids = setting.run, setting.pyramids
    for name in dict.fromkeys(fault.world for fault in faults):
        visual_map, records = setting.open(name)
        log = EvidenceLog(name) if evidence else None
        for fault in [fault for fault in faults if fault.world == name]:
            foreign = foreign_images(fault.name, setting.seed, setting.world_options)
            if "localizer" in fault.runs:
                rows.append(run.localizer(fault, visual_map, records, foreign, log, bar))
            if "tracker" in fault.runs and pyramids is not None:
                rows.append(run.tracker(fault, visual_map, records, foreign, pyramids, log, bar))
            setting.write(rows)
        if log is not None:
            log.write(setting.out / "evidence" / name)
    order = [fault.name for fault in faults]
    return sorted(rows, key=lambda row: order.index(row.fault))


def _through_nodes(setting: _Setting, faults: Sequence["NodeFault"], rate: float, provider: str) -> list[TrustRow]:
    """Rows of the faults of running nodes."""
    from vizloc_ros.replay.node_faults import run_node_fault

    rows: list[TrustRow] = []
    for number, fault in enumerate(faults):
        console.print(f"{number + 1} of {len(faults)}: {fault.name}")
        second = setting.open(fault.second_world)[0].folder if fault.second_world else None
        visual_map, records = setting.open(fault.world)
        log = setting.out / f"nodes_{number:02d}.log"
        rows += run_node_fault(
            fault,
            setting.run,
            visual_map.folder,
            records,
            log,
            rate=rate,
            second_map=second,
            provider=provider,
            long_side=setting.run.options.long_side,
        )
        setting.write(rows)
    return rows


def trust_table(rows: Sequence[TrustRow]) -> Table:
    """Table of the rows; below the fault are the two most frequent reasons for withheld poses."""
    table = Table(title="Trust", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = Text(
        "wrong: poses over 0.5 m or 5 deg off / poses / images; longest: time of nothing but wrong poses; "
        "any: no pose is right"
    )
    table.add_column("fault, and why poses were withheld", overflow="fold")
    for column in ("run", "wrong", "longest", "largest error"):
        table.add_column(Text(column), justify="left" if column == "run" else "right", overflow="fold")
    for row in rows:
        reasons = [f"\n{count} x {_shortened(text)}" for text, count in list(row.reasons.items())[:2]]
        table.add_row(
            Text.assemble((row.fault, "bold"), *((reason, "dim") for reason in reasons)),
            row.run,
            Text(f"{row.wrong} / {row.poses} / {row.images}", style="red" if row.wrong else ""),
            f"{number_text(row.longest_wrong_s)} s",
            _error_text(row),
        )
    return table


def _shortened(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:87]}..."


def _error_text(row: TrustRow) -> str:
    if row.largest_error_m is None or row.largest_error_deg is None:
        return "-"
    return "any" if math.isinf(row.largest_error_m) else f"{row.largest_error_m:.2f} m, {row.largest_error_deg:.1f} deg"


def _fault_table(faults: Sequence["Fault | NodeFault"]) -> Table:
    table = Table(title="Faults", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("fault", "does", "poses are"):
        table.add_column(column, overflow="fold")
    for fault in faults:
        table.add_row(Text(fault.name), Text(fault.does), Text(fault.expected))
    return table
