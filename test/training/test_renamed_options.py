"""Configurations of training with former names of options."""

import pytest

from vizloc_ros.errors import ConfigError
from vizloc_ros.options import Options, nested, validated
from vizloc_ros.training.distillation.distillation_options import HfNetTraining
from vizloc_ros.training.global_head.global_head_options import GlobalTraining
from vizloc_ros.training.pixloc.pixloc_training_options import PixLocTraining


@pytest.mark.parametrize(
    ("model", "former", "text"),
    [
        (PixLocTraining, {"starts": {"reference": 0.5}}, "starts is now called initial_poses"),
        (PixLocTraining, {"sources": [{"share": 2}]}, r"sources\.0\.share is now called weight"),
        (PixLocTraining, {"sources": [{"spit": 1}]}, r"sources\.0\.spit: .* \(there is dataset, map, "),
        (HfNetTraining, {"images": [{"share": 2}]}, r"images\.0\.share is now called weight"),
        (HfNetTraining, {"warps": {"share": 0.5}}, r"warps\.share is now called warps\.ratio"),
        (HfNetTraining, {"teacher": {"keypoint_share": 0.1}}, r"teacher\.keypoint_share is .* teacher\.keypoint_ratio"),
        (GlobalTraining, {"reach": 10}, "reach is now called stretch_radius"),
    ],
)
def test_the_error_gives_the_present_name(model: type[Options], former: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^run\.yaml: (.*; )?{text}"):
        validated(model, nested(former), "run.yaml")
