"""Pose of one map in another through matches: keyframes of one are localized in the other by their stored features."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d, Rotation3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.errors import MapError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.similarity import Similarity
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.map_part import MapPart
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.timing import Stopwatch

_MOST = 300  # keyframes that are localized, evenly among all
_MIN_AGREEING = 5
_POSITION = 0.05  # of the median depth of the landmarks: largest error of a position that agrees
_ANGLE = 5.0  # deg, largest error of a rotation that agrees
_SECOND = 0.2  # of the agreeing keyframes; so many that agree on another pose are too many
_REFITS = 5
_PAIRS = 2000  # hypotheses of a similarity
_SOFT_ERROR = 2.0  # px, beyond which an error counts less


@dataclass(frozen=True)
class LocalizedKeyframe:
    """Keyframe of the second map that was localized in the first one.

    Attributes:
        name: name of the keyframe.
        own: pose second_from_cam.
        found: pose first_from_cam.
        camera: its camera.
        pixels: (N, 2) pixels of the verified matches [px].
        positions: (N, 3) positions of their landmarks in the first map [m].
    """

    name: str
    own: Rigid3d
    found: Rigid3d
    camera: PinholeCamera
    pixels: Float64
    positions: Float64


@dataclass(frozen=True)
class SessionAlignment:
    """Transform between two maps.

    Attributes:
        first_from_second: the transform.
        agreeing: number of localized keyframes that agree with it.
        localized: number of localized keyframes.
        tried: number of keyframes that were tried.
    """

    first_from_second: Similarity
    agreeing: int
    localized: int
    tried: int


def align_by_matches(
    first: VisualMap,
    second: VisualMap,
    known: Similarity | None = None,
    progress: Progress = silent,
    *,
    name: str = "",
) -> SessionAlignment:
    """Find the pose of a map in another one, or check a known one.

    Args:
        first: map in which keyframes are localized.
        second: map of these keyframes.
        known: known transform first_from_second, which is returned unless the matches contradict it; None to find it.
        progress: progress display.
        name: name of the second map in errors; its folder by default.

    Raises:
        MapError: too few keyframes agree on a pose, or as many on another one; or the known transform is wrong.
    """
    keyframes = np.unique(np.linspace(0, second.info.keyframes - 1, _MOST).round().astype(np.int64))
    found = localize_keyframes(first, second, keyframes, progress)
    fit = _Fit.of(found, depth=_median_depth(first), scaled="unknown" in (first.info.scale, second.info.scale))
    name = name or str(second.folder)
    if known is not None:
        return _checked(first.folder, name, fit, known, len(keyframes))
    needed = min(_MIN_AGREEING, second.info.keyframes)
    where = f"{name}: {len(found)} of {len(keyframes)} keyframes were localized in {first.folder}"
    best, agreeing = fit.largest_cluster(np.ones(len(found), bool))
    if best is None or agreeing.sum() < needed:
        raise MapError(
            f"{where}, and {int(agreeing.sum())} of them agree on where the map is, but {needed} are needed: the maps "
            "must have a place in common, taken in a similar direction"
        )
    other, others = fit.largest_cluster(~agreeing)
    if other is not None and others.sum() >= max(2, _SECOND * agreeing.sum()):
        a, b = (next(k.name for k, own in zip(found, mask, strict=True) if own) for mask in (agreeing, others))
        raise MapError(
            f"{where}, but they disagree: by {int(agreeing.sum())} of them such as {a} the map is elsewhere than by "
            f"{int(others.sum())} such as {b}, {_distance_between(best, other, fit):.2g} m in the median. Places look "
            "alike, or the poses of one map drift"
        )
    return SessionAlignment(fit.refined(best, agreeing), int(agreeing.sum()), len(found), len(keyframes))


def localize_keyframes(
    first: VisualMap, second: VisualMap, keyframes: Int64, progress: Progress = silent
) -> list[LocalizedKeyframe]:
    """Localize (N,) keyframes of a map in another one by their stored features; those that are not found are left out.

    Their keypoints are corrected already, other than those of queries.
    """
    chosen = np.zeros(second.info.keyframes, bool)
    chosen[keyframes] = True
    of_chosen = MapPart.of(second, chosen, np.ones(second.info.landmarks, bool), min_track=1).structure().keyframes
    finder, solver = PlaceFinder(first), PoseSolver()

    def localize(index: int) -> LocalizedKeyframe | None:
        keyframe = of_chosen[index]
        places = finder.find(keyframe.features.global_descriptor, Stopwatch()).places
        pose = solver.solve(keyframe.features, places, keyframe.camera).pose
        if pose is None:
            return None
        pixels = keyframe.features.keypoints[pose.keypoints].astype(np.float64)
        return LocalizedKeyframe(
            keyframe.name, keyframe.map_from_cam, pose.map_from_cam, keyframe.camera, pixels, pose.positions
        )

    outcomes = parallel_map(localize, range(len(of_chosen)), "localizing one map in the other", progress)
    return [outcome for outcome in outcomes if outcome is not None]


def _checked(first: Path, second: str, fit: "_Fit", known: Similarity, tried: int) -> SessionAlignment:
    """The known transform. Raises ``MapError`` if more keyframes agree on another one."""
    agreeing = fit.agreeing(known)
    best, others = fit.largest_cluster(~agreeing)
    if best is not None and others.sum() >= max(_MIN_AGREEING, agreeing.sum()):
        raise MapError(
            f"{second}: is not in the frame of {first}: {int(others.sum())} keyframes that were localized there agree "
            f"on a pose {_distance_between(best, known, fit):.2g} m from that of the coordinates, and "
            f"{int(agreeing.sum())} on the latter: correct the poses, or have them found by matches (merge --align, "
            "extend --localize)"
        )
    return SessionAlignment(known, int(agreeing.sum()), len(fit.found), tried)


def _median_depth(visual_map: VisualMap) -> float:
    """Median distance of the landmarks from the keyframes that observe them [m]."""
    owners = np.repeat(np.arange(visual_map.info.keyframes), np.diff(visual_map.observation_offsets))
    offsets = visual_map.landmark_positions[visual_map.observation_landmarks] - visual_map.keyframe_poses[owners, :3]
    return float(np.median(np.linalg.norm(offsets, axis=1)))


def _distance_between(a: Similarity, b: Similarity, fit: "_Fit") -> float:
    return float(np.median(np.linalg.norm(fit.moved(a) - fit.moved(b), axis=1)))


@dataclass(frozen=True)
class _Fit:
    """Localized keyframes, from which a transform is estimated.

    Attributes:
        found: N localized keyframes.
        targets: (N, 3) positions in the first map.
        sources: (N, 3) positions in the second map.
        turns: (N, 3, 3) rotation first_from_second of each.
        depth: median depth of the landmarks, a length by which errors are measured.
        scaled: whether the scale is to be estimated.
    """

    found: Sequence[LocalizedKeyframe]
    targets: Float64
    sources: Float64
    turns: Float64
    depth: float
    scaled: bool

    @classmethod
    def of(cls, found: Sequence[LocalizedKeyframe], depth: float, scaled: bool) -> "_Fit":
        """Estimate from localized keyframes."""
        targets, sources = (
            np.array([pose.translation for pose in poses]).reshape(-1, 3)
            for poses in ([k.found for k in found], [k.own for k in found])
        )
        turns = [k.found.rotation.matrix() @ k.own.rotation.matrix().T for k in found]
        return cls(found, targets, sources, np.array(turns).reshape(-1, 3, 3), depth, scaled)

    def moved(self, transform: Similarity) -> Float64:
        """Positions (N, 3) of the keyframes in the first map by a transform."""
        return transform_points(transform.a_from_b, transform.scale * self.sources)

    def agreeing(self, transform: Similarity) -> Bool:
        """(N,) whether a keyframe was localized where a transform puts it."""
        near = np.linalg.norm(self.moved(transform) - self.targets, axis=1) <= _POSITION * self.depth
        cosines = (np.einsum("nij,ij->n", self.turns, transform.a_from_b.rotation.matrix()) - 1) / 2
        return np.asarray(near & (cosines >= np.cos(np.radians(_ANGLE))))

    def largest_cluster(self, among: Bool) -> tuple[Similarity | None, Bool]:
        """Transform on which most of the keyframes of a mask agree, and these."""
        best, most = None, np.zeros(len(self.found), bool)
        for hypothesis in self._hypotheses(np.flatnonzero(among)):
            agreeing = self.agreeing(hypothesis) & among
            if agreeing.sum() > most.sum():
                best, most = hypothesis, agreeing
        for _ in range(_REFITS):
            if best is None or (self.scaled and most.sum() < 2):
                break
            refitted = self._fitted(most)
            agreeing = self.agreeing(refitted) & among
            if agreeing.sum() < most.sum():
                break
            best, most = refitted, agreeing
        return best, most

    def _hypotheses(self, keyframes: Int64) -> list[Similarity]:
        """Transforms by single keyframes, or by pairs of them if the scale is not known."""
        if not self.scaled:
            return [self._through(i, 1.0) for i in keyframes.tolist()]
        if len(keyframes) < 2:
            return []
        pairs = np.random.default_rng(0).choice(keyframes, (_PAIRS, 2))
        lengths = [np.linalg.norm(p[pairs[:, 0]] - p[pairs[:, 1]], axis=1) for p in (self.targets, self.sources)]
        usable = np.flatnonzero((lengths[0] > _POSITION * self.depth) & (lengths[1] > 0))
        scales = lengths[0][usable] / lengths[1][usable]
        return [self._through(i, scale) for i, scale in zip(pairs[usable, 0].tolist(), scales.tolist(), strict=True)]

    def _through(self, i: int, scale: float) -> Similarity:
        turn = self.turns[i]
        return Similarity(scale, Rigid3d(Rotation3d(turn), self.targets[i] - scale * turn @ self.sources[i]))

    def _fitted(self, used: Bool) -> Similarity:
        """Least squares of positions and rotations; a rotation counts as points at the landmarks' depth."""
        targets, sources = self.targets[used], self.sources[used]
        means = targets.mean(axis=0), sources.mean(axis=0)
        target, source = targets - means[0], sources - means[1]
        scale = 1.0
        if self.scaled:
            scale = float(np.sqrt((target**2).sum() / (source**2).sum()))
        u, _, vt = np.linalg.svd(scale * target.T @ source + self.depth**2 * self.turns[used].sum(axis=0))
        turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
        if self.scaled:
            scale = float((target * (source @ turn.T)).sum() / (source**2).sum())
        return Similarity(scale, Rigid3d(Rotation3d(turn), means[0] - scale * turn @ means[1]))

    def refined(self, start: Similarity, used: Bool) -> Similarity:
        """Transform with the least reprojection errors of the matches of some keyframes, robustly."""
        chosen = [k for k, own in zip(self.found, used, strict=True) if own]
        of_rows = np.repeat(np.arange(len(chosen)), [len(k.pixels) for k in chosen])
        points = np.concatenate([k.positions for k in chosen])
        rays = np.concatenate([k.camera.rays(k.pixels)[:, :2] for k in chosen])
        focal = np.array([(k.camera.fx, k.camera.fy) for k in chosen])[of_rows]
        from scipy.optimize import least_squares  # slow to import, and hardly any command needs it

        sources, center = self.sources[used], self.sources[used].mean(axis=0)
        middle = transform_points(start.a_from_b, start.scale * center[None])[0]
        turns = np.array([k.own.rotation.matrix() for k in chosen])
        first_turn = start.a_from_b.rotation.matrix()

        def transform(parameters: Float64) -> tuple[Float64, Float64, float]:
            turn = Rotation.from_rotvec(parameters[:3]).as_matrix() @ first_turn
            scale = start.scale * float(np.exp(parameters[6])) if self.scaled else 1.0
            return turn, middle + self.depth * parameters[3:6], scale

        def residuals(parameters: Float64) -> Float64:
            turn, moved, scale = transform(parameters)
            centers = moved + scale * (sources - center) @ turn.T
            in_camera = np.einsum("mji,mj->mi", (turn @ turns)[of_rows], points - centers[of_rows])
            depth = np.maximum(in_camera[:, 2], 1e-3)[:, None]
            return np.asarray((focal * (in_camera[:, :2] / depth - rays)).ravel())

        count = 7 if self.scaled else 6
        solved = least_squares(residuals, np.zeros(count), loss="soft_l1", f_scale=_SOFT_ERROR)
        turn, moved, scale = transform(solved.x)
        return Similarity(scale, Rigid3d(Rotation3d(turn), moved - scale * turn @ center))
