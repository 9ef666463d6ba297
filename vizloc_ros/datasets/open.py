"""From the text of the command line, ``reader:PATH``, to a dataset."""

from pathlib import Path

from vizloc_ros.datasets.cmu import open_cmu
from vizloc_ros.datasets.colmap import open_colmap
from vizloc_ros.datasets.folder import FolderDataset
from vizloc_ros.datasets.kitti import open_kitti
from vizloc_ros.datasets.record import Dataset
from vizloc_ros.errors import DatasetError

READERS = (
    "folder:PATH, kitti:PATH[?map=FIRST-LAST&query=FIRST-LAST&camera=0], colmap:PATH[?model=FOLDER&images=FOLDER&...], "
    "cmu:PATH[?camera=c0], synthetic:[seed=0,length=20,...]"
)


def open_dataset(spec: str) -> Dataset:
    """Opens a dataset such as ``folder:/data/route``.

    Raises:
        DatasetError: the reader is unknown or missing, or the dataset cannot be read.
    """
    reader, colon, argument = spec.partition(":")
    if not colon:
        raise DatasetError(f"dataset {spec!r} does not say how to read it; write one of: {READERS}")
    if reader == "folder":
        return FolderDataset(Path(argument))
    if reader == "kitti":
        return open_kitti(argument)
    if reader == "colmap":
        return open_colmap(argument)
    if reader == "cmu":
        return open_cmu(argument)
    if reader == "synthetic":
        from vizloc_ros.datasets.synthetic import open_synthetic  # only this reader renders, so only it pays for that

        return open_synthetic(argument)
    raise DatasetError(f"dataset {spec!r} asks for an unknown reader {reader!r}; write one of: {READERS}")
