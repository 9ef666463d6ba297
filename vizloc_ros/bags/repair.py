"""Bags that cannot be read as they are, and the command that makes them readable."""

import shlex
from pathlib import Path

_COMPRESSED = (".zstd", ".zst")
_STORAGES = (".db3", ".mcap")
NO_BAG = "not a bag: a folder with metadata.yaml, a .db3 or .mcap file, or a .bag file of ROS 1"


def why_unreadable(path: Path) -> str:
    """Reason why a path cannot be a bag as it is, with the way out; empty if it may be one."""
    if path.is_file():
        if path.suffix in _COMPRESSED:
            return _compressed_file(path)
        if path.suffix == ".active":
            return f"its recording was not stopped properly. {_try(f'rosbag reindex {_quoted(path)}')}, then rename it"
        if path.suffix not in (*_STORAGES, ".bag"):
            folder = f". Name its folder: {path.parent}" if path.name == "metadata.yaml" else ""
            return f"{NO_BAG}{folder}"
        return ""
    storages = sorted(file for file in path.iterdir() if _storage_suffix(file) in _STORAGES)
    if (path / "metadata.yaml").exists() or not storages:
        return ""
    compressed = [file for file in storages if file.suffix in _COMPRESSED]
    if compressed:  # ros2 bag reindex does not find these files
        unpack = f"zstd -d {' '.join(map(_quoted, compressed))}"
        return f"metadata.yaml is missing, and files are compressed. {_try(f'{unpack} && {_reindex(path)}')}"
    single = f", or name its file {storages[0]}" if len(storages) == 1 else ""
    return f"metadata.yaml is missing: was its recording stopped properly? {_try(_reindex(path))}{single}"


def remedy(path: Path) -> str:
    """Advice to append to the message of a damaged bag: the command that saves what is left, if there is one."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in (*_STORAGES, ".bag"))
    suffix = files[0].suffix if files else ""
    if suffix == ".bag":
        return f". {_try(f'rosbag reindex {_quoted(files[0])}')}"
    if suffix == ".mcap":
        recovered = files[0].with_name(f"{files[0].stem}_recovered.mcap")
        several = ", and so on for each of its files; name the recovered one" if len(files) > 1 else ""
        return f". {_try(f'mcap recover {_quoted(files[0])} -o {_quoted(recovered)}')}, and read that{several}"
    if suffix == ".db3":
        recovered = files[0].with_name(f"{files[0].stem}_recovered.db3")
        command = f"sqlite3 {_quoted(files[0])} .recover | sqlite3 {_quoted(recovered)}"
        reindex = f"{_reindex(path)}, or " if path.is_dir() else ""
        return f". {_try(f'{reindex}{command}')}, and read that"
    return ""


def _compressed_file(path: Path) -> str:
    command = _try(f"zstd -d {_quoted(path)} -o {_quoted(path.with_suffix(''))}")
    folder = f", or name its folder {path.parent}" if (path.parent / "metadata.yaml").exists() else ""
    return f"a compressed file of a bag is read only with its folder. {command}, and read that{folder}"


def _storage_suffix(path: Path) -> str:
    return Path(path.stem).suffix if path.suffix in _COMPRESSED else path.suffix


def _reindex(path: Path) -> str:
    return f"ros2 bag reindex {_quoted(path)}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _try(command: str) -> str:
    return f"Try: {command}"
