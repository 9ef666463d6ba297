"""The configuration of a distillation run, as a YAML file."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vizloc_ros.features.hfnet.hfnet_config import HfNetConfig
from vizloc_ros.training.augmentation import Augmentation
from vizloc_ros.training.teacher.teacher_network import TeacherConfig
from vizloc_ros.training.teacher.warps import Warps
from vizloc_ros.training.training_images import ImageSource


class HfNetTraining(BaseModel):
    """One run of ``vizloc train hfnet``.

    Steps, rate and its drops are by default the paper's (section 5, "Implementation"). The batch is smaller than its
    32, and gradients are clipped, of which it says nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: HfNetConfig = HfNetConfig()
    teacher: TeacherConfig
    images: list[ImageSource] = Field(min_length=1)
    held_out: float = Field(default=0.03, gt=0, lt=0.5, description="share of the images kept for validation")
    targets: Path | None = Field(default=None, description="folder that keeps the teacher's answers; none: ask again")
    imagenet: Path | None = Field(default=None, description=".npz of MobileNetV2 1.0 to start the encoder from")
    augmentation: Augmentation = Augmentation()
    warps: Warps = Warps()
    crop: int = Field(default=192, ge=32, multiple_of=8, description="largest side of a training crop [px]")
    batch: int = Field(default=8, ge=2)
    steps: int = Field(default=85_000, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    drops: tuple[float, float] = Field(default=(60 / 85, 80 / 85), description="when the rate falls tenfold, of steps")
    contrast: float = Field(
        default=0.0, ge=0, description="weight of telling keypoints apart; 0: distances only (paper)"
    )
    vlad_words: int = Field(default=64, ge=2, description="of the global target")
    global_every: int = Field(default=1, ge=0, description="teach the global head every N-th step; 0: never")
    validate_every: int = Field(default=1000, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _views_hold_crops(self) -> "HfNetTraining":
        if self.warps.share and self.warps.side < self.crop:
            raise ValueError(f"warps.side: a view of {self.warps.side} px is smaller than a crop of {self.crop} px")
        return self
