"""Folders of the repository, and of the real data, which is no part of it."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("VIZLOC_DATA", REPOSITORY.parent / "shared" / "data"))
