"""Reader of images of the same places in several months: ``months:PATH``.

PATH has images and ``displacements.csv`` with the columns ``image,place,month,displacement_px``. A point at column u of
an image is at about u + displacement(b) - displacement(a) in another image b of the same place. Any folder with such a
file can be read; ``month`` may be any number of a session.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from vizloc_ros.datasets.parsing import parse_number
from vizloc_ros.errors import DatasetError

DISPLACEMENTS_READER = "months:PATH"
_COLUMNS = ("image", "place", "month", "displacement_px")


@dataclass(frozen=True)
class SeasonImage:
    """Image of a place in one month.

    Attributes:
        path: file of the image.
        place: name of the place.
        month: number of the month or session.
        displacement: horizontal displacement of its content, marked by hand [px].
    """

    path: Path
    place: str
    month: int
    displacement: float


def open_displacements(text: str) -> list[SeasonImage]:
    """Read the images of ``months:PATH``.

    Raises:
        DatasetError: the file is missing or damaged, an image is missing, or no place has two images.
    """
    folder = Path(text.removeprefix("months:"))
    path = folder / "displacements.csv"
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}): give the folder that holds displacements.csv") from error
    if not rows or not set(_COLUMNS) <= rows[0].keys():
        raise DatasetError(f"{path}: needs the columns {','.join(_COLUMNS)} and a row for each image")
    images = [_image(path, number, row) for number, row in enumerate(rows, 2)]
    places = [image.place for image in images]
    if len(set(places)) == len(places):
        raise DatasetError(f"{path}: no place has two images, so there is nothing to match")
    return images


def _image(path: Path, number: int, row: dict[str, str]) -> SeasonImage:
    where = f"{path}:{number}"
    image = path.parent / (row["image"] or "")
    if not image.is_file():
        raise DatasetError(f"{where}: the image {image} is not there: copy the folder again")
    month = parse_number(row["month"] or "", "month", where)
    return SeasonImage(
        image, row["place"], int(month), parse_number(row["displacement_px"] or "", "displacement_px", where)
    )
