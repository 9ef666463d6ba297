"""Sizes of HF-Net (HF-Net, appendix A.1)."""

from pydantic import BaseModel, ConfigDict, Field

CELL = 8  # stride of the local heads [px]
_NOMINAL_CHANNELS = (32, 16, 24, 24, 32, 64, 128, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
_STRIDES = (2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
LOCAL_LAYER = 7  # layer, counted from 1, whose output goes into the local heads


class HfNetConfig(BaseModel):
    """Sizes of HF-Net; by default those of the paper.

    Attributes:
        width: depth multiplier of MobileNetV2.
        descriptor_dimension: length D of a local descriptor.
        descriptor_channels: hidden channels of the descriptor head.
        detector_channels: hidden channels of the detector head.
        refiner_channels: hidden channels of the perceptron that moves keypoints between the pixels; with 0 a quadratic
            is fitted to the scores alone.
        clusters: number K of clusters of NetVLAD.
        global_dimension: length G of the global descriptor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: float = Field(default=0.75, gt=0, le=2)
    descriptor_dimension: int = Field(default=256, ge=8, le=512)
    descriptor_channels: int = Field(default=256, ge=8)
    detector_channels: int = Field(default=128, ge=8)
    refiner_channels: int = Field(default=0, ge=0)
    clusters: int = Field(default=32, ge=2)
    global_dimension: int = Field(default=4096, ge=8)

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of layers 1 to 18. Layers 6 and 7 are widened: stock MobileNetV2 has 32."""
        return tuple(_divisible(nominal * self.width) for nominal in _NOMINAL_CHANNELS)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of layers 1 to 18."""
        return _STRIDES


def _divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor`` as MobileNet does: never below 90 % of the given number."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
