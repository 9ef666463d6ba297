"""One run of a table: its options, and the maps and figures in its folder, which a later run takes up again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vizloc_ros import __version__
from vizloc_ros.benchmark.sources import Present, Source
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.evaluation.kept_results import kept_figures, kept_map, localization_origin
from vizloc_ros.evaluation.offline_localization import evaluate_localization
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.readers import open_dataset

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device

Item = TypeVar("Item")


@dataclass(frozen=True)
class BenchmarkRun:
    """Options of a run, and its folder.

    Attributes:
        data: folder of the datasets.
        out: folder of the table, and of everything that another run of the same folder need not compute again.
        extractors: extractors of maps by the name of our method.
        options: options of localization and tracking.
        every: take every N-th query, or sequence of HPatches.
        map_every: map every N-th image.
        limit: take at most so many queries of a split, or sequences of HPatches; None for all.
        seed: seed of all random numbers.
        device: device of the queries' extractors; None for the CPU.
        command: command line, for reports.
        progress: progress display.
    """

    data: Path
    out: Path
    extractors: Mapping[str, FeatureExtractor]
    options: OptionTree = field(default_factory=OptionTree)
    every: int = 1
    map_every: int = 1
    limit: int | None = None
    seed: int = 0
    device: "Device | None" = None
    command: str = ""
    progress: Progress = silent

    def present(self, source: Source) -> list[Present]:
        """Parts of a dataset that are there."""
        return source.present(self.data)

    def chosen(self, items: Sequence[Item]) -> list[Item]:
        """Every N-th item, and at most ``limit`` of them."""
        return list(items[:: self.every][: self.limit])

    def kept(
        self, method: str, name: str, origin: Mapping[str, Any], compute: Callable[[], Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Figures of an earlier run with the same origin, or new ones, which are stored at once.

        Args:
            method: name of the method.
            name: name of the figures, different for each call with this method.
            origin: everything that the figures depend on, besides the version of the package; plain values.
            compute: function that makes the figures.

        Raises:
            DatasetError: the file of the figures cannot be read.
        """
        path, whole = self.out / "figures" / method / f"{name}.json", {**origin, "version": __version__}
        if found := kept_figures(path, whole):
            return found
        write_report(path, {"origin": whole, "figures": compute()})
        return kept_figures(path, whole)

    def visual_map(self, method: str, part: Present) -> VisualMap:
        """Map of a part's split "map" with the extractor of a method: an earlier run's, or a new one.

        Raises:
            DatasetError, ImageError, MapError: as ``build_map``.
        """
        folder, records = (
            self.map_folder(method, part),
            every_nth(open_dataset(part.spec).records("map"), self.map_every),
        )
        extractor = self.extractors[method]
        return kept_map(folder, records, extractor, part.spec, self.seed, self.progress, self.device)

    def map_folder(self, method: str, part: Present) -> Path:
        """Folder of the map."""
        return self.out / "maps" / method / part.name

    def localized(self, method: str, part: Present, split: str) -> dict[str, Any]:
        """Report of ``localized_in`` the map of a method."""
        return self.localized_in(self.visual_map(method, part), method, part, split)

    def localized_in(self, visual_map: VisualMap, method: str, part: Present, split: str) -> dict[str, Any]:
        """Report of ``vizloc localize`` on a split, of an earlier run or a new one.

        Beside its keys it has ``num_posed``, the number of images with ground truth, ``weights``, and ``poses``, the
        file of the poses in the format of visuallocalization.net, relative to the run's folder.

        Args:
            visual_map: map to localize in.
            method: name of the method, for the folder of its poses and figures.
            part: dataset of the map.
            split: split to localize.

        Raises:
            DatasetError, ImageError: as ``evaluate_localization``.
        """
        records = self.chosen(open_dataset(part.spec).records(split))
        pose = self.options.pose.model_copy(update={"seed": self.seed})
        localizer = HierarchicalLocalizer(visual_map, self.options.retrieval, pose)
        folder = self.out / "localized" / method / part.name / split

        def compute() -> dict[str, Any]:
            report = evaluate_localization(
                visual_map,
                records,
                folder,
                options=self.options,
                seed=self.seed,
                details={"command": self.command, "dataset": part.spec},
                progress=self.progress,
            )
            posed = sum(record.world_from_cam is not None for record in records)
            poses = (folder / "poses_visuallocalization.txt").relative_to(self.out)
            return {**report, "num_posed": posed, "weights": visual_map.extractor.feature_id, "poses": poses}

        origin = localization_origin(visual_map, localizer, part.spec, records, self.seed)
        return self.kept(method, f"{part.name}-{split}", origin, compute)
