"""Configurations of training with former names of options."""

import pytest

from vizloc_ros.errors import ConfigError
from vizloc_ros.options import Options, nested, validated
from vizloc_ros.training.pixloc.pixloc_training_options import PixLocTraining

DRIVE = {"dataset": "folder:route"}


@pytest.mark.parametrize(
    ("model", "former", "text"),
    [
        (PixLocTraining, {"sources": [DRIVE], "starts": {"reference": 0.5}}, "starts is now called initial_poses"),
        (
            PixLocTraining,
            {"sources": [{**DRIVE, "spit": 1}]},
            r"sources\.0\.spit: .* \(there is dataset, map, ",
        ),
    ],
)
def test_the_error_gives_the_present_name(model: type[Options], former: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^run\.yaml: (.*; )?{text}"):
        validated(model, nested(former), "run.yaml")
