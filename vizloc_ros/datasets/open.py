"""Opening of datasets by their specification, ``reader:PATH``."""

from pathlib import Path

from vizloc_ros.datasets.cmu import open_cmu
from vizloc_ros.datasets.colmap import open_colmap
from vizloc_ros.datasets.folder import FolderDataset
from vizloc_ros.datasets.kapture import open_kapture
from vizloc_ros.datasets.kitti import open_kitti
from vizloc_ros.datasets.record import Dataset
from vizloc_ros.datasets.robotcar import open_robotcar
from vizloc_ros.datasets.robotcar_seasons import open_robotcar_seasons
from vizloc_ros.errors import DatasetError

READERS = (
    "folder:PATH, kitti:PATH[?map=FIRST-LAST&query=FIRST-LAST&camera=0], colmap:PATH[?model=FOLDER&images=FOLDER&...], "
    "cmu:PATH[?camera=c0], kapture:PATH[?camera=ID,...&unit=s], "
    "robotcar-seasons:PATH[?location=1&camera=rear&model=PATH&rig=map], "
    "robotcar:PATH[?camera=stereo_centre&poses=rtk&sdk=PATH&origin=E,N,U&map=DRIVE&query=DRIVE], "
    "synthetic:[seed=0,length=20,...]"
)


def open_dataset(spec: str) -> Dataset:
    """Open a dataset such as ``folder:/data/route``.

    Raises:
        DatasetError: the reader is missing or unknown, or the dataset cannot be read.
    """
    reader, colon, argument = spec.partition(":")
    if not colon:
        raise DatasetError(f"dataset {spec!r} has no reader; write one of: {READERS}")
    if reader == "folder":
        return FolderDataset(Path(argument))
    if reader == "kitti":
        return open_kitti(argument)
    if reader == "colmap":
        return open_colmap(argument)
    if reader == "cmu":
        return open_cmu(argument)
    if reader == "kapture":
        return open_kapture(argument)
    if reader == "robotcar-seasons":
        return open_robotcar_seasons(argument)
    if reader == "robotcar":
        return open_robotcar(argument)
    if reader == "synthetic":
        from vizloc_ros.datasets.synthetic import open_synthetic  # imported only where it is used: it renders

        return open_synthetic(argument)
    raise DatasetError(f"dataset {spec!r} has an unknown reader {reader!r}; write one of: {READERS}")
