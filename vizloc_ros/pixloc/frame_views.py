"""Views of the images of one instant: their features, and the landmarks that the camera is predicted to see."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.geometry.se3 import interpolated
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import in_view
from vizloc_ros.pixloc.tracking import CameraImage, Frame, TrackerOptions
from vizloc_ros.timing import Stopwatch

UprightFeatures = tuple[Roll, FeaturePyramid]
"""Features of an image that was turned upright, and the roll of its camera for which it was turned."""
SubmapSource = Callable[[Rigid3d, str], References | None]
"""Function that returns the reference features around a pose map_from_cam of a camera, by its name; None without."""
RollSource = Callable[[Rigid3d], Roll]
"""Function that returns the roll of a camera at a pose map_from_cam against the map's images."""


def upright(_map_from_cam: Rigid3d) -> Roll:
    """``RollSource`` of a camera that is as the map's."""
    return Roll.NONE


@dataclass
class RememberedFrame:
    """A frame of the recent past.

    Attributes:
        frame: images with their cameras and time.
        features: by camera, features of its image, once they were extracted.
        map_from_cam: accepted pose, if there is one.
        covariance: (6, 6) covariance of its alignment [m^2, m rad, rad^2], if it was aligned.
    """

    frame: Frame
    features: dict[str, UprightFeatures] = field(default_factory=dict)
    map_from_cam: Rigid3d | None = None
    covariance: Float64 | None = None


def pose_at(history: Iterable[RememberedFrame], stamp_ns: int) -> tuple[Rigid3d | None, Float64 | None]:
    """Pose of a track at a time [ns], between those of two frames if need be; its covariance if it was aligned.

    None where no frame, or only those to one side, have a pose.
    """
    known = [each for each in history if each.map_from_cam is not None]
    before = next((each for each in reversed(known) if each.frame.stamp_ns <= stamp_ns), None)
    after = next((each for each in known if each.frame.stamp_ns >= stamp_ns), None)
    if before is None or after is None or before.map_from_cam is None or after.map_from_cam is None:
        return None, None
    if (duration := after.frame.stamp_ns - before.frame.stamp_ns) == 0:
        return before.map_from_cam, before.covariance
    ratio = (stamp_ns - before.frame.stamp_ns) / duration
    return interpolated(before.map_from_cam, after.map_from_cam, ratio), before.covariance


@dataclass(frozen=True)
class UprightViews:
    """Images of one instant as if their cameras were upright.

    Attributes:
        views: by camera, its image with the landmarks in the predicted view.
        left_out: reason for each other camera.
        prediction: predicted pose of the upright rig.
        roll: roll of the rig against the map.
    """

    views: Mapping[str, View]
    left_out: Mapping[str, str]
    prediction: Prediction
    roll: Roll


class FrameViews:
    """Source of the views of frames. For one thread, but for ``extract``."""

    def __init__(self, extractor: PyramidExtractor, submaps: SubmapSource, roll_of: RollSource) -> None:
        self._extractor, self._submaps, self._roll_of = extractor, submaps, roll_of
        self._rolls: dict[str, Roll] = {}  # of the last image of each camera

    def has_landmarks(self, frame: Frame, map_from_cam: Rigid3d) -> bool:
        """Return True if there are landmarks around one of the cameras of a frame, at a pose of the rig."""
        found = [self._submaps(image.map_from_cam(map_from_cam), image.name) for image in frame.images]
        return any(references is not None for references in found)

    def of(
        self,
        remembered: RememberedFrame,
        prediction: Prediction,
        options: TrackerOptions,
        stopwatch: Stopwatch,
        *,
        patches_alone: bool = False,
    ) -> UprightViews:
        """Return the views of a frame, whose features are kept there; with ``patches_alone``, views without any."""
        roll = self._roll_of(prediction.map_from_cam)
        predicted = prediction if roll is Roll.NONE else prediction.moved(roll.inverse.upright_from_cam)
        views: dict[str, View] = {}
        left_out: dict[str, str] = {}
        for image in remembered.frame.images:
            of_image = roll
            if image.cam_from_rig is not None:
                of_image = self._roll_of(image.map_from_cam(prediction.map_from_cam))
            self._rolls[image.name] = of_image
            turned = image.upright(of_image, roll)
            references = self._landmarks(turned, predicted, options)
            if isinstance(references, str):
                left_out[image.name] = references
                continue
            if patches_alone:
                size = (turned.image.shape[1], turned.image.shape[0])
                pyramid = FeaturePyramid((), size, self._extractor.smoothed(turned.image))
            else:
                pyramid = self._pyramid(remembered, turned, of_image, stopwatch)
            views[image.name] = View(pyramid, references, turned.camera, turned.correction, turned.cam_from_rig)
        return UprightViews(views, left_out, predicted, roll)

    def extract(self, camera: str, image: UInt8) -> UprightFeatures:
        """Extract the features of an (H, W) image of a camera that is rolled as in its last image. For any thread."""
        roll = self._rolls.get(camera, Roll.NONE)
        return roll, self._extractor.extract(roll.turn_image(image))

    def _landmarks(self, image: CameraImage, prediction: Prediction, options: TrackerOptions) -> References | str:
        """Return the landmarks in the predicted view of an upright image, or why it cannot be aligned."""
        map_from_cam = image.map_from_cam(prediction.map_from_cam)
        submap = self._submaps(map_from_cam, image.name)
        if submap is None:
            return "the map has no landmarks around the predicted pose"
        references = in_view(submap, map_from_cam.inverse(), image.camera, image.correction, options.max_landmarks)
        if len(references) < options.alignment.min_landmarks:
            return f"only {len(references)} landmarks where the camera is predicted to look"
        return references

    def _pyramid(
        self, remembered: RememberedFrame, image: CameraImage, roll: Roll, stopwatch: Stopwatch
    ) -> FeaturePyramid:
        """Return the features of an upright image; extracted once, also if it is aligned again to catch up."""
        known_roll, pyramid = remembered.features.get(image.name, (roll, None))
        if pyramid is None or known_roll is not roll:
            with stopwatch("features"):
                pyramid = self._extractor.extract(image.image)
            remembered.features[image.name] = roll, pyramid
        return pyramid
