"""Report of the stretches of a map's route that look like other places, for map.yaml and ``vizloc map``."""

from pydantic import BaseModel, ConfigDict

BUILD_KEY = "self_similarity"  # in the build report of map.yaml
_MAX_SHOWN = 5


class AlikeStretch(BaseModel):
    """Stretch of the route that looks like another place.

    Attributes:
        start: way to its first keyframe [m].
        end: way to its last one [m].
        first: name of its first keyframe.
        last: name of its last one.
        like_first: name of the keyframe that its first one looks like.
        like_last: name of the keyframe that its last one looks like.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float
    end: float
    first: str
    last: str
    like_first: str
    like_last: str

    def __str__(self) -> str:
        """Text such as "12.0 to 20.5 m (a.png to b.png) looks like c.png to d.png"."""
        like = self.like_first if self.like_first == self.like_last else f"{self.like_first} to {self.like_last}"
        return f"{self.start:.1f} to {self.end:.1f} m ({self.first} to {self.last}) looks like {like}"


class SelfSimilarity(BaseModel):
    """Keyframes that a localizer could as well take for far ones, and where they are.

    Attributes:
        compared: number of keyframes that were compared with all others.
        alike: number of them that have a double.
        stretches: stretches of the route with doubles, the longest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    compared: int
    alike: int
    stretches: list[AlikeStretch]

    @property
    def text(self) -> str:
        """Text such as "12 of 300 keyframes look like another place"."""
        return f"{self.alike} of {self.compared} keyframes look like another place"

    def warnings(self) -> list[str]:
        """Warning of stretches that look alike, if there are such."""
        if not self.stretches:
            return []
        shown = "; ".join(map(str, self.stretches[:_MAX_SHOWN]))
        more = f"; and {len(self.stretches) - _MAX_SHOWN} more" if len(self.stretches) > _MAX_SHOWN else ""
        return [
            f"places that look alike, in at least half of what is seen: {shown}{more}. There the localizer may give no "
            "pose: it cannot know which place it is"
        ]
