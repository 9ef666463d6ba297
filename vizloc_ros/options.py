"""Base of all options, and errors that name the option.

Options are frozen pydantic models beside the code that they are for, combined to a tree at the entry points. ROS
parameters (``tracker.motion.acceleration_std``), ``--config`` files, and the settings in maps and weights follow from
this tree.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from vizloc_ros.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)

# Former names of options with their present ones; one name may have become several, of different nodes. Names in the
# items of a list are those without its index.
RENAMED: dict[str, tuple[str, ...]] = {
    **{
        name: (f"retrieval.{name}",)
        for name in ("top_k", "spacing", "descriptors_per_landmark", "cluster", "search", "shortlist")
    },
    "submap_landmarks": ("submap.max_landmarks",),
    **{f"submap_{name}": (f"submap.{name}",) for name in ("keyframes", "average", "refresh_distance", "refresh_angle")},
    **{
        name: (f"pose.{name}",)
        for name in (
            *("ratio", "max_reprojection_error", "min_inliers", "min_inlier_ratio", "first_keypoints"),
            *("enough_inliers", "map_position_std", "map_rotation_std", "max_trials", "places", "seed"),
        )
    },
    "sure_inlier_ratio": ("pose.confident_inlier_ratio",),
    "pose.sure_inlier_ratio": ("pose.confident_inlier_ratio",),
    "covariance_scale": ("pose.covariance_scale", "tracker.covariance_scale"),
    "max_position_std": ("pose.max_position_std", "tracker.verification.max_position_std"),
    **{name: (f"tracker.{name}",) for name in ("max_landmarks", "lost_after", "lost_after_seconds")},
    **{
        f"{prefix}{old}": (f"tracker.{new}",)
        for prefix in ("", "tracker.")
        for old, new in (
            ("disagreement_distance", "conflict_distance"),
            ("disagreement_angle", "conflict_angle"),
            ("contradictions", "max_conflicts"),
        )
    },
    **{
        f"{prefix}{old}": (f"tracker.verification.{new}",)
        for prefix in ("", "tracker.verification.")
        for old, new in (("min_inlier_share", "min_inlier_ratio"), ("sure_inlier_share", "confident_inlier_ratio"))
    },
    "min_points": ("tracker.verification.min_landmarks",),
    "tracker.verification.min_points": ("tracker.verification.min_landmarks",),
    "tracker.alignment.min_points": ("tracker.alignment.min_landmarks",),
    "max_iterations": ("tracker.alignment.max_iterations",),
    "turned_views": ("rotated_views",),
    "starts": ("initial_poses",),
    "images.share": ("weight",),
    "sources.share": ("weight",),
    "warps.share": ("warps.ratio",),
    "teacher.keypoint_share": ("teacher.keypoint_ratio",),
    "reach": ("stretch_radius",),
    "neighbours": ("neighbors",),
}


class Options(BaseModel):
    """Group of options: frozen, unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Validate plain values, such as those of a YAML file, and return them as options.

    Args:
        model: group of options.
        values: nested mappings of values.
        where: source of the values, such as the name of a file; the error text begins with it.

    Raises:
        ConfigError: an option is unknown or has an impossible value. The text names it, and the known options or the
            new name of a renamed one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(problem(model, details) for details in error.errors())
        raise ConfigError(f"{where}: {problems}") from error


def problem(model: type[BaseModel], details: Mapping[str, Any]) -> str:
    """Text for an error of pydantic, beginning with the name of the option."""
    location = tuple(map(str, details["loc"]))
    name = ".".join(location)
    if details["type"] != "extra_forbidden":
        text = f"{name}: " if name else ""
        return text + str(details["msg"]).removeprefix("Value error, ")
    path = tuple(part for part in details["loc"] if isinstance(part, str))  # without the indices of lists
    if new := RENAMED.get(".".join(path)):
        return f"{name} is now called {' or '.join(new)}"
    group = group_at(model, path[:-1])
    known = list(group.model_fields) if group is not None else []
    near = difflib.get_close_matches(location[-1], known, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    others = f" (there is {', '.join(known)})" if known else ""
    return f"{name}: there is no such option{hint}{others}"


def group_at(model: type[BaseModel], location: tuple[str, ...]) -> type[BaseModel] | None:
    """Group of options at a location in the tree; None if there is none."""
    for name in location:
        inner = subgroup(model.model_fields[name]) if name in model.model_fields else None
        if inner is None:
            return None
        model = inner
    return model


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the single options of a tree with their dotted names, in the order of the tree."""
    for name, field in model.model_fields.items():
        if (group := subgroup(field)) is not None:
            yield from leaves(group, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def subgroup(field: FieldInfo) -> type[BaseModel] | None:
    """Group of options in a field; None for a single option."""
    for annotation in (field.annotation, *get_args(field.annotation)):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation
    return None


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nest mappings with dotted names: ``{"tracker.history": 9}`` becomes ``{"tracker": {"history": 9}}``."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = str(name).split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
        merge(branch, {last: nested(value) if isinstance(value, Mapping) else value})
    return tree


def merge(tree: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Overwrite values of a tree with those of another, group by group."""
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(tree.get(name), dict):
            merge(tree[name], value)
        else:
            tree[name] = value
