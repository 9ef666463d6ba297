"""Runs of faults through the localizer and the tracker, and what became of each image: ``vizloc evaluate trust``."""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.altered_records import Drive
from vizloc_ros.evaluation.evidence import EvidenceLog
from vizloc_ros.evaluation.faults import Fault
from vizloc_ros.evaluation.offline_tracking import OfflineTracker
from vizloc_ros.evaluation.recall import WRONG, PoseError
from vizloc_ros.geometry.camera_info import require_possible
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer, LocalizedImage
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import without_numbers

_LOCALIZE_EVERY = 3.0  # s; while the tracker tracks, as in the nodes
NOWHERE = PoseError(math.inf, 180.0)  # error of a pose where none is right


@dataclass(frozen=True)
class Claim:
    """Answer to one image.

    Attributes:
        stamp_ns: time of the image.
        error: error of the pose that was given; None if none was.
        reason: reason for having given none; empty with a pose.
        is_late: True if the pose was given with a later image, so it is wrong for a recorded drive alone.
    """

    stamp_ns: int
    error: PoseError | None
    reason: str = ""
    is_late: bool = False

    @classmethod
    def of(cls, record: Record, map_from_cam: Rigid3d | None, reason: str) -> "Claim":
        """Claim of a pose, or of none for a reason. Any pose of a record without a true one is wrong."""
        if map_from_cam is None:
            return cls(record.timestamp_ns, None, reason)
        truth = record.world_from_cam
        return cls(record.timestamp_ns, NOWHERE if truth is None else PoseError(*pose_error(map_from_cam, truth)))

    @property
    def is_wrong(self) -> bool:
        """Tell whether a pose was given that is over 0.5 m or 5 deg off."""
        return self.error is not None and not self.error.within(WRONG)

    @property
    def is_wrong_at_once(self) -> bool:
        """Tell whether a wrong pose was given at the time of the image, as to a vehicle on its way."""
        return self.is_wrong and not self.is_late


@dataclass(frozen=True)
class TrustRow:
    """Result of one fault in one run.

    Attributes:
        fault: name of the fault.
        run: "localizer", "tracker", "tracker node" or "localizer node".
        images: number of images, from the begin of the fault on.
        poses: number of them with a pose.
        wrong: number of poses that are over 0.5 m or 5 deg off.
        late: number of poses that were given with a later image, which happens in recorded drives alone.
        longest_wrong_s: longest time in which all images had wrong poses, without late ones [s].
        wrong_until_s: time from the begin of the fault to the last wrong pose that was not late [s]; None without one.
        largest_error_m: largest error of a position; None without a pose, infinite if no pose can be right.
        largest_error_deg: largest error of a rotation.
        expected: what should become of the poses.
        reasons: number of images without a pose by reason, most frequent first.
    """

    fault: str
    run: str
    images: int
    poses: int
    wrong: int
    late: int
    longest_wrong_s: float
    wrong_until_s: float | None
    largest_error_m: float | None
    largest_error_deg: float | None
    expected: str
    reasons: Mapping[str, int]

    @classmethod
    def of(cls, fault: str, run: str, expected: str, claims: Sequence[Claim]) -> "TrustRow":
        """Row of the claims from the begin of the fault on, in order of time."""
        errors = [claim.error for claim in claims if claim.error is not None]
        at_once = [claim for claim in claims if claim.is_wrong_at_once]
        texts: dict[str, str] = {}
        reasons: Counter[str] = Counter()
        for claim in claims:
            if claim.error is None:
                reasons[texts.setdefault(without_numbers(claim.reason), claim.reason)] += 1
        return cls(
            fault=fault,
            run=run,
            images=len(claims),
            poses=len(errors),
            wrong=sum(claim.is_wrong for claim in claims),
            late=sum(claim.is_late for claim in claims),
            longest_wrong_s=_longest_wrong_s(claims),
            wrong_until_s=(at_once[-1].stamp_ns - claims[0].stamp_ns) / NANOSECONDS if at_once else None,
            largest_error_m=max((error.translation_m for error in errors), default=None),
            largest_error_deg=max((error.rotation_deg for error in errors), default=None),
            expected=expected,
            reasons=dict(reasons.most_common()),
        )

    def as_dict(self) -> dict[str, Any]:
        """Keys of ``report.json`` and columns of ``trust.csv``."""
        return {**self.__dict__, "reasons": dict(self.reasons)}


def _longest_wrong_s(claims: Sequence[Claim]) -> float:
    """Longest time of a row of wrong claims, each counted until the next image [s]."""
    stamps = [claim.stamp_ns for claim in claims]
    stamps.append(2 * stamps[-1] - stamps[-2] if len(stamps) > 1 else stamps[-1])
    longest, begin = 0, 0
    for is_wrong, group in groupby(claims, key=lambda claim: claim.is_wrong_at_once):
        end = begin + len(list(group))
        if is_wrong:
            longest = max(longest, stamps[end] - stamps[begin])
        begin = end
    return longest / NANOSECONDS


@dataclass(frozen=True)
class TrustRun:
    """Settings of the runs without ROS.

    Attributes:
        options: options of localizer and tracker.
        every: the localizer gets every N-th image of the drive.
        good_s: time that the tracker drives before the fault begins [s].
        drive_s: time that it drives altogether [s].
        seed: seed of the localizer.
    """

    options: OptionTree
    every: int = 2
    good_s: float = 2.0
    drive_s: float = 20.0
    seed: int = 0

    def localizer(
        self,
        fault: Fault,
        visual_map: VisualMap,
        records: Sequence[Record],
        foreign: Sequence[Record],
        evidence: EvidenceLog | None = None,
        progress: Progress = silent,
    ) -> TrustRow:
        """Localize the images of a drive with a fault, each by itself; the calibration is checked in order of time.

        Args:
            fault: what happens.
            visual_map: map to localize in.
            records: drive, with poses in the map.
            foreign: images of places that are not in the map.
            evidence: log of the candidate poses; None for none.
            progress: progress display.
        """
        pose = self.options.pose.model_copy(update={"seed": self.seed})
        localizer = HierarchicalLocalizer(visual_map, self.options.retrieval, pose)
        altered = every_nth(fault.alter(Drive(records, 0, foreign)), self.every)

        def localized_or_error(record: Record) -> LocalizedImage | str:
            try:
                require_possible(record.camera)
                localized = ImageLocalizer(visual_map.extractor, localizer).localize(record.read_image(), record.camera)
            except VizlocError as error:
                return str(error)
            if evidence is not None:
                evidence.add(fault.name, record, localized, localizer)
            return localized

        found = parallel_map(localized_or_error, altered, f"{fault.name}, localizer", progress)
        claims, check = [], CalibrationCheck()
        for record, localized in zip(altered, found, strict=True):
            if isinstance(localized, str):
                claims.append(Claim.of(record, None, localized))
                continue
            outcome = localized.outcome
            keypoints = localizer.corrected(localized.features, record.camera).keypoints
            problem = check.check(record.camera, keypoints, outcome.pose)
            given = None if outcome.pose is None or problem else outcome.pose.map_from_cam
            claims.append(Claim.of(record, given, problem or outcome.reason))
        return TrustRow.of(fault.name, "localizer", fault.expected, claims)

    def tracker(
        self,
        fault: Fault,
        visual_map: VisualMap,
        records: Sequence[Record],
        foreign: Sequence[Record],
        extractor: PyramidExtractor,
        evidence: EvidenceLog | None = None,
        progress: Progress = silent,
    ) -> TrustRow:
        """Track the images of a drive in which a fault begins after ``good_s``; arguments as of ``localizer``."""
        pose = self.options.pose.model_copy(update={"seed": self.seed})
        localizer = HierarchicalLocalizer(visual_map, self.options.retrieval, pose)
        tracker = OfflineTracker(
            visual_map,
            localizer,
            extractor,
            self.options.tracker,
            self.options.submap,
            localize_every=_LOCALIZE_EVERY,
        )
        drive = Drive(records, 0, foreign)
        drive = Drive(records[: drive.frames(self.drive_s)], drive.frames(self.good_s), foreign)
        begin_ns = drive.records[drive.begin].timestamp_ns
        altered, claims = fault.alter(drive), list[Claim]()
        index_at = {record.timestamp_ns: index for index, record in enumerate(altered)}
        for record in progress(altered, f"{fault.name}, tracker", len(altered)):
            try:
                require_possible(record.camera)
                tracked = tracker.track(record)
            except VizlocError as error:
                claims.append(Claim.of(record, None, str(error)))
                continue
            if evidence is not None:
                evidence.add_tracked(fault.name, record, tracked)
            claims.append(Claim.of(record, tracked.map_from_cam, tracked.reason))
            for late in tracker.confirmed:
                index = index_at[late.stamp_ns]
                claims[index] = replace(Claim.of(altered[index], late.map_from_cam, ""), is_late=True)
        since = [claim for claim in claims if claim.stamp_ns >= begin_ns]
        return TrustRow.of(fault.name, "tracker", fault.expected, since)


def write_markdown(path: Path, rows: Sequence[TrustRow]) -> None:
    """Write the rows as the table of docs/reliability.md, each with its most frequent reason for having no pose."""
    lines = [
        "| fault | run | images | poses | wrong | longest | largest error | withheld because |",
        "| --- " * 8 + "|",
    ]
    for row in rows:
        error = "-" if row.largest_error_m is None else f"{row.largest_error_m:.2f} m, {row.largest_error_deg:.1f}°"
        reason = next(iter(row.reasons), "").replace("|", "/")
        counts = f"{row.images} | {row.poses} | {row.wrong} | {row.longest_wrong_s:.1f} s"
        lines.append(f"| {row.fault} | {row.run} | {counts} | {error} | {reason} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Sequence[TrustRow]) -> None:
    """Write the rows as a table with a header, reasons as ``COUNT x TEXT; ...``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(TrustRow.__dataclass_fields__))
        writer.writeheader()
        for row in rows:
            reasons = "; ".join(f"{count} x {text}" for text, count in row.reasons.items())
            writer.writerow({**row.as_dict(), "reasons": reasons})
