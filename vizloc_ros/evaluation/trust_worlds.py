"""Worlds of ``vizloc evaluate trust``: what is mapped, what is driven, and whose images are foreign."""

from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.faults import ALIASED, CORRIDOR, FRONTS, HALF, STREET
from vizloc_ros.evaluation.kept_results import kept_map
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.readers import open_dataset

_OPTIONS = {STREET: "", FRONTS: "aliased=fronts", ALIASED: "aliased=all", CORRIDOR: "world=corridor", HALF: ""}
_MAPPED = {HALF: 0.4}  # ratio of the lap
_FOREIGN_SEED = 1000  # added to the seed of the world


@dataclass(frozen=True)
class TrustWorld:
    """World with a map of its first lap, and a drive in its second one.

    Attributes:
        name: name of the world, as in ``faults``.
        dataset: world as ``reader:PATH``.
        mapped: records of the map.
        driven: records of the drive, with poses in the dataset's world.
    """

    name: str
    dataset: str
    mapped: list[Record]
    driven: list[Record]

    def map_in(
        self,
        folder: Path,
        extractor: FeatureExtractor,
        pyramids: PyramidExtractor | None,
        seed: int,
        progress: Progress,
    ) -> VisualMap:
        """Build the map in ``folder/NAME``, or open it if it is of the same images.

        Args:
            folder: folder of all maps.
            extractor: extractor of the map.
            pyramids: extractor of the tracker's reference features, which are added if it is given.
            seed: seed of the build.
            progress: progress display.
        """
        path = folder / self.name
        visual_map = kept_map(path, self.mapped, extractor, self.dataset, seed, progress)
        known = visual_map.info.pixloc
        if pyramids is None or (known is not None and known.model_id == pyramids.model_id):
            return visual_map
        add_references(path, self.mapped, pyramids, progress)
        return VisualMap.open(path)


def open_world(name: str, seed: int, options: str = "") -> TrustWorld:
    """Open a world.

    Args:
        name: name of the world, as in ``faults``.
        seed: seed of the world; 0 is the one that is measured, others are for calibration.
        options: further options of ``synthetic:``, such as the size of the images.
    """
    spec = "&".join(filter(None, (_OPTIONS[name], f"seed={seed}" if seed else "", options)))
    source = open_dataset(f"synthetic:{spec}")
    mapped = source.records("map")
    return TrustWorld(name, source.name, mapped[: round(len(mapped) * _MAPPED.get(name, 1.0))], source.records("query"))


def foreign_images(fault: str, seed: int, options: str = "") -> list[Record]:
    """Images that are not of the map of the street: of another street, or of the corridor if the fault says so."""
    world = CORRIDOR if CORRIDOR in fault else STREET
    return open_world(world, seed + _FOREIGN_SEED, options).driven
