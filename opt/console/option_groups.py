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
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, dataclass_transform

from opt.console.errors import nearest
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
    """
    signature = evaluated_signature(function)
    groups = {p.name: p.annotation for p in signature.parameters.values() if is_option_group(p.annotation)}
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in groups:
            fields = inspect.signature(groups[parameter.name].__init__).parameters.values()
            parameters += [field for field in fields if field.name != "self"]
        else:
            parameters.append(parameter)
    names = [p.name for p in parameters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TypeError(f"{function.__qualname__} has several options of the name {twice[0]}")
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        given = _grouped(groups, kwargs, called=_called(function))
        if not takes_any and (unknown := [name for name in given if name not in names and name not in groups]):
            hint = nearest(unknown[0], names)
            raise TypeError(f"{_called(function)} got an unexpected keyword argument {unknown[0]!r}{hint}")
        return function(*args, **given)

    # catch-alls last, as Python has them
    parameters.sort(key=lambda p: p.kind)
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__doc__ = with_options_of(groups, function.__doc__)
    setattr(call, GROUPS, groups)
    return call


def with_options_of(groups: Mapping[str, type], doc: str | None) -> str | None:
    """A docstring in whose `Args:` each group is replaced by its options."""
    for name, group in groups.items():
        found = re.search(rf"^( +){name}: .*\n(?:\1 +.*\n)*", doc or "", re.MULTILINE)
        if doc is None or found is None:
            continue
        indent = found[1]
        lines = [f"{option}: {p.help}" for option, p in parameters_of(group).items()]
        filled = [textwrap.fill(line, 120, initial_indent=indent, subsequent_indent=f"{indent}    ") for line in lines]
        doc = doc[: found.start()] + "\n".join(filled) + "\n" + doc[found.end() :]
    return doc


def _called(function: Callable[..., Any]) -> str:
    return f"{function.__qualname__.removesuffix('.__init__')}()"


def _grouped(groups: Mapping[str, type], kwargs: Mapping[str, Any], *, called: str) -> dict[str, Any]:
    """Keyword arguments with each group made of its fields; a group that is given stays as it is."""
    given = dict(kwargs)
    for name, group in groups.items():
        fields = [field.name for field in dataclasses.fields(group)]
        # an option may have its group's name
        whole = (
            given.pop(name) if name in given and (name not in fields or is_option_group(type(given[name]))) else None
        )
        own = {field: given.pop(field) for field in fields if field in given}
        if whole is not None and own:
            raise TypeError(f"{called} takes {next(iter(own))} by itself or in {name}, not both")
        if whole is not None and not isinstance(whole, group):
            raise TypeError(f"{called} takes {name} as {group.__name__}, got {type(whole).__name__}")
        given[name] = group(**own) if whole is None else whole
    return given


def groups_of(function: Callable[..., Any]) -> Mapping[str, type]:
    """The groups of options that a function's `flat_options` were made of, by the parameters' names."""
    groups: Mapping[str, type] = getattr(function, GROUPS, {})
    return groups


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
