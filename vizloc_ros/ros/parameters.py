"""ROS parameters of a node, declared by walking its tree of options.

    class HfnetOptions(Options):
        provider: Literal["cpu", "cuda"] = Field("cpu", description="what the network runs on")

    options = declare_options(node, HfnetOptions)

A group of options becomes a prefix: ``tracker.motion.acceleration_std``. Types are bool, int, float, str, ``Literal``
of strings, and tuples of one of the first four. Description and range are those of the field; pydantic validates.
All parameters are read-only. ``generate_parameter_library`` would need a build step that a package from wheels lacks.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

from vizloc_ros.errors import ConfigError
from vizloc_ros.options import RENAMED, leaves, nested, validated
from vizloc_ros.ros.node_options import NODE_OPTIONS

Model = TypeVar("Model", bound=BaseModel)
_TYPES: dict[type, tuple[Parameter.Type, Parameter.Type]] = {
    bool: (Parameter.Type.BOOL, Parameter.Type.BOOL_ARRAY),
    int: (Parameter.Type.INTEGER, Parameter.Type.INTEGER_ARRAY),
    float: (Parameter.Type.DOUBLE, Parameter.Type.DOUBLE_ARRAY),
    str: (Parameter.Type.STRING, Parameter.Type.STRING_ARRAY),
}
_WHOLE = 2**63
KNOWN = frozenset(name for model in NODE_OPTIONS.values() for name, _ in leaves(model))


@dataclass(frozen=True)
class OptionParameter:
    """One option as a parameter.

    Attributes:
        name: dotted, from the root of the tree.
        scalar: bool, int, float or str; of the elements, where it is an array.
        is_array: whether it is an array.
        default: its default value.
        field: pydantic's description of it.
    """

    name: str
    scalar: type
    is_array: bool
    default: Any
    field: FieldInfo

    @property
    def type(self) -> Parameter.Type:
        """ROS's type."""
        return _TYPES[self.scalar][self.is_array]

    @property
    def type_name(self) -> str:
        """ROS's name of the type."""
        return str(self.type.name).lower().replace("_array", "[]")

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed strings; empty for any."""
        return get_args(self.field.annotation) if get_origin(self.field.annotation) is Literal else ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest allowed value; infinite where there is no bound."""
        low, high = self._bound("ge"), self._bound("le")
        if (above := self._bound("gt")) is not None:
            low = _next(above, self.scalar, math.inf)
        if (below := self._bound("lt")) is not None:
            high = _next(below, self.scalar, -math.inf)
        return -math.inf if low is None else low, math.inf if high is None else high

    @property
    def allowed(self) -> str:
        """The allowed values, in words; empty for all."""
        low, high = self._bound("ge"), self._bound("le")
        if low is not None and high is not None:
            return f"{low:,} to {high:,}"
        kinds = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        bounds = [f"{words} {self._bound(kind):,}" for kind, words in kinds if self._bound(kind) is not None]
        return ", ".join((*self.choices, *bounds))

    def _bound(self, kind: str) -> Any:
        """Pydantic's bound of a kind, ge, gt, le or lt; None where there is none."""
        return next((getattr(bound, kind) for bound in self.field.metadata if hasattr(bound, kind)), None)


def option_parameters(model: type[BaseModel]) -> Iterator[OptionParameter]:
    """All options of a tree, in its order."""
    for name, field in leaves(model):
        annotation: Any = field.annotation
        is_array = get_origin(annotation) is tuple
        if is_array:
            annotation = get_args(annotation)[0]
        scalar = str if get_origin(annotation) is Literal else annotation
        yield OptionParameter(name, scalar, is_array, field.get_default(call_default_factory=True), field)


def declare_options(node: Any, model: type[Model], known_elsewhere: Collection[str] = KNOWN) -> Model:
    """Declares every option as a parameter of the node and returns the values it was started with.

    Warns in the log of parameters that were set and that no node has, with the nearest name.

    Args:
        node: an rclpy node.
        model: the root of its options.
        known_elsewhere: names of other nodes' parameters, which a file for several nodes may set.

    Raises:
        ConfigError: naming the parameter whose value has the wrong type, or is not allowed, or that was renamed.
    """
    parameters = list(option_parameters(model))
    given = {parameter.name: _given(node, parameter) for parameter in parameters}
    _look_at_unknown(node, [parameter.name for parameter in parameters], known_elsewhere)
    options = validated(model, nested({name: value for name, value in given.items() if value is not None}), "parameter")
    for parameter in parameters:
        value = given[parameter.name]
        _fix(node, parameter, parameter.default if value is None else value)
    return options


def _given(node: Any, parameter: OptionParameter) -> Any:
    """The value that the node was started with, of the right type; None if there is none.

    Declared without a type first, so that any override can be looked at; an empty list declared as such would be one
    of bytes, and an unset one would hide all parameters from tools that ask for several at once.
    """
    node.declare_parameter(parameter.name, None, ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter_or(parameter.name)
    if given.type_ == Parameter.Type.NOT_SET:
        return None
    value = given.value if isinstance(given.value, bool | int | float | str) else tuple(given.value)
    elements = value if isinstance(value, tuple) else (value,)
    accepted = (int, float) if parameter.scalar is float else (parameter.scalar,)
    if isinstance(value, tuple) != parameter.is_array or not all(type(element) in accepted for element in elements):
        raise ConfigError(
            f"parameter {parameter.name}: is {written(value)}; it must be of type {parameter.type_name}"
            + (f" ({parameter.allowed})" if parameter.allowed else "")
        )
    converted = tuple(map(parameter.scalar, elements))
    return converted if parameter.is_array else converted[0]


def _fix(node: Any, parameter: OptionParameter, value: Any) -> None:
    """Gives the parameter its type and value for good."""
    as_ros = list(value) if parameter.is_array else value
    node.set_parameters([Parameter(parameter.name, parameter.type, as_ros)])
    node.set_descriptor(parameter.name, descriptor(parameter))


def descriptor(parameter: OptionParameter) -> ParameterDescriptor:
    """What tools show of a parameter: description, range, choices."""
    described = ParameterDescriptor(
        name=parameter.name,
        type=parameter.type.value,
        description=parameter.field.description or "",
        additional_constraints=parameter.allowed,
        read_only=True,
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
                IntegerRange(from_value=int(max(low, -_WHOLE)), to_value=int(min(high, _WHOLE - 1)), step=1)
            ]
    return described


def _look_at_unknown(node: Any, own: list[str], known_elsewhere: Collection[str]) -> None:
    """Warns of parameters that were set and do not exist. Raises ``ConfigError`` for those that were renamed."""
    given: Mapping[str, Any] = getattr(node, "_parameter_overrides", {})  # rclpy tells of them in no other way
    for name in sorted(given):
        if node.has_parameter(name) or name in known_elsewhere or name.startswith("qos_overrides."):
            continue
        if new := [renamed for renamed in RENAMED.get(name, ()) if renamed in own]:
            raise ConfigError(f"parameter {name} is now called {new[0]}")
        near = difflib.get_close_matches(name, own, n=1, cutoff=0.0)
        node.get_logger().warning(f"there is no parameter {name}: it has no effect; the nearest name is {near[0]}")


def written(value: Any) -> str:
    """A value as in a parameter file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)


def _next(bound: Any, scalar: type, towards: float) -> Any:
    """The value next to an excluded bound."""
    return bound + math.copysign(1, towards) if scalar is int else math.nextafter(bound, towards)
