"""Kind and sizes of the PixLoc network."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NotNegative = Annotated[float, Field(ge=0, le=10)]
COARSEST = 32  # px: the sides of images are multiples of it


class LightConfig(BaseModel):
    """Config of the light network.

    Attributes:
        kind: ``light``.
        channels: channels of the encoder at strides 2, 8 and 32.
        hidden: channels of the head on the finest level.
        dimension: length of the features, on every level.
        levels: number of levels; their strides are 4, 8, 16, 32.
        smoothing: standard deviation of the Gaussian over the features of each level, in cells of the level; 0 for
            none. Not applied in training.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["light"] = "light"
    channels: tuple[int, int, int] = (16, 48, 64)
    hidden: int = Field(default=128, ge=16, multiple_of=16)
    dimension: int = Field(default=64, ge=4)
    levels: int = Field(default=4, ge=1, le=4)
    smoothing: tuple[NotNegative, NotNegative, NotNegative, NotNegative] = (0.0, 0.0, 1.0, 2.0)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels [px], finest first."""
        return (4, 8, 16, 32)[: self.levels]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths of the features on each level, finest first."""
        return (self.dimension,) * self.levels


class UNetConfig(BaseModel):
    """Config of the paper's network, a UNet on VGG19 (PixLoc, section 5: architecture).

    Attributes:
        kind: ``unet``.
        blocks: number of convolutions in each of VGG's five blocks; (2, 2, 4, 4, 4) is VGG19, (2, 2, 3, 3, 3) VGG16.
        channels: channels of the blocks.
        decoder: channels of the decoder from stride 8 to stride 1.
        strides: strides of the levels, finest first; powers of two up to 16.
        dimensions: lengths of the features on these levels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["unet"] = "unet"
    blocks: tuple[int, int, int, int, int] = (2, 2, 4, 4, 4)
    channels: tuple[int, int, int, int, int] = (64, 128, 256, 512, 512)
    decoder: tuple[int, int, int, int] = (64, 64, 64, 32)
    strides: tuple[int, ...] = (1, 4, 16)
    dimensions: tuple[int, ...] = (32, 128, 128)

    @model_validator(mode="after")
    def _fit(self) -> "UNetConfig":
        allowed = (1, 2, 4, 8, 16)
        if len(self.strides) != len(self.dimensions) or not self.strides:
            raise ValueError("give as many dimensions as strides, at least one")
        if any(stride not in allowed for stride in self.strides) or sorted(set(self.strides)) != list(self.strides):
            raise ValueError(f"strides must ascend and be among {allowed}")
        return self


NetworkConfig = Annotated[LightConfig | UNetConfig, Field(discriminator="kind")]
