"""Robust cost rho of PixLoc, Eq. 2: Barron's "A General and Adaptive Robust Loss Function" (CVPR 2019).

The published code of PixLoc uses alpha = 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vizloc_ros.errors import ConfigError


@dataclass(frozen=True)
class BarronLoss:
    """Robust cost rho(s) of squared residuals s = ||r||^2, with rho(s) = s / 2 / scale^2 near zero.

    Works on NumPy arrays and on PyTorch tensors.

    Attributes:
        alpha: shape: 2 least squares, 1 pseudo-Huber, 0 Cauchy, -2 Geman-McClure.
        scale: length of a residual at which the cost begins to bend.
    """

    alpha: float = 0.0
    scale: float = 0.1

    def __post_init__(self) -> None:
        if not (-10 <= self.alpha <= 2 and self.scale > 0):
            raise ConfigError(
                f"the robust loss has alpha {self.alpha:g} and scale {self.scale:g}; allowed: -10 to 2, and above 0"
            )

    def cost(self, squared: Any) -> Any:
        """Return rho of squared residuals, of the same shape (Barron, Eq. 8, with x^2 = s)."""
        x = squared / self.scale**2
        if self.alpha == 2:
            return x / 2
        if self.alpha == 0:
            return _log1p(x / 2)
        b = abs(self.alpha - 2)
        return (b / self.alpha) * ((x / b + 1) ** (self.alpha / 2) - 1)

    def weight(self, squared: Any) -> Any:
        """Return the derivative rho' of squared residuals, times 2 scale^2: 1 at zero, less for larger residuals."""
        if self.alpha == 2:
            return squared * 0 + 1
        x = squared / self.scale**2
        return (x / abs(self.alpha - 2) + 1) ** (self.alpha / 2 - 1)


def _log1p(value: Any) -> Any:
    if hasattr(value, "log1p"):
        return value.log1p()
    return np.log1p(value)
