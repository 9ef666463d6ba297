"""Part of a map: some of its keyframes and landmarks, as the content of a new map."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros import __version__
from vizloc_ros.arrays import Bool, Float64, Int32, Int64
from vizloc_ros.errors import MapError
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_format import ExtractorInfo, MapInfo, Session
from vizloc_ros.mapping.map_writer import MapContent, replacing_map, write_map, write_references
from vizloc_ros.mapping.reference_arrays import ReferenceArrays
from vizloc_ros.mapping.triangulation import triangulation_of
from vizloc_ros.mapping.visual_map import EXTRACTOR_FOLDER, VisualMap

_MADE_ANEW = {
    *("format_version", "vizloc_version", "created", "extractor", "cameras", "camera_corrections", "keyframes"),
    *("landmarks", "observations", "descriptor_size", "global_descriptor_size", "pixloc", "sessions", "build", "files"),
}
_MIN_TRACK = 2  # keyframes of a landmark, without which it is none for COLMAP


@dataclass(frozen=True)
class StoredKind:
    """``FeatureKind`` of a map, from its files: the network itself need not be there.

    Attributes:
        info: name, settings and identity.
        folder: folder with the files of the extractor.
    """

    info: ExtractorInfo
    folder: Path

    @property
    def name(self) -> str:
        """Name of the extractor."""
        return self.info.name

    @property
    def feature_id(self) -> str:
        """Identifier of all that the features depend on."""
        return self.info.feature_id

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the extractor."""
        return self.info.settings

    def save(self, folder: Path) -> None:
        """Copy the files into an existing folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


@dataclass(frozen=True)
class MapPart:
    """Part of a map.

    Attributes:
        visual_map: the map.
        keyframes: (K',) ascending indices of the keyframes of the part.
        rows: (M',) ascending rows of the observations of the part.
    """

    visual_map: VisualMap
    keyframes: Int64
    rows: Int64

    @classmethod
    def of(cls, visual_map: VisualMap, keyframes: Bool, landmarks: Bool, min_track: int = _MIN_TRACK) -> "MapPart":
        """Part with (K,) keyframes and (L,) landmarks of a map.

        Landmarks that fewer than ``min_track`` of the keyframes observe are left out. Raises ``MapError`` if nothing
        remains.
        """
        seen, of_keyframes = visual_map.observation_landmarks, keyframes[keyframe_of_rows(visual_map)]
        chosen = landmarks & (np.bincount(seen[of_keyframes], minlength=len(landmarks)) >= min_track)
        rows = np.flatnonzero(of_keyframes & chosen[seen])
        if not len(rows):
            raise MapError(f"{visual_map.folder}: of {keyframes.sum()} keyframes no landmark remains: keep more")
        return cls(visual_map, np.flatnonzero(keyframes), rows)

    def write(self, build: dict[str, Any], out: Path) -> int:
        """Write the part as a map of its own, with the tracker's references. Return the size of its files [bytes].

        Args:
            build: report for map.yaml.
            out: folder of the map; that of the whole map to replace it.

        Raises:
            MapError: ``out`` is not replaceable, or the map cannot be written.
        """
        info, references = self.visual_map.info, self.references
        with replacing_map(out) as new:
            size = write_map(self._content(), build, new)
            if references is not None and info.pixloc is not None:
                size += write_references(new, references, info.pixloc.model_id)
        return size

    @property
    def references(self) -> ReferenceArrays | None:
        """The tracker's references of the part; None if the map has none."""
        references = self.visual_map.references
        return None if references is None else references.take(self.rows)

    @property
    def sessions(self) -> list[Session]:
        """Sessions of the part's keyframes."""
        sessions = self.visual_map.info.all_sessions
        ends = np.cumsum([session.keyframes for session in sessions])
        counts = np.diff(np.searchsorted(self.keyframes, ends), prepend=0).tolist()
        return [session.model_copy(update={"keyframes": n}) for session, n in zip(sessions, counts, strict=True)]

    def structure(self) -> "Structure":
        """Keyframes, landmarks and observations of the part."""
        visual_map = self.visual_map
        of_rows = keyframe_of_rows(visual_map)[self.rows]
        starts = np.searchsorted(of_rows, self.keyframes)
        stops = np.searchsorted(of_rows, self.keyframes, side="right")
        keyframes = [
            stored_keyframe(visual_map, int(k), self.rows[start:stop])
            for k, start, stop in zip(self.keyframes, starts, stops, strict=True)
        ]
        kept, landmarks = np.unique(visual_map.observation_landmarks[self.rows], return_inverse=True)
        owners = np.searchsorted(self.keyframes, of_rows)
        return Structure(
            keyframes,
            np.asarray(visual_map.landmark_positions[kept], np.float64),
            owners,
            np.arange(len(self.rows)) - starts[owners],
            landmarks.astype(np.int32),
        )

    def _content(self) -> MapContent:
        visual_map, info, part = self.visual_map, self.visual_map.info, self.structure()
        sessions = {"sessions": self.sessions} if info.sessions else {}
        return MapContent(
            part.keyframes,
            triangulation_of(part.keyframes, part.positions, part.owners, part.keypoints, part.landmarks),
            StoredKind(info.extractor, visual_map.folder / EXTRACTOR_FOLDER),
            info.dataset,
            info.frame,
            __version__,
            datetime.now(timezone.utc),
            {camera: info.intrinsics_correction(camera) for camera in info.cameras},
            changes={name: getattr(info, name) for name in MapInfo.model_fields if name not in _MADE_ANEW} | sessions,
        )


@dataclass(frozen=True)
class Structure:
    """Keyframes, landmarks and observations of a map, whose keyframes have the observed keypoints only.

    Attributes:
        keyframes: K keyframes.
        positions: (L, 3) positions of the landmarks [m].
        owners: (M,) index of each observation's keyframe, ascending.
        keypoints: (M,) index of its keypoint in that keyframe, ascending in a keyframe.
        landmarks: (M,) index of its landmark.
    """

    keyframes: list[Keyframe]
    positions: Float64
    owners: Int64
    keypoints: Int64
    landmarks: Int32


def keyframe_of_rows(visual_map: VisualMap) -> Int64:
    """(M,) keyframe of every observation."""
    return np.repeat(np.arange(visual_map.info.keyframes), np.diff(visual_map.observation_offsets))


def stored_keyframe(visual_map: VisualMap, index: int, rows: Int64 | slice) -> Keyframe:
    """Keyframe whose features are those of some of its observations: a map does not keep others, nor their scores."""
    camera = visual_map.info.cameras[int(visual_map.keyframe_cameras[index])]
    pixels = np.asarray(visual_map.observation_pixels[rows])
    features = Features(
        pixels,
        np.zeros(len(pixels), np.float32),
        np.asarray(visual_map.observation_descriptors[rows]),
        np.asarray(visual_map.global_descriptors[index]),
        camera.size,
    )
    pose = pose_of(visual_map.keyframe_poses[index])
    return Keyframe(visual_map.keyframe_names[index], int(visual_map.keyframe_stamps[index]), camera, pose, features)
