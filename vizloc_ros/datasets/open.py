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
from vizloc_ros.datasets.record import Dataset
from vizloc_ros.datasets.robotcar import open_robotcar
from vizloc_ros.datasets.robotcar_seasons import open_robotcar_seasons
from vizloc_ros.datasets.seven_scenes import open_seven_scenes
from vizloc_ros.datasets.tum import open_tum
from vizloc_ros.datasets.twelve_scenes import open_twelve_scenes
from vizloc_ros.errors import DatasetError


def _open_folder(argument: str) -> Dataset:
    return FolderDataset(Path(argument))


def _open_synthetic(argument: str) -> Dataset:
    from vizloc_ros.datasets.synthetic import open_synthetic  # imported only where it is used: it renders

    return open_synthetic(argument)


_OPENERS: Mapping[str, tuple[str, Callable[[str], Dataset]]] = {
    "folder": ("PATH", _open_folder),
    "kitti": ("PATH[?map=FIRST-LAST&query=FIRST-LAST&camera=0]", open_kitti),
    "colmap": ("PATH[?model=FOLDER&images=FOLDER&...]", open_colmap),
    "cmu": ("PATH[?camera=c0]", open_cmu),
    "cmu-seasons": ("PATH?slice=2[&camera=c0]", open_cmu_seasons),
    "kapture": ("PATH[?camera=ID,...&unit=s]", open_kapture),
    "robotcar-seasons": ("PATH[?location=1&camera=rear&model=PATH&rig=map]", open_robotcar_seasons),
    "robotcar": (
        "PATH[?camera=stereo_centre&poses=rtk&sdk=PATH&origin=E,N,U&map=DRIVE&query=DRIVE]",
        open_robotcar,
    ),
    "euroc": ("PATH[?camera=cam0,cam1&map=FIRST-LAST]", open_euroc),
    "tum": ("PATH[?camera=freiburg1&map=FIRST-LAST]", open_tum),
    "7scenes": ("PATH[?focal=525]", open_seven_scenes),
    "12scenes": ("PATH", open_twelve_scenes),
    "cambridge": ("PATH", open_cambridge),
    "aachen": ("PATH[?model=FOLDER]", open_aachen),
    "nuscenes": ("PATH[?version=v1.0-mini&camera=CAM_FRONT,...&map=SCENE,SCENE]", open_nuscenes),
    "4seasons": ("PATH[?camera=cam0,cam1&world=PATH&calibration=PATH&map=FIRST-LAST]", open_four_seasons),
    "synthetic": ("[seed=0,length=20,...]", _open_synthetic),
}
READERS = ", ".join(f"{reader}:{usage}" for reader, (usage, _) in _OPENERS.items())


def open_dataset(spec: str) -> Dataset:
    """Open a dataset such as ``folder:/data/route``.

    Raises:
        DatasetError: the reader is missing or unknown, or the dataset cannot be read.
    """
    reader, colon, argument = spec.partition(":")
    if not colon:
        raise DatasetError(f"dataset {spec!r} has no reader; write one of: {READERS}")
    if reader not in _OPENERS:
        raise DatasetError(f"dataset {spec!r} has an unknown reader {reader!r}; write one of: {READERS}")
    return _OPENERS[reader][1](argument)
