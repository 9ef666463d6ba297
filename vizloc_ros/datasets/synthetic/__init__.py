"""Procedural street with exact poses and depth, for the demo and the tests; results on it do not prove accuracy."""

from vizloc_ros.datasets.synthetic.spec import StreetSpec
from vizloc_ros.datasets.synthetic.street import SyntheticStreet, open_synthetic

__all__ = ["StreetSpec", "SyntheticStreet", "open_synthetic"]
