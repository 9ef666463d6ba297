"""Faults that a localizer must survive without a wrong pose: the rows of ``vizloc evaluate trust``.

Each is data: a name, what it does, what should become of the poses, and how the records of a drive are altered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.altered_records import (
    Alter,
    calibration,
    degraded,
    distortion,
    elsewhere,
    foreign,
    images,
    images_in_time,
    images_of,
    kept,
    mixed,
    mixed_with_foreign,
    twice,
    unaltered,
)
from vizloc_ros.evaluation.image_faults import (
    bayer,
    brightness,
    bytes_flipped,
    channels_swapped,
    dashboard,
    glare,
    interlaced,
    low_resolution,
    out_of_focus,
    out_of_sync,
    poster,
    reflected,
    rolling_shutter,
    row_jitter,
    snow,
    torn,
    truncated,
    watermark,
    wiper,
    zoomed,
)

BOTH, LOCALIZER, TRACKER = ("localizer", "tracker"), ("localizer",), ("tracker",)
POSES = "right poses, or none"
STREET, FRONTS, ALIASED, CORRIDOR, HALF = "street", "fronts", "aliased", "corridor", "half"


@dataclass(frozen=True)
class Fault:
    """One way in which something is not as the map knows it.

    Attributes:
        name: name of the row.
        does: what it does to images, calibration, stamps or the world.
        expected: what should become of the poses: the reason for withholding them, or that they stay right.
        alter: alteration of the records of a drive.
        world: name of the world, see ``trust_worlds``.
        runs: runs in which it can be seen, "localizer" and "tracker".
    """

    name: str
    does: str
    expected: str
    alter: Alter = unaltered
    world: str = STREET
    runs: Sequence[str] = BOTH


def _cover(kind: str) -> Alter:
    return images_in_time(lambda image, seconds: covered(image, kind, 1, seconds))


def _focal(factor: float) -> Alter:
    return calibration(lambda camera: replace(camera, fx=camera.fx * factor, fy=camera.fy * factor))


def _before(seconds: float) -> Alter:
    return images_of(lambda drive, index: max(0, index - drive.frames(seconds)))


_CALIBRATION = "withheld: the calibration does not fit"
_COVERED = "withheld, or right: the lens is covered"
_FROZEN = "withheld: the camera is frozen"
_ALIKE = "withheld: several places look alike"
_NOT_HERE = "withheld: not a place of the map"

FAULTS: tuple[Fault, ...] = (
    Fault("none", "the second lap as it is", "right poses"),
    # the lens
    Fault("upper half covered", "the upper half is black", _COVERED, _cover("upper_half")),
    Fault("85 % covered", "all is black but a box beside the middle", _COVERED, _cover("most")),
    Fault("lower 40 % visible", "the upper 60 % are black", _COVERED, _cover("upper_60")),
    Fault("dirt", "mud on a third of the lens", _COVERED, _cover("dirt")),
    Fault("drops", "forty drops, other ones every two seconds", POSES, _cover("drops")),
    Fault("wiper", "a wiper's blade in the view once a second", POSES, images_in_time(wiper)),
    Fault("snow", "400 white flakes, others in every image", POSES, images(snow)),
    Fault("glare", "a low sun with a wide halo", POSES, images(glare)),
    Fault("out of focus", "blurred by 1.5 % of the width", POSES, images(out_of_focus)),
    Fault("dashboard", "the lower 35 % and a corner show the vehicle", POSES, images(dashboard)),
    Fault("watermark", "a text across the image", POSES, images(watermark)),
    Fault("reflection", "half of the light comes from another street", POSES, mixed_with_foreign(reflected)),
    Fault("screen", "70 % of the width show the view of 6 s ago", POSES, mixed(poster, 6.0)),
    # the light
    Fault("night 5", "the degradation night at level 5", POSES, degraded("night", 5)),
    Fault("blur 5", "the degradation blur at level 5", POSES, degraded("blur", 5)),
    Fault("noise 5", "the degradation noise at level 5", POSES, degraded("noise", 5)),
    Fault("occlusion 5", "the degradation occlusion at level 5", POSES, degraded("occlusion", 5)),
    Fault("overexposed", "six times as bright, saturated", POSES, images(brightness(6.0))),
    Fault("underexposed", "an eighth of the brightness", POSES, images(brightness(0.125, -2.0))),
    Fault("negative", "black is white", "withheld", images(brightness(-1.0, 255.0))),
    Fault("black", "all pixels are 0", "withheld: nothing in the image", images(brightness(0.0))),
    Fault("white", "all pixels are 255", "withheld: nothing in the image", images(brightness(0.0, 255.0))),
    # the place
    Fault("aliased street", "everything repeats every 8 m", _ALIKE, world=ALIASED),
    Fault("equal house fronts", "one facade on every house, all else is normal", _ALIKE, world=FRONTS),
    Fault("corridor", "doors, tiles and lamps repeat", _ALIKE, world=CORRIDOR),
    Fault("beyond the map's end", "the map has the first 40 % of the lap", _NOT_HERE, world=HALF),
    Fault("foreign street", "images of another street, whose road has the same lanes and markings", _NOT_HERE, foreign),
    Fault("foreign corridor", "images of the corridor in the map of the street", _NOT_HERE, foreign),
    Fault(
        "kidnapped",
        "20 m further at once, and again every 3 s",
        "right poses, or none",
        elsewhere(
            lambda drive, index: (
                (index + (1 + (index - drive.begin) // drive.frames(3.0)) * drive.frames(4.0)) % len(drive.records)
            )
        ),
        runs=TRACKER,
    ),
    Fault(
        "backwards", "the images in reverse order", "right poses, or none",
        elsewhere(lambda drive, index: max(0, 2 * drive.begin - index)), runs=TRACKER,
    ),
    # the calibration
    Fault("focal length x 1.3", "camera_info is of another zoom", _CALIBRATION, _focal(1.3)),
    Fault("focal length x 1.05", "camera_info is off by 5 %", _CALIBRATION, _focal(1.05)),
    Fault("focal length x 0.8", "camera_info is of another zoom", _CALIBRATION, _focal(0.8)),
    Fault(
        "principal point + 40 px", "camera_info is off to the right", _CALIBRATION,
        calibration(lambda camera: replace(camera, cx=camera.cx + camera.width / 16)),
    ),
    Fault("fx = 1", "fx and fy are 1 px", _CALIBRATION, calibration(lambda camera: replace(camera, fx=1.0, fy=1.0))),
    Fault("fx = 1e300", "fx and fy are 1e300 px", _CALIBRATION,
          calibration(lambda camera: replace(camera, fx=1e300, fy=1e300))),
    Fault("fy = fx / 10", "fy is a tenth", _CALIBRATION,
          calibration(lambda camera: replace(camera, fy=camera.fx / 10))),
    Fault("wrong distortion", "rectified for D (-0.3, 0.1, 0, 0)", _CALIBRATION, distortion(-0.3, 0.1, 0.0, 0.0)),
    Fault("folding distortion", "rectified for D (0.5, -0.8, 0, 0)", _CALIBRATION, distortion(0.5, -0.8, 0.0, 0.0)),
    Fault("another camera", "images of a lens with 1.6 times the focal length", _CALIBRATION, images(zoomed(1.6))),
    Fault("cropped", "the upper left 80 %, scaled to full size", _CALIBRATION, images(zoomed(1.25, 0.0, 0.0))),
    Fault("mirrored", "left is right", "withheld", images(lambda image, rng: np.ascontiguousarray(image[:, ::-1]))),
    Fault("upside down", "turned by 180 degrees", "withheld",
          images(lambda image, rng: np.ascontiguousarray(image[::-1, ::-1]))),
    # the image
    Fault("JPEG bytes flipped", "ten bytes of each JPEG are others", POSES, images(bytes_flipped)),
    Fault("half black", "the transfer of each image ended early", POSES, images(truncated)),
    Fault("out of sync", "the first rows are the last ones", "withheld", images(out_of_sync)),
    Fault("row jitter", "groups of eight rows are shifted", "withheld: rows are shifted", images(row_jitter)),
    Fault("rolling shutter", "sheared by 8 % of the width", "withheld, or right", images(rolling_shutter)),
    Fault("channels swapped", "in color, with red and blue swapped", POSES, images(channels_swapped)),
    Fault("Bayer pattern", "raw pixels of the sensor, taken for gray", POSES, images(bayer)),
    Fault("low resolution", "shrunk eightfold and enlarged", POSES, images(low_resolution)),
    Fault("interlaced", "every second row is 0.3 s old", "withheld: rows of two moments", mixed(interlaced, 0.3)),
    Fault("torn", "the lower half is 0.5 s old", POSES, mixed(torn, 0.5)),
    # the time
    Fault("camera frozen", "the same image with new stamps", _FROZEN,
          images_of(lambda drive, index: drive.begin), runs=TRACKER),
    Fault(
        "camera frozen, noisy", "the same image with noise of 1 gray level and new stamps",
        "withheld: no vehicle stops at once",
        lambda drive: images(lambda image, rng: (image + rng.normal(0, 1, image.shape)).clip(0, 255).astype(np.uint8))(
            replace(drive, records=images_of(lambda of, index: of.begin)(drive))
        ),
        runs=TRACKER,
    ),
    Fault("camera stutters", "every image is sent five times", POSES,
          images_of(lambda drive, index: index - (index - drive.begin) % 5), runs=TRACKER),
    Fault("images twice", "each image again 30 ms later", POSES, twice, runs=TRACKER),
    Fault("images missing", "one second of two is missing", POSES,
          kept(lambda drive, index: (index - drive.begin) // drive.frames(1.0) % 2 == 1), runs=TRACKER),
    Fault("images swapped", "the images of each pair are swapped, with ascending stamps", POSES,
          images_of(lambda drive, index: min(len(drive.records) - 1, index + 1 - 2 * ((index - drive.begin) % 2))),
          runs=TRACKER),
)  # fmt: skip


def chosen_faults(names: Sequence[str]) -> list[Fault]:
    """Faults of these names, or all. Raises ``ConfigError`` that lists the names, for an unknown one."""
    by_name = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in names if name not in by_name]:
        raise ConfigError(f"there is no fault {', '.join(map(repr, unknown))}; there is: {', '.join(by_name)}")
    return [by_name[name] for name in names] or list(FAULTS)
