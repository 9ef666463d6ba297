"""Options of a run that trains the global head on whole images, from a YAML file."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vizloc_ros.options import Options
from vizloc_ros.training.global_head.network_split import Layers
from vizloc_ros.training.global_head.photos import PosedSource
from vizloc_ros.training.global_head.views import Changes
from vizloc_ros.training.teacher.global_network import GlobalTeacherOptions
from vizloc_ros.training.teacher.teacher_network import TeacherOptions
from vizloc_ros.training.training_images import ImageSource
from vizloc_ros.training.training_options import MAY_CHANGE, RunOptions


class LossWeights(Options):
    """Weights of the losses, which are added up; a loss of weight 0 is not computed.

    Attributes:
        distill: weight of the distance to the teacher's target of the unchanged image, which is the global teacher's
            vector, or VLAD of local descriptors.
        self_supervised: weight of the loss that makes two views of one image more similar than those of two images.
        posed: weight of the loss that makes views more similar the nearer their cameras are.
    """

    distill: float = Field(default=0.0, ge=0)
    self_supervised: float = Field(default=0.0, ge=0)
    posed: float = Field(default=0.0, ge=0)

    @property
    def any(self) -> bool:
        """Return true if any weight is positive."""
        return bool(self.distill or self.self_supervised or self.posed)


class GlobalTraining(RunOptions):
    """One run of ``vizloc train hfnet-global``.

    Attributes:
        checkpoint: checkpoint of ``vizloc train hfnet`` to start from.
        posed: drive with poses; its last part is held out, to compare runs.
        images: folders of further training images without poses; none from the posed drive, or the held-out places
            would be trained on.
        max_images: maximum number of those images.
        held_out: fraction of held-out images, as in the first stage; these images are not used.
        reduction: ``whiten`` sets NetVLAD's reduction before the first step, see ``reduction.py``.
        losses: weights of the losses.
        layers: trained layers: the head alone, or also the encoder behind layer 7.
        teacher: teacher of ``distill``, as in the first stage.
        global_teacher: teacher of ``distill`` instead, with vectors as long as the network's.
        targets: folder with the teacher's targets for ``images``, as in the first stage.
        vlad: vocabulary and whitening of ``distill``; by default ``vlad.npz`` beside the checkpoint.
        cache: folder for files that runs can share (activations, targets); by default in the run's own folder.
        long_side: maximum longer side of an image, as at run time [px].
        views: number of views of each image: itself and changed ones.
        changes: changes of those views.
        batch: number of images in a step, with two views each.
        stretches: number of stretches of the drive that make up half of a batch; only with ``posed``.
        stretch_radius: maximum distance of a stretch's frames from its middle [m].
        radius: distance of two cameras at which their views should be 1/e as similar as those of one camera [m].
        neighbors: maximum distance of frames that count as changes of one place in ``reduction: whiten``; 0 for no
            frames [m].
        max_angle: maximum angle between the viewing directions of cameras that show one place [deg].
        temperature: divisor of the similarities in the softmax.
        optimizer: ``adam`` or ``rmsprop``.
        learning_rate: initial learning rate; it falls to zero as half a cosine.
        steps: number of steps; 0 with ``reduction: whiten`` alone.
        validate_every: number of steps between validations on the held-out places.
        seed: seed of all random numbers.
    """

    checkpoint: Annotated[Path, MAY_CHANGE]
    posed: PosedSource
    images: list[ImageSource] = Field(default=[])
    max_images: int = Field(default=300, ge=0)
    held_out: float = Field(default=0.03, gt=0, lt=0.5)
    reduction: Literal["keep", "whiten"] = "keep"
    losses: LossWeights = LossWeights()
    layers: Layers = "deep"
    teacher: TeacherOptions | None = None
    global_teacher: GlobalTeacherOptions | None = None
    targets: Annotated[Path | None, MAY_CHANGE] = None
    vlad: Path | None = None
    cache: Annotated[Path | None, MAY_CHANGE] = None
    long_side: int = Field(default=960, ge=64)
    views: int = Field(default=4, ge=2)
    changes: Changes = Changes()
    batch: int = Field(default=16, ge=2)
    stretches: int = Field(default=1, ge=1)
    stretch_radius: float = Field(default=20.0, gt=0)
    radius: float = Field(default=2.5, gt=0)
    neighbors: float = Field(default=0.0, ge=0)
    max_angle: float = Field(default=45.0, gt=0, le=180)
    temperature: float = Field(default=0.1, gt=0)
    optimizer: Literal["adam", "rmsprop"] = "adam"
    learning_rate: Annotated[float, MAY_CHANGE] = Field(default=1e-4, gt=0)
    steps: Annotated[int, MAY_CHANGE] = Field(default=300, ge=0)
    validate_every: Annotated[int, MAY_CHANGE] = Field(default=50, ge=1)
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
