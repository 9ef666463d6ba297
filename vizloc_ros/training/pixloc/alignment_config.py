"""The configuration of a PixLoc training run, as a YAML file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig
from vizloc_ros.training.pixloc.appearance import Appearance

Range = tuple[float, float]


class PairSource(BaseModel):
    """A drive whose own map gives the landmarks.

    Attributes:
        dataset: ``reader:PATH``.
        map_split: the images that the map is built from, and that references come from.
        query_split: the images that are aligned; the map's own if empty.
        map: folder of the map; built there, with HF-Net, if there is none; in the run's own folder if not given.
        every: keep every N-th image of the map's split.
        held_out: share of the queries, at the end of the drive, that validates instead of trains.
        gap: queries between both that do neither.
        share: of the training steps, relative to the other sources.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    map: Path | None = None
    map_split: str = "map"
    query_split: str = ""
    every: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.0, ge=0, lt=1)
    gap: int = Field(default=0, ge=0)
    share: float = Field(default=1.0, gt=0)


class Starts(BaseModel):
    """Where alignments start in training.

    Attributes:
        reference: chance that it is the reference's own pose, as the paper has it.
        translation: farthest random start from the truth [m].
        rotation: largest random turn from the truth [deg].
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: float = Field(default=0.25, ge=0, le=1)
    translation: float = Field(default=4.0, ge=0)
    rotation: float = Field(default=8.0, ge=0, le=90)


class Partners(BaseModel):
    """Which keyframe an image is aligned with.

    Attributes:
        distance: farthest [m].
        angle: largest angle between the directions of view [deg].
        overlap: least share of its landmarks that the query's image contains.
        landmarks: how many of them are drawn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    distance: float = Field(default=8.0, gt=0)
    angle: float = Field(default=40.0, gt=0, le=90)
    overlap: float = Field(default=0.3, gt=0, le=1)
    landmarks: int = Field(default=384, ge=16)


class PixLocTraining(BaseModel):
    """One run of ``vizloc train pixloc``.

    Attributes:
        network: which, and its sizes.
        pretrained: an EdgePoint2 network (ONNX) that the light network starts from; none starts from noise.
        sources: drives to learn from.
        long_side: the longer side of an image is shrunk to this at most, its area to half the square [px].
        partners: which keyframe an image is aligned with.
        starts: where alignments start.
        query_appearance: changes of the image that is aligned.
        map_appearance: changes of the keyframe's image.
        robust_scale: of the robust loss of the residuals.
        iterations: on each level, in training.
        gate: a level learns if the one before left less than this many of its own pixels of error.
        batch: pairs in a step, of one source.
        learning_rate: of the network, at the start; it falls to zero like a cosine.
        damping_rate: learning rate of the damping, as a multiple.
        clip: largest norm of the gradient, clipped before the step.
        steps: of the run.
        validate_every: steps between two measurements on held-out pairs.
        validation_pairs: how many held-out pairs there are.
        seed: of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: NetworkConfig = LightConfig()
    pretrained: Path | None = None
    sources: list[PairSource] = Field(min_length=1)
    long_side: int = Field(default=640, ge=64)
    partners: Partners = Partners()
    starts: Starts = Starts()
    query_appearance: Appearance = Appearance()
    map_appearance: Appearance = Appearance(strength=0.25)
    robust_scale: float = Field(default=0.1, gt=0)
    iterations: int = Field(default=6, ge=1)
    gate: float = Field(default=3.0, gt=0)
    batch: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=3e-4, gt=0)
    damping_rate: float = Field(default=100.0, gt=0)
    clip: float = Field(default=1.0, gt=0)
    steps: int = Field(default=4000, ge=1)
    validate_every: int = Field(default=250, ge=1)
    validation_pairs: int = Field(default=48, ge=1)
    seed: int = 0
