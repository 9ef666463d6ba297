"""Search of the tracker around a guess of a person, by hypotheses in turn and the localizer's poses that are there."""

from collections.abc import Sequence

from pycolmap import Rigid3d

from vizloc_ros.mapping.pose_guess import PoseGuess
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.timing import NANOSECONDS

_IMAGES = 2  # for each hypothesis: the landmarks around it come after the first
_PATIENCE = 4  # images after a pose of the localizer, before the next hypothesis
_SECONDS = 10.0  # of images, after which the guess is forgotten
_STD = (1.0, 0.1)  # m, rad; of a hypothesis
_TRUSTED_STD = (0.15, 0.04)  # of one that needs no localization: eight of them, 1.5 m and 20 deg, are accepted


class InitialSearch:
    """Search for the track that a guess means, image by image, until there is one. For one thread.

    An image costs one alignment, as while tracking. A pose of the localizer in the guess's ellipse needs no other to
    agree with it; one outside of it is not taken. Neither does an alignment from a narrow guess that ends near it. With
    all others a localization must agree: far from where they begin, alignments may be off by meters.
    """

    def __init__(self, guess: PoseGuess, hypotheses: Sequence[Rigid3d], stamp_ns: int) -> None:
        """Begin with an image.

        Args:
            guess: where the vehicle is said to be.
            hypotheses: poses map_from_cam to try, the guess itself first.
            stamp_ns: time of the image.
        """
        self.guess, self._hypotheses, self._begun_ns = guess, hypotheses, stamp_ns
        self._images = self._wait = 0

    def is_over(self, tracker: Tracker, stamp_ns: int) -> bool:
        """Return True once the tracker tracks, or when the guess has become old."""
        return tracker.is_tracking or abs(stamp_ns - self._begun_ns) > _SECONDS * NANOSECONDS

    def offer_localization(self, tracker: Tracker, localization: KnownPose, cam_from_base: Rigid3d) -> bool:
        """Offer a pose of the localizer. Return True if the tracker starts from it: it is where the guess says."""
        map_from_base, at_ns = localization.map_from_cam * cam_from_base, localization.stamp_ns
        if not self.guess.after((at_ns - self._begun_ns) / NANOSECONDS).holds(map_from_base):
            return False
        self._wait = _PATIENCE
        std = localization.position_std, localization.rotation_std
        return tracker.offer_prior(localization.map_from_cam, at_ns, *std, override=True)

    def offer_hypothesis(self, tracker: Tracker, stamp_ns: int) -> None:
        """Offer the hypothesis for the next image, unless a track has begun that only waits for an agreement."""
        if self._wait > 0:
            self._wait -= 1
        elif not tracker.follows:
            number = self._images // _IMAGES % len(self._hypotheses)
            trusted = self.guess.is_narrow and number == 0
            std = _TRUSTED_STD if trusted else _STD
            tracker.offer_prior(self._hypotheses[number], stamp_ns, *std, override=True, trusted=trusted)
            self._images += 1
