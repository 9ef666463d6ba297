"""x"""

from dataclasses import dataclass

from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float32, Int64
from vizloc_ros.localization.covisibility import covisible_clusters
from vizloc_ros.localization.global_search import open_search
from vizloc_ros.localization.options import RetrievalOptions
from vizloc_ros.localization.place import Place
from vizloc_ros.localization.spread import spread
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.stopwatch import Stopwatch

_PROPOSALS = 10  # keyframes that are looked at for each retrieved one


@dataclass(frozen=True)
class RetrievedPlaces:
    """What retrieval found.

    Attributes:
        keyframes: (k,) retrieved keyframes, best first.
        similarities: (k,) cosine to the query.
        places: covisible clusters of them, best first.
    """

    keyframes: Int64
    similarities: Float32
    places: list[Place]


class PlaceFinder:
    """Answers global descriptors with places of a map."""

    def __init__(self, visual_map: VisualMap, options: RetrievalOptions | None = None) -> None:
        """Opens the search that the options ask for. Raises ``ConfigError`` or ``MapError`` as ``open_search`` does."""
        self._map = visual_map
        self.options = options or RetrievalOptions()
        self._index = open_search(visual_map, self.options)

    def find(self, global_descriptor: Float32, stopwatch: Stopwatch) -> RetrievedPlaces:
        """Places that look like the query. Raises ``FeatureError`` for a descriptor of another kind."""
        with stopwatch("retrieve"):
            keyframes, similarities = self._retrieve(global_descriptor)
        with stopwatch("cluster"):
            clusters = covisible_clusters(self._map, keyframes) if self.options.cluster else [keyframes]
            places = [
                Place.of_keyframes(self._map, cluster, self.options.descriptors_per_landmark) for cluster in clusters
            ]
        return RetrievedPlaces(keyframes, similarities, places)

    def _retrieve(self, global_descriptor: Float32) -> tuple[Int64, Float32]:
        top_k, spacing = self.options.top_k, self.options.spacing
        if not spacing:
            return self._index.search(global_descriptor, top_k)
        keyframes, similarities = self._index.search(global_descriptor, _PROPOSALS * top_k)
        poses = self._map.keyframe_poses[keyframes]
        directions = Rotation.from_quat(poses[:, 3:]).as_matrix()[:, :, 2]
        chosen = spread(poses[:, :3], directions, spacing, top_k)
        return keyframes[chosen], similarities[chosen]
