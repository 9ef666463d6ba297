"""Sizes of HF-Net with either encoder (HF-Net, appendix A.1)."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from vizloc_ros.options import Options

CELL = 8  # side of the cells of the paper's detector, and stride of its local heads [px]
_NOMINAL_CHANNELS = (32, 16, 24, 24, 32, 64, 128, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
_STRIDES = (2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
LOCAL_LAYER = 7  # layer of MobileNetV2, counted from 1, whose output goes into the local heads


class HfNetConfig(Options):
    """Sizes that both networks have.

    Attributes:
        refiner_channels: hidden channels of the perceptron that moves keypoints between the pixels; with 0 a quadratic
            is fitted to the scores alone.
    """

    refiner_channels: int = Field(default=0, ge=0)


class MobileNetConfig(HfNetConfig):
    """Sizes of HF-Net with MobileNetV2; by default those of the paper.

    Attributes:
        encoder: name of the encoder.
        width: depth multiplier of MobileNetV2.
        descriptor_dimension: length D of a local descriptor.
        descriptor_channels: hidden channels of the descriptor head.
        detector_channels: hidden channels of the detector head.
        clusters: number K of clusters of NetVLAD.
        global_dimension: length G of the global descriptor.
    """

    encoder: Literal["mobilenet_v2"] = "mobilenet_v2"
    width: float = Field(default=0.75, gt=0, le=2)
    descriptor_dimension: int = Field(default=256, ge=8, le=512)
    descriptor_channels: int = Field(default=256, ge=8)
    detector_channels: int = Field(default=128, ge=8)
    clusters: int = Field(default=32, ge=2)
    global_dimension: int = Field(default=4096, ge=8)

    @property
    def multiple(self) -> int:
        """Number that the sides of an image must be multiples of [px]."""
        return CELL

    @property
    def descriptor_stride(self) -> int:
        """Stride of the descriptors [px]."""
        return CELL

    @property
    def channels(self) -> tuple[int, ...]:
        """Output channels of layers 1 to 18. Layers 6 and 7 are widened: stock MobileNetV2 has 32."""
        return tuple(_divisible(nominal * self.width) for nominal in _NOMINAL_CHANNELS)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of layers 1 to 18."""
        return _STRIDES


class EdgePointConfig(HfNetConfig):
    """Sizes of HF-Net with the encoder of EdgePoint2; by default those of EdgePoint2-E64.

    Attributes:
        encoder: name of the encoder.
        channels: channels of the stages of strides 2 and 4, 8, and 32.
        hidden: channels of the descriptor head, in groups of 16.
        detector_layers: 3 for EdgePoint2's detector; with 2 it has one 3x3 convolution less, and the last one is 1x1.
        descriptor_dimension: length D of a local descriptor.
        words: number K of visual words of VLAD.
        global_dimension: length G of the global descriptor.
    """

    encoder: Literal["edgepoint2"] = "edgepoint2"
    channels: tuple[int, int, int] = (16, 48, 64)
    hidden: int = Field(default=128, ge=16, multiple_of=16)
    detector_layers: Literal[2, 3] = 3
    descriptor_dimension: int = Field(default=64, ge=8, le=512)
    words: int = Field(default=64, ge=2)
    global_dimension: int = Field(default=1024, ge=2)

    @property
    def multiple(self) -> int:
        """Number that the sides of an image must be multiples of [px]."""
        return 32

    @property
    def descriptor_stride(self) -> int:
        """Stride of the descriptors [px]."""
        return 4


def _encoder(values: Any) -> str:
    """Encoder of a config, or of plain values; the paper's if they name none."""
    name = values.get("encoder", "mobilenet_v2") if isinstance(values, dict) else values.encoder
    return str(name)


NetworkConfig = Annotated[
    Annotated[MobileNetConfig, Tag("mobilenet_v2")] | Annotated[EdgePointConfig, Tag("edgepoint2")],
    Discriminator(_encoder),
]


def _divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of ``divisor`` as MobileNet does: never below 90 % of the given number."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
