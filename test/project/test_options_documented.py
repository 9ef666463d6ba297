"""The options that the documentation shows are those of the code, with their defaults."""

import re

import pytest
import yaml
from repository import REPOSITORY

from vizloc_ros.features.hfnet.runtime import HfNetOptions
from vizloc_ros.features.onnx_dense_network import DenseNetworkConfig
from vizloc_ros.localization.localization_options import LocalizationOptions
from vizloc_ros.mapping.builder import BuildOptions
from vizloc_ros.pixloc.tracking_options import TrackingOptions

DOCS = REPOSITORY / "docs"


@pytest.mark.parametrize(
    ("page", "heading", "options"),
    [
        ("map_build.md", "## Options of the build", BuildOptions),
        ("evaluation.md", "## Options of the localizer", LocalizationOptions),
        ("evaluation.md", "## Options of the tracker", TrackingOptions),
    ],
)
def test_documented_options_are_the_defaults(page, heading, options) -> None:
    text = (DOCS / page).read_text()
    shown = yaml.safe_load(text[text.index(heading) :].split("```yaml")[1].split("```")[0])
    assert options.model_validate(shown) == options()
    if options is BuildOptions:
        assert {**shown, "seed": 0} == options().model_dump(mode="json")
    if options is TrackingOptions:
        assert shown == options().model_dump(mode="json")


def test_documented_settings_of_extractors_are_the_defaults() -> None:
    section = (DOCS / "map_build.md").read_text().split("## Options of the extractor")[1]
    table = section.split("<!-- settings: hfnet -->")[1].split("<!-- end -->")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \| `(.*?)` \|", table, re.MULTILINE))
    assert {name: yaml.safe_load(default) for name, default in shown.items()} == HfNetOptions().model_dump()
    network = yaml.safe_load(section.split("```yaml")[1].split("```")[0])["network"]
    assert network == DenseNetworkConfig().model_dump()
