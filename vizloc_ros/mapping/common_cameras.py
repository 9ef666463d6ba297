"""Cameras of two maps that become one, with one intrinsics correction each.

Both maps may have corrected the same camera, each as far as its own images showed. The landmarks of both together show
it better, so the correction is estimated anew, and keypoints and landmarks follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.landmark_fusion import with_refined_landmarks
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.map_part import Structure
from vizloc_ros.mapping.self_calibration import SelfCalibrationOptions, estimate_corrections
from vizloc_ros.mapping.triangulation import Triangulation

_SAME_CAMERA = 0.01  # px
_INVERSIONS = 3  # fixed-point steps; a correction is small and smooth


@dataclass(frozen=True)
class CommonCameras:
    """Cameras of two maps.

    Attributes:
        corrections: corrections of the cameras; where those of the maps differ, their mean by observations.
        differing: cameras whose corrections differ.
    """

    corrections: Mapping[PinholeCamera, IntrinsicsCorrection]
    differing: frozenset[PinholeCamera]

    @classmethod
    def of(cls, first: MapInfo, second: MapInfo) -> "CommonCameras":
        """Common cameras of two maps. Nearly the same ones become that of the first map."""
        corrections = {camera: first.intrinsics_correction(camera) for camera in first.cameras}
        weights = [info.observations / (first.observations + second.observations) for info in (first, second)]
        differing = set()
        for camera in second.cameras:
            own, known = second.intrinsics_correction(camera), _same(camera, corrections)
            if known is None:
                corrections[camera] = own
            elif corrections[known] != own:
                both = [np.array([c.focal, c.cx, c.cy, c.radial]) for c in (corrections[known], own)]
                corrections[known] = IntrinsicsCorrection(*np.average(both, axis=0, weights=weights).tolist())
                differing.add(known)
        return cls(corrections, frozenset(differing))

    def adapted(self, keyframes: Sequence[Keyframe], info: MapInfo) -> list[Keyframe]:
        """Keyframes of one of the maps with the common cameras and keypoints of the common corrections."""
        adapted = []
        for keyframe in keyframes:
            camera = _same(keyframe.camera, self.corrections) or keyframe.camera
            old = info.intrinsics_correction(keyframe.camera)
            adapted.append(_recorrected(replace(keyframe, camera=camera), old, self.corrections[camera]))
        return adapted

    def calibrated(self, both: Structure) -> tuple[Structure, Mapping[PinholeCamera, IntrinsicsCorrection]]:
        """Structure of both maps, of ``adapted`` keyframes, and its corrections: differing ones are estimated anew."""
        if not self.differing:
            return both, self.corrections
        none = IntrinsicsCorrection()
        as_seen = [
            _recorrected(k, self.corrections[k.camera], none) if k.camera in self.differing else k
            for k in both.keyframes
        ]
        raw = with_refined_landmarks(replace(both, keyframes=as_seen))
        unknown = np.full(len(raw.positions), np.nan)
        landmarks = Triangulation(raw.positions, raw.owners, raw.keypoints, raw.landmarks, unknown)
        found = estimate_corrections(as_seen, landmarks, SelfCalibrationOptions())
        corrections = {**self.corrections, **{camera: found.get(camera, none) for camera in self.differing}}
        keyframes = [_recorrected(k, none, corrections[k.camera]) if k.camera in self.differing else k for k in as_seen]
        return with_refined_landmarks(replace(both, keyframes=keyframes)), corrections


def _recorrected(keyframe: Keyframe, old: IntrinsicsCorrection, new: IntrinsicsCorrection) -> Keyframe:
    """Keyframe whose keypoints have another correction."""
    if new == old:
        return keyframe
    pixels = keyframe.features.keypoints.astype(np.float64)
    seen = pixels.copy()
    for _ in range(_INVERSIONS):
        seen = pixels + old.shift(seen, keyframe.camera)
    moved = (seen - new.shift(seen, keyframe.camera)).astype(np.float32)
    return replace(keyframe, features=replace(keyframe.features, keypoints=moved))


def _same(camera: PinholeCamera, cameras: Iterable[PinholeCamera]) -> PinholeCamera | None:
    """Camera among others that is the same, or nearly."""
    known = list(cameras)
    if camera in known:
        return camera
    return next((other for other in known if other.is_near(camera, _SAME_CAMERA)), None)
