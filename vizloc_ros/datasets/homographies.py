"""Reader of planar image pairs with known homographies: the benchmarks ``oxford:PATH`` and ``hpatches:PATH``.

Each sequence is a folder with six images and the homographies from the first image to the others:

* Oxford affine regions (Mikolajczyk et al., IJCV 2005): ``img1.png`` .. ``img6.png``, ``H1to2p`` .. ``H1to6p``;
* HPatches sequences (Balntas et al., CVPR 2017): ``1.ppm`` .. ``6.ppm``, ``H_1_2`` .. ``H_1_6``; the
  illumination changes in ``i_*``, the viewpoint in ``v_*``.

PATH is the folder of all sequences or of a single one. Images may be ``.png``, ``.ppm`` or ``.pgm``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.parsing import numbered_rows, parse_number
from vizloc_ros.errors import DatasetError

HOMOGRAPHY_READERS = "oxford:PATH, hpatches:PATH"
IMAGES_OF_A_SEQUENCE = 6
_SUFFIXES = (".png", ".ppm", ".pgm")


@dataclass(frozen=True)
class HomographyPair:
    """Two images of one plane.

    Attributes:
        sequence: name of the sequence's folder.
        image_a: path of the first image of the sequence.
        image_b: path of another image.
        b_from_a: (3, 3) homography from homogeneous pixels (x, y, 1) of a to those of b, of any scale.
    """

    sequence: str
    image_a: Path
    image_b: Path
    b_from_a: Float64


@dataclass(frozen=True)
class _Layout:
    """File names of a benchmark, formatted with the number of an image.

    Attributes:
        image_stem: name of the image without its suffix.
        homography: name of the homography from the first image.
    """

    image_stem: str
    homography: str

    def holds_sequence(self, folder: Path) -> bool:
        numbers = range(1, IMAGES_OF_A_SEQUENCE + 1)
        return any((folder / self.homography.format(k)).is_file() or self._images(folder, k) for k in numbers)

    def image(self, folder: Path, number: int) -> Path:
        images = self._images(folder, number)
        if not images:
            stem = self.image_stem.format(number)
            raise DatasetError(
                f"{folder}: there is no image {stem}{_SUFFIXES[0]} (or {', '.join(_SUFFIXES[1:])}); "
                f"a sequence has {IMAGES_OF_A_SEQUENCE} images: copy it again"
            )
        return images[0]

    def _images(self, folder: Path, number: int) -> list[Path]:
        paths = (folder / f"{self.image_stem.format(number)}{suffix}" for suffix in _SUFFIXES)
        return [path for path in paths if path.is_file()]

    def pairs(self, folder: Path) -> list[HomographyPair]:
        first = self.image(folder, 1)
        return [
            HomographyPair(
                folder.name, first, self.image(folder, k), read_homography(folder / self.homography.format(k))
            )
            for k in range(2, IMAGES_OF_A_SEQUENCE + 1)
        ]


_LAYOUTS = {"oxford": _Layout("img{}", "H1to{}p"), "hpatches": _Layout("{}", "H_1_{}")}


def open_homographies(spec: str) -> list[HomographyPair]:
    """Open a benchmark such as ``oxford:/data/oxford_affine``: its pairs in order of sequence and image.

    Images are not decoded yet.

    Raises:
        DatasetError: the reader is unknown, there is no sequence, or one lacks a file or has a malformed homography;
            the text names the file and the line.
    """
    reader, _, argument = spec.partition(":")
    if reader not in _LAYOUTS or not argument:
        raise DatasetError(f"dataset {spec!r} has no known homographies; write one of: {HOMOGRAPHY_READERS}")
    layout, folder = _LAYOUTS[reader], Path(argument)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; it should hold the sequences of the benchmark")
    if layout.holds_sequence(folder):
        return layout.pairs(folder.resolve())  # resolved, for the name where PATH is "."
    sequences = sorted(child for child in folder.iterdir() if child.is_dir() and layout.holds_sequence(child))
    if not sequences:
        raise DatasetError(
            f"{folder}: no folder in it is a sequence of '{reader}': none holds {layout.image_stem.format(1)}"
            f"{_SUFFIXES[0]} or {layout.homography.format(2)}"
        )
    return [pair for sequence in sequences for pair in layout.pairs(sequence)]


def read_homography(path: Path) -> Float64:
    """Read an invertible (3, 3) matrix. Raises ``DatasetError`` that names the file and the line."""
    rows = numbered_rows(path)
    for line, fields in rows:
        if len(fields) != 3:
            raise DatasetError(f"{path}:{line}: {len(fields)} values; a row of a homography has 3")
    if len(rows) != 3:
        raise DatasetError(f"{path}: {len(rows)} rows; a homography has 3 rows of 3 values")
    values = [[parse_number(text, "a value", f"{path}:{line}") for text in fields] for line, fields in rows]
    homography = np.array(values, np.float64)
    if np.linalg.matrix_rank(homography) < 3:
        raise DatasetError(f"{path}: the homography is singular: it maps the whole image to a line or a point")
    return homography
