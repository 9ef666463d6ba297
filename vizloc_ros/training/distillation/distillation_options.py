"""Options of a distillation run, from a YAML file."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from vizloc_ros.features.hfnet.hfnet_config import EdgePointConfig, MobileNetConfig, NetworkConfig
from vizloc_ros.training.appearance import Appearance, PhotometricChanges
from vizloc_ros.training.augmentation import Augmentation
from vizloc_ros.training.teacher.teacher_network import TeacherOptions
from vizloc_ros.training.teacher.warps import Warps
from vizloc_ros.training.training_images import ImageSource
from vizloc_ros.training.training_options import MAY_CHANGE, RunOptions


class HfNetTraining(RunOptions):
    """One run of ``vizloc train hfnet``.

    The defaults of steps, learning rate and its drops are those of HF-Net, appendix A.2. The batch is smaller than its
    32, and gradients are clipped, which it does not mention.
    """

    network: NetworkConfig = MobileNetConfig()
    teacher: TeacherOptions
    joined: list[Path] = Field(
        default=[], description="networks (ONNX) whose descriptors are joined to those of the teacher"
    )
    images: list[ImageSource] = Field(min_length=1)
    held_out: float = Field(default=0.03, gt=0, lt=0.5, description="fraction of the images kept for validation")
    targets: Annotated[Path | None, MAY_CHANGE] = Field(
        default=None, description="folder that keeps the teacher's targets; none: they are computed every time"
    )
    imagenet: Annotated[Path | None, MAY_CHANGE] = Field(
        default=None, description=".npz of MobileNetV2 1.0 to initialize the encoder from"
    )
    pretrained: Annotated[Path | None, MAY_CHANGE] = Field(
        default=None, description="EdgePoint2 network (ONNX) to initialize encoder and local heads from"
    )
    fit_images: Annotated[int, MAY_CHANGE] = Field(
        default=0,
        ge=0,
        description="images that last layers are fitted on, before and after the steps; 0: none",
    )
    augmentation: Augmentation = Augmentation()
    appearance: Appearance | None = Field(
        default=None, description="stronger changes in place of 'augmentation', see appearance.py"
    )
    unchanged: float = Field(default=0.0, ge=0, le=1, description="fraction of the crops without photometric changes")
    warps: Warps = Warps()
    crop: int = Field(default=192, ge=32, multiple_of=8, description="side of the square training crops [px]")
    batch: int = Field(default=8, ge=2)
    steps: Annotated[int, MAY_CHANGE] = Field(default=85_000, ge=1)
    learning_rate: Annotated[float, MAY_CHANGE] = Field(default=1e-3, gt=0)
    drops: Annotated[tuple[float, float], MAY_CHANGE] = Field(
        default=(60 / 85, 80 / 85), description="times when the learning rate falls tenfold [fraction of the steps]"
    )
    contrast: float = Field(
        default=0.0, ge=0, description="weight of the loss that separates keypoints; 0: distances only (HF-Net)"
    )
    cells: float = Field(
        default=1.0, ge=0, description="weight of the descriptors between keypoints; 0: only those at keypoints count"
    )
    vlad_words: int = Field(default=64, ge=2, description="number of visual words of the global target")
    global_every: int = Field(default=1, ge=0, description="train the global head in every N-th step; 0: never")
    validate_every: Annotated[int, MAY_CHANGE] = Field(default=1000, ge=1)
    seed: int = 0

    @property
    def changes(self) -> PhotometricChanges:
        """Photometric changes of the student's images."""
        return self.appearance or self.augmentation

    @model_validator(mode="after")
    def _heads_are_there(self) -> "HfNetTraining":
        if self.global_every and isinstance(self.network, EdgePointConfig):
            raise ValueError("global_every: encoder edgepoint2 learns its global head later; set 0")
        if self.fit_images and isinstance(self.network, MobileNetConfig):
            raise ValueError("fit_images: is for encoder: edgepoint2, which starts as a trained network; set 0")
        return self

    @model_validator(mode="after")
    def _crops_fit(self) -> "HfNetTraining":
        if self.crop % self.network.multiple:
            raise ValueError(f"crop: {self.crop} px is no multiple of {self.network.multiple} px, as the network needs")
        if self.warps.ratio and self.warps.side < self.crop:
            raise ValueError(f"warps.side: a view of {self.warps.side} px is smaller than a crop of {self.crop} px")
        return self
