"""ROS parameters of a node, declared by walking its tree of options.

    class HfnetOptions(Options):
        provider: Literal["cpu", "cuda"] = Field("cpu", description="what the network runs on")

    options = declare_options(node, HfnetOptions)

A group of options becomes a prefix: ``tracker.motion.acceleration_std``. Types are bool, int, float, str, ``Literal``
of strings, and tuples of one of the first four. Description and range are those of the field; pydantic validates.
Parameters are read-only, but for those that the model names in ``settable``: a request sets all of its parameters, or
none and says why. ``generate_parameter_library`` would need a build step that a package from wheels lacks.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from vizloc_ros.bounded import load_yaml, read_regular_text
from vizloc_ros.errors import ConfigError
from vizloc_ros.options import RENAMED, leaves, merge, nested, validated
from vizloc_ros.ros.node_options import NODE_OPTIONS, RENAMED_NODES

Model = TypeVar("Model", bound=BaseModel)
_TYPES: dict[type, tuple[Parameter.Type, Parameter.Type]] = {
    bool: (Parameter.Type.BOOL, Parameter.Type.BOOL_ARRAY),
    int: (Parameter.Type.INTEGER, Parameter.Type.INTEGER_ARRAY),
    float: (Parameter.Type.DOUBLE, Parameter.Type.DOUBLE_ARRAY),
    str: (Parameter.Type.STRING, Parameter.Type.STRING_ARRAY),
}
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
ALL_NAMES = frozenset(name for model in NODE_OPTIONS.values() for name, _ in leaves(model))


@dataclass(frozen=True)
class OptionParameter:
    """Option as a ROS parameter.

    Attributes:
        name: dotted name from the root of the tree.
        scalar: bool, int, float or str; type of the elements if it is an array.
        is_array: True for an array.
        default: default value.
        field: pydantic's description of the option.
        settable: True if it can be set while the node runs.
    """

    name: str
    scalar: type
    is_array: bool
    default: Any
    field: FieldInfo
    settable: bool = False

    @property
    def type(self) -> Parameter.Type:
        """ROS type."""
        return _TYPES[self.scalar][self.is_array]

    @property
    def type_name(self) -> str:
        """Name of the ROS type."""
        return str(self.type.name).lower().replace("_array", "[]")

    @property
    def choices(self) -> tuple[str, ...]:
        """Allowed strings; empty for any."""
        return get_args(self.field.annotation) if get_origin(self.field.annotation) is Literal else ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Minimum and maximum of the allowed values; infinite where there is no bound."""
        low, high = self._bound("ge"), self._bound("le")
        if (above := self._bound("gt")) is not None:
            low = _next(above, self.scalar, math.inf)
        if (below := self._bound("lt")) is not None:
            high = _next(below, self.scalar, -math.inf)
        return -math.inf if low is None else low, math.inf if high is None else high

    @property
    def allowed(self) -> str:
        """Text about the allowed values; empty for all."""
        low, high = self._bound("ge"), self._bound("le")
        if low is not None and high is not None:
            return f"{low:,} to {high:,}"
        kinds = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        bounds = [f"{words} {self._bound(kind):,}" for kind, words in kinds if self._bound(kind) is not None]
        return ", ".join((*self.choices, *bounds))

    def _bound(self, kind: str) -> Any:
        """Bound of a kind (ge, gt, le or lt) in pydantic's description; None if there is none."""
        return next((getattr(bound, kind) for bound in self.field.metadata if hasattr(bound, kind)), None)


def option_parameters(model: type[BaseModel]) -> Iterator[OptionParameter]:
    """Yield all options of a tree, in its order."""
    settable: Collection[str] = getattr(model, "settable", ())
    for name, field in leaves(model):
        annotation: Any = field.annotation
        is_array = get_origin(annotation) is tuple
        if is_array:
            annotation = get_args(annotation)[0]
        scalar = str if get_origin(annotation) is Literal else annotation
        default, groups = field.get_default(call_default_factory=True), name.split(".")
        is_settable = any(".".join(groups[: k + 1]) in settable for k in range(len(groups)))
        yield OptionParameter(name, scalar, is_array, default, field, is_settable)


def declare_options(
    node: Any,
    model: type[Model],
    names_of_others: Collection[str] = ALL_NAMES,
    on_change: Callable[[Model], None] = lambda options: None,
) -> Model:
    """Declare every option as a parameter of the node and return the values that the node was started with.

    A parameter that was set and that no node has is a warning in the log, with the nearest name.

    Args:
        node: the rclpy node.
        model: root of its options.
        names_of_others: names of other nodes' parameters, which a file for several nodes may set.
        on_change: receives all values when some were set while the node runs, in the executor's thread.

    Raises:
        ConfigError: a parameter has the wrong type, has a value that is not allowed, or was renamed; or a parameter
            file has a section for a former name of the node.
    """
    parameters = list(option_parameters(model))
    _refuse_old_sections(node.get_name(), model)
    given = {parameter.name: _override(node, parameter) for parameter in parameters}
    _warn_of_unknown(node, [parameter.name for parameter in parameters], names_of_others)
    options = validated(model, nested({name: value for name, value in given.items() if value is not None}), "parameter")
    for parameter in parameters:
        value = given[parameter.name]
        _set(node, parameter, parameter.default if value is None else value)
    _take_changes(node, options, parameters, on_change)
    return options


def _override(node: Any, parameter: OptionParameter) -> Any:
    """Value that the node was started with, converted to the right type; None if there is none.

    The parameter is declared without a type first, so that an override of any type can be read. An empty list declared
    as such would be one of bytes, and an unset one would hide all parameters from tools that ask for several at once.
    """
    node.declare_parameter(parameter.name, None, ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter_or(parameter.name)
    if given.type_ == Parameter.Type.NOT_SET:
        return None
    # A whole number, given as such, will do for a double.
    return _value(parameter, given.value, (int, float) if parameter.scalar is float else (parameter.scalar,))


def _value(parameter: OptionParameter, given: Any, accepted: tuple[type, ...]) -> Any:
    """Value of a parameter in the type of its option. Raises ``ConfigError`` unless it is of an accepted type."""
    value = given if given is None or isinstance(given, bool | int | float | str) else tuple(given)
    elements = value if isinstance(value, tuple) else (value,)
    if isinstance(value, tuple) != parameter.is_array or not all(type(element) in accepted for element in elements):
        raise ConfigError(
            f"parameter {parameter.name}: is {written(value)}; it must be of type {parameter.type_name}"
            + (f" ({parameter.allowed})" if parameter.allowed else "")
        )
    converted = tuple(map(parameter.scalar, elements))
    return converted if parameter.is_array else converted[0]


def _set(node: Any, parameter: OptionParameter, value: Any) -> None:
    """Set the parameter's value, then its type and, unless it is settable, that it is read-only."""
    as_ros = list(value) if parameter.is_array else value
    node.set_parameters([Parameter(parameter.name, parameter.type, as_ros)])
    node.set_descriptor(parameter.name, descriptor(parameter))


def _take_changes(
    node: Any, options: Model, parameters: Sequence[OptionParameter], on_change: Callable[[Model], None]
) -> None:
    """Check all parameters of a request together, and hand them over only if all can be used."""
    model, known = type(options), {parameter.name: parameter for parameter in parameters if parameter.settable}
    if not known:
        return
    values = options.model_dump()

    def change(requested: Sequence[Any]) -> SetParametersResult:
        nonlocal values
        ours = [one for one in requested if one.name in known]
        try:
            new = {one.name: _value(known[one.name], one.value, (known[one.name].scalar,)) for one in ours}
            merge(wanted := deepcopy(values), nested(new))
            changed = validated(model, wanted, "parameter")
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if ours:
            values = wanted
            on_change(changed)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(change)


def descriptor(parameter: OptionParameter) -> ParameterDescriptor:
    """Descriptor of a parameter for tools: description, range, choices."""
    described = ParameterDescriptor(
        name=parameter.name,
        type=parameter.type.value,
        description=parameter.field.description or "",
        additional_constraints=parameter.allowed,
        read_only=not parameter.settable,
        dynamic_typing=parameter.settable,  # else rclpy refuses another type without the parameter's name
    )
    low, high = parameter.bounds
    if not (math.isinf(low) and math.isinf(high)):
        if parameter.type is Parameter.Type.DOUBLE:
            largest = sys.float_info.max
            described.floating_point_range = [
                FloatingPointRange(from_value=float(max(low, -largest)), to_value=float(min(high, largest)))
            ]
        elif parameter.type is Parameter.Type.INTEGER:
            described.integer_range = [
                IntegerRange(from_value=int(max(low, _MIN_INTEGER)), to_value=int(min(high, _MAX_INTEGER)), step=1)
            ]
    return described


def _warn_of_unknown(node: Any, own: list[str], names_of_others: Collection[str]) -> None:
    """Warn of parameters that were set and do not exist. Raises ``ConfigError`` for those that were renamed."""
    given: Mapping[str, Any] = getattr(node, "_parameter_overrides", {})  # rclpy has no public access to them
    for name in sorted(given):
        if node.has_parameter(name) or name in names_of_others or name.startswith("qos_overrides."):
            continue
        if new := [renamed for renamed in RENAMED.get(name, ()) if renamed in own]:
            raise ConfigError(f"parameter {name} is now called {new[0]}")
        near = difflib.get_close_matches(name, own, n=1)
        hint = f"the nearest name is {near[0]}" if near else f"`ros2 param list` shows those of {node.get_name()}"
        node.get_logger().warning(f"there is no parameter {name}: it has no effect; {hint}")


def _refuse_old_sections(node: str, model: type[BaseModel]) -> None:
    """Raise ``ConfigError`` for a parameter file with a section for a former name of the node, which ROS would ignore.

    A section without any option of the node belongs to another node of that name.
    """
    former = {old for old, new in RENAMED_NODES.items() if new == node}
    own = set(model.model_fields) | RENAMED.keys()
    files = [Path(file) for option, file in zip(sys.argv, sys.argv[1:], strict=False) if option == "--params-file"]
    for file in files if former else ():
        for name, values in _sections(_read_yaml(file)):
            if name in former and any(str(key).partition(".")[0] in own for key in values):
                raise ConfigError(f"{file}: section {name}: this node is now called {node}")


def _read_yaml(file: Path) -> Any:
    """Content of a YAML file; None if it cannot be read: ROS reports that."""
    try:
        return load_yaml(read_regular_text(file))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _sections(tree: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the sections of a parameter file: a node's name without namespace, and its parameters."""
    for name, value in tree.items() if isinstance(tree, Mapping) else ():
        if isinstance(value, Mapping) and isinstance(parameters := value.get("ros__parameters"), Mapping):
            yield str(name).rpartition("/")[2], parameters
        if name != "ros__parameters":
            yield from _sections(value)


def written(value: Any) -> str:
    """Text of a value as in a parameter file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)


def _next(bound: Any, scalar: type, towards: float) -> Any:
    """Nearest value to an excluded bound in a direction."""
    return bound + math.copysign(1, towards) if scalar is int else math.nextafter(bound, towards)
