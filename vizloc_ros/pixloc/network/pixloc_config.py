"""Which network, and its sizes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NotNegative = Annotated[float, Field(ge=0, le=10)]
COARSEST = 32  # images have sides that are multiples of this [px]


class LightConfig(BaseModel):
    """The light network.

    Attributes:
        kind: ``light``.
        channels: of its encoder at strides 2, 8 and 32.
        hidden: channels of the head on the finest level.
        dimension: of the features, on every level.
        levels: how many; strides are 4, 8, 16, 32.
        smoothing: standard deviation of the Gaussian over the features of each level, in its cells, but in training;
            0: none.
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
        """Pixels between the columns of each level, finest first."""
        return (4, 8, 16, 32)[: self.levels]

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Length of the features on each level."""
        return (self.dimension,) * self.levels


class UNetConfig(BaseModel):
    """The paper's network: a UNet on VGG19 (PixLoc, section 4).

    Attributes:
        kind: ``unet``.
        blocks: convolutions in each of VGG's five blocks; (2, 2, 4, 4, 4) is VGG19, (2, 2, 3, 3, 3) is VGG16.
        channels: of those blocks.
        decoder: channels of the decoder from stride 8 up to stride 1.
        strides: of the levels, finest first; powers of two up to 16.
        dimensions: of the features on those levels.
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
