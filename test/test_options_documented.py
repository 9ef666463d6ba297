"""The options that the documentation shows are those of the code, with their defaults."""

from pathlib import Path

import pytest
import yaml

from vizloc_ros.localization.options import LocalizationOptions
from vizloc_ros.mapping.builder import BuildOptions

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize(
    ("page", "heading", "options"),
    [
        ("your_own_route.md", "## Options of the build", BuildOptions),
        ("evaluation.md", "## Options of the localizer", LocalizationOptions),
    ],
)
def test_documented_options_are_the_defaults(page, heading, options) -> None:
    text = (DOCS / page).read_text()
    shown = yaml.safe_load(text[text.index(heading) :].split("```yaml")[1].split("```")[0])
    assert options.model_validate(shown) == options()
    if options is BuildOptions:
        assert {**shown, "seed": 0} == options().model_dump()
