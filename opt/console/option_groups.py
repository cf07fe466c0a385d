"""Groups of options: a dataclass of options that several callables take, each option by its own name.

    @option_group
    class TrainingOptions:
        '''How a network is trained.

Args:
            epochs: Passes over the data.
        '''

        epochs: Annotated[int, Range(1, 10_000)] = 20

    class Task(CompressionProblem):
        @flat_options
        def __init__(self, *, training: TrainingOptions, width: int = 8) -> None: ...

`Task(epochs=3)` and `Task(training=TrainingOptions(epochs=3))` are the same; signature, command line, configs and
manifests know `epochs` and `width`. A task with another default takes a subclass of the group that sets it anew.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import textwrap
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

from opt.console.errors import UsageError, nearest
from opt.console.parameters import GROUPS, evaluated_signature, parameters_of

T = TypeVar("T")
R = TypeVar("R")
_MARK = "__is_option_group__"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def option_group(cls: type[T]) -> type[T]:
    """Class decorator: a frozen keyword-only dataclass whose fields are options; limits are checked when it is made."""
    own = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        for name, parameter in parameters_of(type(self)).items():
            parameter.check(getattr(self, name))
        if own is not None:
            own(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    # annotations of bases are texts of other modules: they are resolved there, once
    hints = typing.get_type_hints(made, include_extras=True)
    signature = inspect.signature(made.__init__)
    made.__init__.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature.parameters.values()]
    )
    setattr(made, _MARK, True)
    return made


def is_option_group(kind: Any) -> bool:
    """Whether a type is a group of options."""
    return isinstance(kind, type) and getattr(kind, _MARK, False)


def flat_options(function: Callable[..., R]) -> Callable[..., R]:
    """Decorator of a function that takes groups: each field of a group is an option of its own, by its own name.

    Raises:
        TypeError: At once, where two options have one name; when called, where a name is unknown, or a group
            is given beside one of its options.
        UsageError: When called, where an option goes by a name that it had before.
    """
    signature, called = evaluated_signature(function), f"{function.__qualname__.removesuffix('.__init__')}()"
    groups = {p.name: p.annotation for p in signature.parameters.values() if is_option_group(p.annotation)}
    parameters = _flat(signature, groups, called=called)
    names = [p.name for p in parameters]
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        given = _grouped(groups, kwargs, called=called)
        if not takes_any and (unknown := [name for name in given if name not in names and name not in groups]):
            if (now := _former_names(groups).get(unknown[0])) is not None:
                raise UsageError(f"{called}: {unknown[0]} is now {now}")
            hint = nearest(unknown[0], names)
            raise TypeError(f"{called} got an unexpected keyword argument {unknown[0]!r}{hint}")
        return function(*args, **given)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__doc__ = with_options_of(groups, function.__doc__)
    setattr(call, GROUPS, groups)
    return call


def _flat(signature: inspect.Signature, groups: Mapping[str, type], *, called: str) -> list[inspect.Parameter]:
    """The parameters of a signature with those of each group in its place; catch-alls last, as Python has them."""
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in groups:
            parameters += inspect.signature(groups[parameter.name]).parameters.values()
        else:
            parameters.append(parameter)
    counts = Counter(p.name for p in parameters)
    if twice := [name for name, n in counts.items() if n > 1]:
        raise TypeError(f"{called} has several options of the name {twice[0]}")
    return sorted(parameters, key=lambda p: p.kind)


def _grouped(groups: Mapping[str, type], kwargs: Mapping[str, Any], *, called: str) -> dict[str, Any]:
    """Keyword arguments with each group made of its fields; a group that is given stays as it is."""
    # an option may have the name of a group
    whole = {name: kwargs[name] for name in groups if is_option_group(type(kwargs.get(name)))}
    given = {name: value for name, value in kwargs.items() if name not in whole}
    made = {name: _made(name, groups[name], whole.get(name), given, called=called) for name in groups}
    for name in groups:
        if name in given:
            raise TypeError(f"{called} takes {name} as {groups[name].__name__}, got {type(given[name]).__name__}")
    return given | made


def _made(name: str, group: type, whole: Any, given: dict[str, Any], *, called: str) -> Any:
    """A group: the whole one, or made of its fields among the keyword arguments, which are taken out of these."""
    fields = [field.name for field in dataclasses.fields(group)]
    own = {field: given.pop(field) for field in fields if field in given}
    if whole is None:
        return group(**own)
    if own:
        raise TypeError(f"{called} takes {next(iter(own))} by itself or in {name}, not both")
    if not isinstance(whole, group):
        raise TypeError(f"{called} takes {name} as {group.__name__}, got {type(whole).__name__}")
    return whole


def with_options_of(groups: Mapping[str, type], doc: str | None) -> str | None:
    """A docstring in whose `Args:` each group is replaced by its options."""
    if not groups or doc is None:
        return doc

    def options(found: re.Match[str]) -> str:
        indent = found[1]
        lines = [f"{name}: {p.help}" for name, p in parameters_of(groups[found[2]]).items()]
        filled = [textwrap.fill(line, 120, initial_indent=indent, subsequent_indent=f"{indent}    ") for line in lines]
        return "\n".join(filled) + "\n"

    names = "|".join(map(re.escape, groups))
    return re.sub(rf"^( +)({names}): .*\n(?:\1 +.*\n)*", options, doc, flags=re.MULTILINE)


def groups_of(function: Callable[..., Any]) -> Mapping[str, type]:
    """The groups of options that a function's `flat_options` were made of, by the parameters' names."""
    groups: Mapping[str, type] = getattr(function, GROUPS, {})
    return groups


def former_names(function: Callable[..., Any]) -> dict[str, str]:
    """Names that options of a function's groups had, with what they are called now."""
    return _former_names(groups_of(function))


def _former_names(groups: Mapping[str, type]) -> dict[str, str]:
    return {was: now for group in groups.values() for was, now in getattr(group, "FORMER", {}).items()}


def of_former(function: Callable[..., Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded options of a function under the names and with the values of now.

    Args:
        function: Decorated with `flat_options`; a group may have `FORMER`, names that its options had with those of
            now, and a function `of_former`, which takes recorded options by name and gives those of now.
        recorded: Options by the names that they had when they were recorded.
    """
    present = dict(recorded)
    for group in groups_of(function).values():
        if (translate := getattr(group, "of_former", None)) is not None:
            present = translate(present)
    return present


def check_flat(function: Callable[..., Any]) -> None:
    """Refuse a function that takes a group and is not decorated.

    Raises:
        TypeError: With the decorator's name.
    """
    for parameter in evaluated_signature(function).parameters.values():
        if is_option_group(parameter.annotation):
            raise TypeError(f"{function.__qualname__} takes a group of options, {parameter.name}: add @flat_options")


def flattened(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a function of groups with the fields of a group that is given by their own names."""
    groups = groups_of(function)
    flat: dict[str, Any] = {}
    for name, value in kwargs.items():
        if name in groups and is_option_group(type(value)):
            flat |= {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        else:
            flat[name] = value
    return flat
