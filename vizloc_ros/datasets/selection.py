"""Choosing among the records of a dataset."""

from collections.abc import Iterable, Sequence

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, DatasetError


def every(records: Sequence[Record], n: int) -> list[Record]:
    """Keeps the first and then every n-th record. Raises ``ConfigError`` when n < 1."""
    if n < 1:
        raise ConfigError(f"every {n}-th record cannot be kept; give a number of at least 1")
    return list(records[::n])


def unknown_split(dataset: str, split: str, splits: Iterable[str]) -> DatasetError:
    """The error for a split that the dataset does not have."""
    return DatasetError(f"{dataset} has no split {split!r}; there are: {', '.join(splits) or 'none'}")
