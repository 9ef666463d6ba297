"""Merge of two maps of the same features: sessions of one place, or neighboring places, in the first map's frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros import __version__
from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.similarity import Similarity
from vizloc_ros.mapping.builder import range_warnings
from vizloc_ros.mapping.common_cameras import CommonCameras
from vizloc_ros.mapping.georeference import Georeference
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.landmark_fusion import fuse_landmarks
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.map_part import MapPart, StoredKind, Structure
from vizloc_ros.mapping.map_writer import MapContent, replacing_map, write_map, write_references
from vizloc_ros.mapping.reference_arrays import ReferenceArrays
from vizloc_ros.mapping.triangulation import triangulation_of
from vizloc_ros.mapping.visual_map import EXTRACTOR_FOLDER, VisualMap
from vizloc_ros.parallel import Progress, silent

_SAME_PLACE = 10.0  # m between the places of a map by the world and by GNSS, up to which the two agree
_FEW_OBSERVATIONS = 30  # as ``BuildOptions.min_observations``
_FACING = np.cos(np.radians(50.0))
_NEAR_DEPTH = 0.5  # of the median distance of the landmarks: a keyframe so near another one is of the same place


def require_same_features(first: VisualMap, second: VisualMap) -> None:
    """Raise ``MapError`` unless two maps have the same features."""
    a, b = first.info.extractor.feature_id, second.info.extractor.feature_id
    if a != b:
        raise MapError(
            f"{second.folder}: its features are {b}, but those of {first.folder} are {a}: build it again with that "
            f"map's extractor, as 'vizloc map extend {first.folder} {second.info.dataset}' does"
        )


def known_transform(first: MapInfo, second: MapInfo) -> Similarity | None:
    """Transform first_from_second of two maps by the world of their datasets; None if it must come from matches.

    The worlds are taken for the same, unless a map has no scale, or GNSS puts the two worlds apart.
    """
    if "unknown" in (first.scale, second.scale):
        return None
    a_from_b = first.place.world_from_map_pose.inverse() * second.place.world_from_map_pose
    if first.place.datum is not None and second.place.datum is not None:
        by_earth = first.place.datum.earth_from_frame.inverse() * second.place.datum.earth_from_frame
        if np.linalg.norm(by_earth.translation - a_from_b.translation) > _SAME_PLACE:
            return None
    return Similarity(1.0, a_from_b)


@dataclass(frozen=True)
class MergeReport:
    """Figures of a merge.

    Attributes:
        keyframes: number of keyframes of the second map that were added.
        doubles: number of those that the first map has already, which were left out.
        known_places: number of the added ones with a keyframe of the first map near them.
        linked: number of the added ones that share landmarks with the first map.
        joined: number of landmarks that became part of another one.
        no_references: why the result has no references for the tracker; empty if it has.
    """

    keyframes: int
    doubles: int
    known_places: int
    linked: int
    joined: int
    no_references: str = ""

    @property
    def new_places(self) -> int:
        """Number of the added keyframes without one of the first map near them."""
        return self.keyframes - self.known_places


def merge_maps(
    first: VisualMap, second: VisualMap, first_from_second: Similarity, out: Path, progress: Progress = silent
) -> MergeReport:
    """Write two maps as one, in the frame of the first one; see ``write_map`` for ``out``.

    Args:
        first: map that gives frame, georeference and scale.
        second: map whose keyframes are added.
        first_from_second: transform of the second map into the frame of the first one.
        out: folder of the result, which may be that of one of them.
        progress: progress display.

    Raises:
        MapError: the features differ, all images are in the first map already, or ``out`` cannot be written.
    """
    require_same_features(first, second)
    added = ~_doubles(first, second)
    if not added.any():
        raise MapError(f"{first.folder}: has all images of {second.info.dataset} already")
    parts = [
        MapPart.of(visual_map, keyframes, np.ones(visual_map.info.landmarks, bool))
        for visual_map, keyframes in ((first, np.ones(first.info.keyframes, bool)), (second, added))
    ]
    cameras = CommonCameras.of(first.info, second.info)
    whole, moved = parts[0].structure(), _moved(parts[1].structure(), first_from_second)
    near = _near_others(whole, moved)
    whole = replace(whole, keyframes=cameras.adapted(whole.keyframes, first.info))
    moved = replace(moved, keyframes=cameras.adapted(_renamed(moved.keyframes, whole.keyframes, first), second.info))
    fusion = fuse_landmarks(whole, moved, progress)
    structure, corrections = cameras.calibrated(fusion.structure)
    references, no_references = _references(parts)
    content = _content(parts, structure, corrections, first_from_second)
    report = MergeReport(
        len(moved.keyframes),
        int((~added).sum()),
        int(near.sum()),
        int(fusion.linked.sum()),
        fusion.joined,
        no_references,
    )
    with replacing_map(out) as new:
        write_map(content, _build_report((first.info, second.info), content, report), new)
        if references is not None and first.info.pixloc is not None:
            write_references(new, references, first.info.pixloc.model_id)
    return report


def _doubles(first: VisualMap, second: VisualMap) -> Bool:
    """(K,) whether a keyframe of the second map is one of the first one: dataset, name and time are the same."""
    keys = [list(zip(_datasets(m), m.keyframe_names, m.keyframe_stamps.tolist(), strict=True)) for m in (first, second)]
    known = set(keys[0])
    return np.array([key in known for key in keys[1]], bool)


def _datasets(visual_map: VisualMap) -> list[str]:
    """Dataset of every keyframe."""
    return [session.dataset for session in visual_map.info.all_sessions for _ in range(session.keyframes)]


def _moved(structure: Structure, transform: Similarity) -> Structure:
    """Structure in another frame."""
    return replace(
        structure,
        keyframes=[replace(k, map_from_cam=transform.pose(k.map_from_cam)) for k in structure.keyframes],
        positions=transform_points(transform.a_from_b, transform.scale * structure.positions),
    )


def _near_others(first: Structure, second: Structure) -> Bool:
    """(K,) whether a keyframe of the second structure has one of the first near it that faces alike."""
    centers, directions = (np.array(values) for values in zip(*map(_view, first.keyframes), strict=True))
    offsets = first.positions[first.landmarks] - centers[first.owners]
    limit = _NEAR_DEPTH * float(np.median(np.linalg.norm(offsets, axis=1)))
    found = []
    for center, direction in map(_view, second.keyframes):
        close = np.linalg.norm(centers - center, axis=1) <= limit
        found.append(bool((close & (directions @ direction >= _FACING)).any()))
    return np.array(found, bool)


def _view(keyframe: Keyframe) -> tuple[Float64, Float64]:
    """Position and viewing direction of a keyframe."""
    return keyframe.map_from_cam.translation, keyframe.map_from_cam.rotation.matrix()[:, 2]


def _renamed(keyframes: Sequence[Keyframe], others: Sequence[Keyframe], first: VisualMap) -> list[Keyframe]:
    """Keyframes with names that no other one has: those of a session whose names are taken get its number before."""
    taken = {k.name for k in others}
    if not any(k.name in taken for k in keyframes):
        return list(keyframes)
    number = len(first.info.all_sessions) + 1
    while any(f"session{number}/{k.name}" in taken for k in keyframes):
        number += 1
    return [replace(k, name=f"session{number}/{k.name}") for k in keyframes]


def _references(parts: Sequence[MapPart]) -> tuple[ReferenceArrays | None, str]:
    """The tracker's references of both parts; None if one has none or others, and why."""
    infos = [part.visual_map.info for part in parts]
    if without := [info.dataset for info in infos if info.pixloc is None]:
        return None, "" if len(without) == len(parts) else f"those of {without[0]} are missing"
    kinds = {(i.pixloc.model_id, i.pixloc.bits, *i.pixloc.dimensions) for i in infos if i.pixloc is not None}
    if len(kinds) > 1:
        return None, "those of the two maps are of different networks, image sizes or bits"
    first, second = (part.references for part in parts)
    if first is None or second is None:
        raise FeatureError(f"{parts[0].visual_map.folder}: the references of the tracker are not there")
    return ReferenceArrays.joined((first, second), [len(part.rows) for part in parts]), ""


def _content(
    parts: Sequence[MapPart],
    structure: Structure,
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection],
    first_from_second: Similarity,
) -> MapContent:
    (first, second), now = (part.visual_map for part in parts), datetime.now(timezone.utc)
    info = first.info
    added = [s.model_copy(update={"added": now.isoformat(timespec="seconds")}) for s in parts[1].sessions]
    return MapContent(
        structure.keyframes,
        triangulation_of(
            structure.keyframes, structure.positions, structure.owners, structure.keypoints, structure.landmarks
        ),
        StoredKind(info.extractor, first.folder / EXTRACTOR_FOLDER),
        info.dataset,
        info.frame,
        __version__,
        now,
        corrections,
        _georeference(info, second.info, first_from_second),
        info.scale,
        {"sessions": [*parts[0].sessions, *(s for s in added if s.keyframes)]},
    )


def _georeference(first: MapInfo, second: MapInfo, first_from_second: Similarity) -> Georeference | None:
    """Georeference of the first map; without a datum, that of the second one if the scale is the same."""
    datum = second.place.datum
    if first.place.datum is not None or datum is None or first_from_second.scale != 1:
        return first.georeference
    return first.place.model_copy(update={"datum": datum.moved(first_from_second.a_from_b.inverse())})


def _build_report(infos: Sequence[MapInfo], content: MapContent, report: MergeReport) -> dict[str, Any]:
    triangulation, keyframes = content.triangulation, content.keyframes
    observed = np.bincount(triangulation.keyframes, minlength=len(keyframes))
    warnings = [warning for info in infos for warning in info.build.get("warnings", [])]
    return {
        "keyframes": len(keyframes),
        "landmarks": len(triangulation.positions),
        "observations": len(triangulation.landmarks),
        "mean_track_length": len(triangulation.landmarks) / len(triangulation.positions),
        "mean_reprojection_error_px": triangulation.mean_error,
        "calibration_shift_px": max(c.max_shift(camera) for camera, c in content.corrections.items()),
        "weak_keyframes": [k.name for k, n in zip(keyframes, observed, strict=True) if n < _FEW_OBSERVATIONS],
        "warnings": list(dict.fromkeys([*warnings, *range_warnings(keyframes)])),
        "joined_landmarks": report.joined,
        "linked_keyframes": report.linked,
        "merged_from": [{"dataset": i.dataset, "keyframes": i.keyframes, "created": i.created} for i in infos],
    }
