"""Building blocks of faults: records whose images, calibrations or times are not what they should be.

A fault is a function of a drive. Its records keep the stamps and the true poses that the drive has, so that a pose can
be compared with where the vehicle really is. Images are altered when they are read.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import CameraError
from vizloc_ros.evaluation.image_faults import Change
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier, rectified_camera
from vizloc_ros.timing import NANOSECONDS


@dataclass(frozen=True)
class Drive:
    """Drive in which a fault happens.

    Attributes:
        records: images in order of time, at equal intervals.
        begin: index of the first image with the fault.
        foreign: images of places that are not in the map.
    """

    records: Sequence[Record]
    begin: int
    foreign: Sequence[Record]

    def frames(self, seconds: float) -> int:
        """Number of images in a time, at least one."""
        if len(self.records) < 2:
            return 1
        period = (self.records[1].timestamp_ns - self.records[0].timestamp_ns) / NANOSECONDS
        return max(1, round(seconds / period))


Alter = Callable[[Drive], list[Record]]


def unaltered(drive: Drive) -> list[Record]:
    """Return the drive as it is: the world itself is the fault."""
    return list(drive.records)


def _each(alter: Callable[[Drive, int], Record]) -> Alter:
    """Alter every record from the begin of the fault on."""

    def altered(drive: Drive) -> list[Record]:
        good = list(drive.records[: drive.begin])
        return good + [alter(drive, index) for index in range(drive.begin, len(drive.records))]

    return altered


def with_image(record: Record, read: Callable[[], UInt8]) -> Record:
    """Record with another image."""
    return replace(record, read_image=read, raw=None, file=None)


def images(change: Change) -> Alter:
    """Change every image by itself; the random numbers of an image depend on its place in the drive."""

    def of(drive: Drive, index: int) -> Record:
        record = drive.records[index]
        return with_image(record, lambda: change(record.read_image(), np.random.default_rng([index, 7])))

    return _each(of)


def images_in_time(change: Callable[[UInt8, float], UInt8]) -> Alter:
    """Change every image by the time since the begin of the drive [s]."""

    def of(drive: Drive, index: int) -> Record:
        record = drive.records[index]
        seconds = (record.timestamp_ns - drive.records[0].timestamp_ns) / NANOSECONDS
        return with_image(record, lambda: change(record.read_image(), seconds))

    return _each(of)


def degraded(kind: str, level: int) -> Alter:
    """Degrade every image, see ``Degradation``."""
    degradation = Degradation(kind, level)
    return images(lambda image, rng: degradation.apply(image, int(rng.integers(2**31))))


def mixed(change: Callable[[UInt8, UInt8], UInt8], seconds: float) -> Alter:
    """Mix every image with the one some seconds earlier."""

    def of(drive: Drive, index: int) -> Record:
        record, earlier = drive.records[index], drive.records[max(0, index - drive.frames(seconds))]
        return with_image(record, lambda: change(record.read_image(), earlier.read_image()))

    return _each(of)


def mixed_with_foreign(change: Callable[[UInt8, UInt8], UInt8]) -> Alter:
    """Mix every image with one of a place that is not in the map."""

    def of(drive: Drive, index: int) -> Record:
        record, other = drive.records[index], drive.foreign[index % len(drive.foreign)]
        return with_image(record, lambda: change(record.read_image(), other.read_image()))

    return _each(of)


def images_of(source: Callable[[Drive, int], int]) -> Alter:
    """Give every record the image of another one of the drive, whose index ``source`` finds."""

    def of(drive: Drive, index: int) -> Record:
        return with_image(drive.records[index], drive.records[source(drive, index)].read_image)

    return _each(of)


def elsewhere(source: Callable[[Drive, int], int]) -> Alter:
    """Move the vehicle: image and true pose of another record, whose index ``source`` finds, with the own stamp."""

    def of(drive: Drive, index: int) -> Record:
        own, other = drive.records[index], drive.records[source(drive, index)]
        return replace(other, name=own.name, timestamp_ns=own.timestamp_ns)

    return _each(of)


def foreign(drive: Drive) -> list[Record]:
    """Give every record an image of a place that is not in the map: no pose is right."""

    def of(own: Drive, index: int) -> Record:
        other = own.foreign[index % len(own.foreign)]
        return replace(
            other, name=own.records[index].name, timestamp_ns=own.records[index].timestamp_ns, world_from_cam=None
        )

    return _each(of)(drive)


def calibration(change: Callable[[PinholeCamera], PinholeCamera]) -> Alter:
    """Change the calibration, and not the images."""
    return _each(lambda drive, index: replace(drive.records[index], camera=change(drive.records[index].camera)))


def distortion(*coefficients: float) -> Alter:
    """Rectify images, which need none, for a lens with this distortion (plumb_bob)."""

    def of(drive: Drive, index: int) -> Record:
        record = drive.records[index]
        lens = DistortedCamera(record.camera, coefficients)
        try:
            camera = rectified_camera(lens)
        except CameraError:  # the fault is that of every image: it is raised again when the image is read
            camera = record.camera
        return replace(with_image(record, lambda: Rectifier(lens).rectify(record.read_image())), camera=camera)

    return _each(of)


def kept(keep: Callable[[Drive, int], bool]) -> Alter:
    """Drop the records of the fault that ``keep`` does not want."""

    def altered(drive: Drive) -> list[Record]:
        return [r for index, r in enumerate(drive.records) if index < drive.begin or keep(drive, index)]

    return altered


def twice(drive: Drive) -> list[Record]:
    """Send every image twice, the second time 30 ms later: the vehicle has moved on by then."""
    copies = list(drive.records[: drive.begin])
    for record, following in zip(drive.records[drive.begin :], drive.records[drive.begin + 1 :], strict=False):
        later = record.timestamp_ns + 30_000_000
        copies += [
            record,
            replace(record, name=f"{record.name} again", timestamp_ns=min(later, following.timestamp_ns - 1)),
        ]
    return copies
