"""Opening of datasets by their specification, ``reader:PATH``."""

from collections.abc import Callable, Mapping
from pathlib import Path

from vizloc_ros.datasets.aachen import open_aachen
from vizloc_ros.datasets.cambridge import open_cambridge
from vizloc_ros.datasets.cmu import open_cmu
from vizloc_ros.datasets.cmu_seasons import open_cmu_seasons
from vizloc_ros.datasets.colmap import open_colmap
from vizloc_ros.datasets.euroc import open_euroc
from vizloc_ros.datasets.folder import FolderDataset
from vizloc_ros.datasets.four_seasons import open_four_seasons
from vizloc_ros.datasets.kapture import open_kapture
from vizloc_ros.datasets.kitti import open_kitti
from vizloc_ros.datasets.nuscenes import open_nuscenes
from vizloc_ros.datasets.pictures import open_pictures
from vizloc_ros.datasets.record import Dataset
from vizloc_ros.datasets.robotcar import open_robotcar
from vizloc_ros.datasets.robotcar_seasons import open_robotcar_seasons
from vizloc_ros.datasets.seven_scenes import open_seven_scenes
from vizloc_ros.datasets.tum import open_tum
from vizloc_ros.datasets.twelve_scenes import open_twelve_scenes
from vizloc_ros.errors import DatasetError


def _open_folder(argument: str) -> Dataset:
    return FolderDataset(Path(argument))


def _open_bag(argument: str) -> Dataset:
    from vizloc_ros.bags.bag_dataset import open_bag_dataset  # the messages of ROS take a while to import

    return open_bag_dataset(argument)


def _open_synthetic(argument: str) -> Dataset:
    from vizloc_ros.datasets.synthetic import open_synthetic  # imported only where it is used: it renders

    return open_synthetic(argument)


# Each with files or folders that tell the dataset: one of the patterns is in its folder.
_OPENERS: Mapping[str, tuple[Callable[[str], Dataset], tuple[str, ...]]] = {
    "folder": (_open_folder, ("poses.csv",)),
    "kitti": (open_kitti, ("calib.txt",)),
    "colmap": (open_colmap, ("sparse",)),
    "cmu": (open_cmu, ("ground-truth-database-images-slice*.txt",)),
    "cmu-seasons": (open_cmu_seasons, ("query_lists",)),
    "kapture": (open_kapture, ("sensors/sensors.txt", "mapping/sensors/sensors.txt")),
    "robotcar-seasons": (open_robotcar_seasons, ("images/overcast-reference",)),
    "robotcar": (open_robotcar, ("*.timestamps",)),
    "euroc": (open_euroc, ("mav0", "cam0/data.csv")),
    "tum": (open_tum, ("rgb.txt",)),
    "7scenes": (open_seven_scenes, ("TrainSplit.txt",)),
    "12scenes": (open_twelve_scenes, ("info.txt",)),
    "cambridge": (open_cambridge, ("dataset_train.txt",)),
    "aachen": (open_aachen, ("3D-models",)),
    "nuscenes": (open_nuscenes, ("*/sample_data.json",)),
    "4seasons": (open_four_seasons, ("GNSSPoses.txt",)),
    "bag": (_open_bag, ("metadata.yaml", "*.bag", "*.mcap", "*.db3")),
    "images": (open_pictures, ()),
    "synthetic": (_open_synthetic, ()),
}
READERS = tuple(_OPENERS)


def open_dataset(spec: str) -> Dataset:
    """Open a dataset such as ``folder:/data/route``.

    Raises:
        DatasetError: the reader is missing or unknown, or the dataset cannot be read.
    """
    reader, colon, argument = spec.partition(":")
    if not colon:
        raise DatasetError(f"dataset {spec!r} has no reader; {_likely(spec)}: {_all_readers()}")
    if reader not in _OPENERS:
        raise DatasetError(f"dataset {spec!r} has an unknown reader {reader!r}; write one of: {_all_readers()}")
    return _OPENERS[reader][0](argument)


def _likely(path: str) -> str:
    """Advice for a path without its reader: those whose files are there, else the one for users' own images."""
    folder = Path(path.partition("?")[0])
    found = [reader for reader, (_, patterns) in _OPENERS.items() if any(any(folder.glob(p)) for p in patterns)]
    return f"write {' or '.join(f'{reader}:{path}' for reader in found or ['folder'])}, or another reader"


def _all_readers() -> str:
    return f"{', '.join(READERS)} (docs/datasets.md)"
