"""The configuration of a run that trains the global head on whole images, as a YAML file."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vizloc_ros.training.global_head.network_split import Layers
from vizloc_ros.training.global_head.photos import PosedSource
from vizloc_ros.training.global_head.views import Changes
from vizloc_ros.training.teacher.global_network import GlobalTeacherConfig
from vizloc_ros.training.teacher.teacher_network import TeacherConfig
from vizloc_ros.training.training_images import ImageSource


class LossWeights(BaseModel):
    """What the head learns from; the losses are added with these weights, and those of weight 0 are left out.

    Attributes:
        distill: what the teacher says about the clean image: the global one's vector, or VLAD of local descriptors.
        self_supervised: two views of one image are more alike than those of different images.
        posed: the nearer two cameras were, the more alike their views.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    distill: float = Field(default=0.0, ge=0)
    self_supervised: float = Field(default=0.0, ge=0)
    posed: float = Field(default=0.0, ge=0)

    @property
    def any(self) -> bool:
        """Whether anything is learned from."""
        return bool(self.distill or self.self_supervised or self.posed)


class GlobalTraining(BaseModel):
    """One run of ``vizloc train hfnet-global``.

    Attributes:
        checkpoint: of ``vizloc train hfnet``, to start from.
        posed: a drive; its last part is kept out of training to choose among runs.
        images: folders without poses to train on too; none of the posed drive's, or the held-out places leak in.
        max_images: how many of those images to take.
        held_out: as in the first stage's configuration; these images are not used.
        reduction: ``whiten`` sets NetVLAD's reduction before the first step, see ``reduction``.
        losses: their weights.
        layers: what is trained: the head alone, or the encoder behind layer 7 too.
        teacher: of ``distill``, the first stage's.
        global_teacher: of ``distill`` in its place, with vectors as long as the network's.
        targets: folder with the teacher's answers for ``images``, as in the first stage's configuration.
        vlad: vocabulary and whitening of ``distill``; ``vlad.npz`` beside the checkpoint if not given.
        cache: folder for what runs can share (activations, targets); the run's own if not given.
        long_side: what the longer side of an image is shrunk to, as the runtime does [px].
        views: of each image: itself and changed ones.
        changes: what changes in those.
        batch: images in a step, with two views each.
        stretches: of how many stretches of the drive half of a batch consists; only with ``posed``.
        reach: frames of a stretch are at most this far from its middle [m].
        radius: distance at which two cameras' views should be 1/e as alike as one camera's [m].
        neighbours: frames nearer than this count as changes of one place in ``reduction: whiten``; 0 for none [m].
        max_angle: beyond it, two cameras see different things [deg].
        temperature: of the softmax of similarities.
        optimizer: ``adam`` or ``rmsprop``.
        learning_rate: at the start; it falls to zero like a cosine.
        steps: of the run; 0 with ``reduction: whiten`` alone.
        validate_every: steps between two measurements on the held-out places.
        seed: of everything random.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: Path
    posed: PosedSource
    images: list[ImageSource] = []
    max_images: int = Field(default=300, ge=0)
    held_out: float = Field(default=0.03, gt=0, lt=0.5)
    reduction: Literal["keep", "whiten"] = "keep"
    losses: LossWeights = LossWeights()
    layers: Layers = "deep"
    teacher: TeacherConfig | None = None
    global_teacher: GlobalTeacherConfig | None = None
    targets: Path | None = None
    vlad: Path | None = None
    cache: Path | None = None
    long_side: int = Field(default=960, ge=64)
    views: int = Field(default=4, ge=2)
    changes: Changes = Changes()
    batch: int = Field(default=16, ge=2)
    stretches: int = Field(default=1, ge=1)
    reach: float = Field(default=20.0, gt=0)
    radius: float = Field(default=2.5, gt=0)
    neighbours: float = Field(default=0.0, ge=0)
    max_angle: float = Field(default=45.0, gt=0, le=180)
    temperature: float = Field(default=0.1, gt=0)
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    steps: int = Field(default=300, ge=0)
    validate_every: int = Field(default=50, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _complete(self) -> "GlobalTraining":
        if self.steps and not self.losses.any:
            raise ValueError("losses: give at least one a weight above 0, or set steps to 0")
        if self.losses.distill and self.teacher is None and self.global_teacher is None:
            raise ValueError("losses.distill needs a 'teacher' or a 'global_teacher'")
        if self.batch < 2 * self.stretches:
            raise ValueError(f"half a batch of {self.batch} cannot hold {self.stretches} stretches")
        return self
