"""Options of a PixLoc training run, from a YAML file."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from vizloc_ros.options import Options
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig
from vizloc_ros.training.appearance import Appearance
from vizloc_ros.training.training_options import MAY_CHANGE, RunOptions


class PairSource(Options):
    """Drive with a map of its own, which gives the landmarks.

    Attributes:
        dataset: ``reader:PATH``.
        map: folder of the map; it is built with HF-Net if there is none; by default in the run's own folder.
        map_split: split with the images of the map, which are the reference images.
        query_split: split with the images to align; the map's own if empty.
        every: keep every N-th image of the map's split.
        held_out: fraction of the queries for validation, at the end of the drive.
        gap: number of queries between training and validation that are not used.
        weight: weight of the source when a step's source is drawn.
    """

    dataset: Annotated[str, MAY_CHANGE]
    map: Path | None = None
    map_split: str = "map"
    query_split: str = ""
    every: int = Field(default=1, ge=1)
    held_out: float = Field(default=0.0, ge=0, lt=1)
    gap: int = Field(default=0, ge=0)
    weight: float = Field(default=1.0, gt=0)


class InitialPoses(Options):
    """Initial poses of alignments in training.

    Attributes:
        reference: chance of the reference image's pose, as in PixLoc, section 5.
        translation: maximum distance of a random initial pose from the ground truth [m].
        rotation: maximum rotation of a random initial pose from the ground truth [deg].
    """

    reference: float = Field(default=0.25, ge=0, le=1)
    translation: float = Field(default=4.0, ge=0)
    rotation: float = Field(default=8.0, ge=0, le=90)


class Partners(Options):
    """Keyframes that an image may be aligned with.

    Attributes:
        distance: maximum distance [m].
        angle: maximum angle between the viewing directions [deg].
        overlap: minimum ratio of the keyframe's landmarks that the query's image contains.
        landmarks: maximum number of landmarks of a pair, a random subset.
    """

    distance: float = Field(default=8.0, gt=0)
    angle: float = Field(default=40.0, gt=0, le=90)
    overlap: float = Field(default=0.3, gt=0, le=1)
    landmarks: int = Field(default=384, ge=16)


class PixLocTraining(RunOptions):
    """One run of ``vizloc train pixloc``.

    Attributes:
        network: kind and sizes of the network.
        pretrained: EdgePoint2 network (ONNX) to initialize the light network from; None for random weights.
        sources: drives to train on.
        long_side: maximum longer side of an image; half its square is the maximum area [px].
        partners: keyframes that an image may be aligned with.
        initial_poses: initial poses of the alignments.
        query_appearance: changes of the image that is aligned.
        map_appearance: changes of the keyframe's image.
        robust_scale: scale of the robust loss of the residuals.
        iterations: iterations on each level in training.
        gate: maximum error that the previous level may leave, in its own pixels; beyond it, a level is not trained.
        batch: number of pairs in a step, all of one source.
        learning_rate: initial learning rate of the network; it falls to zero as half a cosine.
        damping_rate: factor of the damping's learning rate.
        clip: maximum norm of the gradient, clipped before the step.
        steps: number of steps.
        validate_every: number of steps between validations on held-out pairs.
        validation_pairs: number of held-out pairs.
        seed: seed of all random numbers.
    """

    network: NetworkConfig = LightConfig()
    pretrained: Path | None = None
    sources: list[PairSource] = Field(min_length=1)
    long_side: int = Field(default=640, ge=64)
    partners: Partners = Partners()
    initial_poses: InitialPoses = InitialPoses()
    query_appearance: Appearance = Appearance()
    map_appearance: Appearance = Appearance(strength=0.25)
    robust_scale: float = Field(default=0.1, gt=0)
    iterations: int = Field(default=6, ge=1)
    gate: float = Field(default=3.0, gt=0)
    batch: int = Field(default=4, ge=1)
    learning_rate: Annotated[float, MAY_CHANGE] = Field(default=3e-4, gt=0)
    damping_rate: float = Field(default=100.0, gt=0)
    clip: float = Field(default=1.0, gt=0)
    steps: Annotated[int, MAY_CHANGE] = Field(default=4000, ge=1)
    validate_every: Annotated[int, MAY_CHANGE] = Field(default=250, ge=1)
    validation_pairs: int = Field(default=48, ge=1)
    seed: int = 0
