"""Node parameters as a frozen dataclass: declared, checked and documented from its fields.

    @dataclass(frozen=True)
    class HfnetParameters:
        max_keypoints: int = param(2048, "keypoints kept per image", minimum=1, maximum=10_000)
        provider: str = param("cpu", "where the network runs", choices=("cpu", "cuda"))

    parameters = declare(node, HfnetParameters)

Fields are bool, int, float, str, or tuples of one of them. They are read-only unless ``dynamic``. Conditions between
fields go into the dataclass's ``__post_init__``, which raises ``ConfigError``. A whole number is taken for a float.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
from collections.abc import Callable, Collection
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.parameter import Parameter

from vizloc_ros.errors import ConfigError

T = TypeVar("T")
_SPEC = "vizloc_parameter"
_SCALARS: dict[type, tuple[Parameter.Type, Parameter.Type]] = {
    bool: (Parameter.Type.BOOL, Parameter.Type.BOOL_ARRAY),
    int: (Parameter.Type.INTEGER, Parameter.Type.INTEGER_ARRAY),
    float: (Parameter.Type.DOUBLE, Parameter.Type.DOUBLE_ARRAY),
    str: (Parameter.Type.STRING, Parameter.Type.STRING_ARRAY),
}


@dataclasses.dataclass(frozen=True)
class _Spec:
    """What a field's metadata say; ``minimum`` and ``maximum`` hold for every element of a tuple."""

    description: str
    minimum: float | None
    maximum: float | None
    choices: tuple[Any, ...]
    dynamic: bool

    @property
    def allowed(self) -> str:
        """The values that are allowed, in words; empty for all."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        if self.minimum is not None and self.maximum is not None:
            return f"{self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"at least {self.minimum:g}"
        return "" if self.maximum is None else f"at most {self.maximum:g}"

    def allows(self, value: Any) -> bool:
        """Whether every element of the value is one of the choices, within the range, and a number."""
        return all(
            not (isinstance(element, float) and math.isnan(element))
            and (not self.choices or element in self.choices)
            and (self.minimum is None or element >= self.minimum)
            and (self.maximum is None or element <= self.maximum)
            for element in (value if isinstance(value, tuple) else (value,))
        )


def param(
    default: T,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[T, ...] = (),
    dynamic: bool = False,
) -> T:
    """A field of a parameter dataclass; ``dynamic`` ones can be set while the node runs."""
    field: Any = dataclasses.field(
        default=default, metadata={_SPEC: _Spec(description, minimum, maximum, choices, dynamic)}
    )
    return field  # typed as its default, as dataclasses.field is


def option(
    options: type[BaseModel],
    name: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """A field with the default and the description that it has among the core's options."""
    field = options.model_fields[name]
    return param(field.default, field.description or "", minimum=minimum, maximum=maximum, choices=choices)


def declare(node: Any, parameters_type: type[T], on_change: Callable[[T], None] | None = None) -> T:
    """Declares every field as a parameter of the node and returns the values it was started with.

    Args:
        node: an rclpy node.
        parameters_type: a frozen dataclass whose fields are made by ``param``.
        on_change: is given the new values after dynamic parameters have been set, in the executor's thread.

    Raises:
        ConfigError: naming the parameter whose value has the wrong type or is not allowed.
    """
    fields = _fields(parameters_type)
    types = get_type_hints(parameters_type)
    values = {field.name: _declare_one(node, field, types[field.name]) for field in fields}
    current = parameters_type(**values)

    def changed(parameters: list[Parameter]) -> T:
        own = {parameter.name: _plain(parameter.value) for parameter in parameters if parameter.name in values}
        for field in fields:
            if field.name in own:
                _check(field, own[field.name])
        return dataclasses.replace(current, **own)  # type: ignore[type-var]

    def validate(parameters: list[Parameter]) -> SetParametersResult:
        try:
            changed(parameters)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def apply(parameters: list[Parameter]) -> None:
        nonlocal current
        before, current = current, changed(parameters)
        if on_change is not None and current != before:
            on_change(current)

    node.add_on_set_parameters_callback(validate)
    if any(_spec(field).dynamic for field in fields):
        node.add_post_set_parameters_callback(apply)  # not on Humble, which has no such callback
    return current


def warn_of_unknown(node: Any, known_elsewhere: Collection[str] = ()) -> None:
    """Warns in the log of parameters that were set and that this node does not have, with the nearest name it has.

    Args:
        node: an rclpy node that has declared its parameters.
        known_elsewhere: names that a file for several nodes may set for the other ones.
    """
    given = getattr(node, "_parameter_overrides", {})  # rclpy tells of them in no other way
    for name in sorted(given):
        if node.has_parameter(name) or name in known_elsewhere or name.startswith("qos_overrides."):
            continue
        own = sorted(node.get_parameters_by_prefix(""))
        near = difflib.get_close_matches(name, own, n=1, cutoff=0.0)
        node.get_logger().warning(f"there is no parameter '{name}': it has no effect; the nearest name is '{near[0]}'")


def parameter_names(parameters_type: type[Any]) -> tuple[str, ...]:
    """The names of the parameters."""
    return tuple(field.name for field in _fields(parameters_type))


def parameters_table(parameters_type: type[Any]) -> str:
    """The Markdown table of the parameters, for the documentation."""
    types = get_type_hints(parameters_type)
    rows = ["| parameter | type | default | allowed | description |", "| --- | --- | --- | --- | --- |"]
    for field in _fields(parameters_type):
        spec = _spec(field)
        kind = _type_name(_parameter_type(types[field.name]))
        description = spec.description + (" (can be set while running)" if spec.dynamic else "")
        rows.append(f"| `{field.name}` | {kind} | `{_written(field.default)}` | {spec.allowed} | {description} |")
    return "\n".join(rows) + "\n"


def _declare_one(node: Any, field: dataclasses.Field[Any], annotation: Any) -> Any:
    """The value of one field, once it is a parameter of the node.

    Declared without a type first, so that any override can be looked at; an empty list declared as such would be one
    of bytes, and an unset one would hide all parameters from tools that ask for several at once.
    """
    kind = _parameter_type(annotation)
    node.declare_parameter(field.name, None, ParameterDescriptor(dynamic_typing=True))
    given = node.get_parameter_or(field.name)
    value = field.default if given.type_ == Parameter.Type.NOT_SET else _converted(field, kind, _plain(given.value))
    _check(field, value)
    node.set_parameters([Parameter(field.name, kind, list(value) if isinstance(value, tuple) else value)])
    node.set_descriptor(field.name, _descriptor(field.name, _spec(field), kind))
    return value


def _converted(field: dataclasses.Field[Any], kind: Parameter.Type, value: Any) -> Any:
    """A value of the field's type; whole numbers become floats. Raises ``ConfigError`` for any other type."""
    scalar = next(scalar for scalar, kinds in _SCALARS.items() if kind in kinds)
    elements = value if isinstance(value, tuple) else (value,)
    is_array = kind is _SCALARS[scalar][1]
    allowed = (int, float) if scalar is float else (scalar,)
    if isinstance(value, tuple) != is_array or not all(type(element) in allowed for element in elements):
        expected = " ".join(filter(None, (f"must be of type {_type_name(kind)}", _spec(field).allowed)))
        raise ConfigError(f"parameter '{field.name}' is {_written(value)}; it {expected}")
    converted = tuple(map(scalar, elements))
    return converted if is_array else converted[0]


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    spec = _spec(field)
    if not spec.allows(value):
        raise ConfigError(f"parameter '{field.name}' is {_written(value)}; allowed: {spec.allowed or 'numbers'}")


def _descriptor(name: str, spec: _Spec, kind: Parameter.Type) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        name=name,
        type=kind.value,
        description=spec.description,
        additional_constraints=spec.allowed,
        read_only=not spec.dynamic,
    )
    if spec.minimum is None and spec.maximum is None:
        return descriptor
    if kind is Parameter.Type.DOUBLE:
        largest = sys.float_info.max
        low, high = _or(spec.minimum, -largest), _or(spec.maximum, largest)
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
    elif kind is Parameter.Type.INTEGER:
        low, high = _or(spec.minimum, -(2**63)), _or(spec.maximum, 2**63 - 1)
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def _or(bound: float | None, otherwise: float) -> float:
    return otherwise if bound is None else bound


def _parameter_type(annotation: Any) -> Parameter.Type:
    """ROS's type of a field annotated bool, int, float, str or tuple[one of them, ...]."""
    if get_origin(annotation) is tuple:
        return _SCALARS[get_args(annotation)[0]][1]
    return _SCALARS[annotation][0]


def _type_name(kind: Parameter.Type) -> str:
    return str(kind.name).lower().replace("_array", "[]")


def _plain(value: Any) -> Any:
    """A parameter's value as the dataclass holds it: lists and arrays as tuples."""
    return value if isinstance(value, bool | int | float | str) else tuple(value)


def _written(value: Any) -> str:
    """A value as in a parameter file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value) if value == "" else str(value)


def _fields(parameters_type: type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(parameters_type)


def _spec(field: dataclasses.Field[Any]) -> _Spec:
    spec: _Spec = field.metadata[_SPEC]
    return spec
