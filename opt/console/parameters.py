"""Options of a callable: names, types, limits, defaults and help, from its signature and its docstring.

A limit is an annotation, `epochs: Annotated[int, Range(1, 10_000)] = 14`. The command line reads it here and shows it
in `--help`; from Python a function that is `checked` refuses a number outside before its body runs.
"""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin
from weakref import WeakKeyDictionary

from opt.console.errors import UsageError
from opt.console.ranges import Range

P = ParamSpec("P")
R = TypeVar("R")
REQUIRED = inspect.Parameter.empty
"""The default of a parameter that has none."""
GROUPS = "__option_groups__"
"""Attribute of a function whose groups of options were flattened: the groups by the parameters' names."""
_BY_NAME = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class ArgumentsOf:
    """Annotation of an option that names a function: the function's own arguments become options beside it.

    Args:
        find: `(the option's value) -> the function`, or None where it names something else; raises UsageError where
            there is none.
        into: Name of the option that takes the arguments as a mapping.
    """

    find: Callable[[str], Callable[..., Any] | None]
    into: str


@dataclass(frozen=True)
class Parameter:
    """One option that a user may set by its name.

    Args:
        name: The name, as in Python.
        kind: The type, without limits; Any where the annotation is missing or cannot be resolved.
        limits: The numbers that it takes, or None.
        default: The default, or `REQUIRED`.
        help: What it is, from the docstring.
        arguments: Where it names a function, how that is found; else None.
    """

    name: str
    kind: Any = Any
    limits: Range | None = None
    default: Any = REQUIRED
    help: str = ""
    arguments: ArgumentsOf | None = None

    def check(self, value: Any, *, name: str | None = None) -> None:
        """Refuse a number outside the limits, and where there are limits, what is no number; None is a default.

        Args:
            value: What was given.
            name: What messages call the parameter; its name where None.

        Raises:
            UsageError: With the name, what was expected, and what came.
        """
        if self.limits is None or value is None:
            return
        called = name or self.name
        is_whole = self.kind is int or (int in get_args(self.kind) and float not in get_args(self.kind))
        if isinstance(value, bool) or not isinstance(value, Integral if is_whole else Real):
            raise UsageError(f"{called} must be {'a whole number' if is_whole else 'a number'}, got {value!r:.60}")
        self.limits.check(called, int(value) if isinstance(value, Integral) else float(value))


_OF_CLASSES: WeakKeyDictionary[type, dict[str, Parameter]] = WeakKeyDictionary()


def parameters_of(target: Callable[..., Any], *, is_keyword_only: bool = False) -> dict[str, Parameter]:
    """The parameters that a user may set by name, in order; `self` and catch-alls are left out.

    Args:
        target: A function or a class, whose constructor is read; help is in the docstring of either.
        is_keyword_only: Whether only those count that must be given by name.
    """
    if not isinstance(target, type) or is_keyword_only:
        return _parameters_of(target, is_keyword_only)
    # a study asks for every setting, and parsing a docstring takes a millisecond
    if target not in _OF_CLASSES:
        _OF_CLASSES[target] = _parameters_of(target, is_keyword_only)
    return dict(_OF_CLASSES[target])


def _parameters_of(target: Callable[..., Any], is_keyword_only: bool) -> dict[str, Parameter]:
    function = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    groups: Mapping[str, type] = getattr(function, GROUPS, {})
    # a group may have the name of one of its options, whose help is in the group's docstring
    own = {name: text for name, text in _helps_of(target).items() if name not in groups}
    helps = {name: text for group in groups.values() for name, text in _helps_of(group).items()} | own
    return {
        name: _parameter(name, parameter.annotation, parameter.default, helps.get(name, ""))
        for name, parameter in evaluated_signature(function).parameters.items()
        if parameter.kind in _BY_NAME[: 1 if is_keyword_only else 2] and name != "self"
    }


def _parameter(name: str, annotation: Any, default: Any, help: str) -> Parameter:
    # an annotation that cannot be resolved, or none, takes anything
    unknown = annotation is REQUIRED or isinstance(annotation, str)
    bare = Any if unknown else _bare(annotation)
    return Parameter(name, bare, _limits_in(annotation), default, help, _arguments_in(annotation))


def _arguments_in(annotation: Any) -> ArgumentsOf | None:
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((note for note in notes if isinstance(note, ArgumentsOf)), None)


def evaluated_signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature with annotations as objects; one that cannot be resolved here and now stays a text."""
    signature = inspect.signature(function)
    names = getattr(inspect.unwrap(function), "__globals__", {})
    return signature.replace(
        parameters=[p.replace(annotation=_resolved(p.annotation, names)) for p in signature.parameters.values()]
    )


def _resolved(annotation: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(names))  # as typing.get_type_hints does, but one by one
    except Exception:  # a name of TYPE_CHECKING or of a function around: anything is taken
        return annotation


def _bare(annotation: Any) -> Any:
    """A type without its limits."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType) and _limits_in(annotation) is not None:
        return functools.reduce(operator.or_, map(_bare, get_args(annotation)))
    return annotation


def _limits_in(annotation: Any) -> Range | None:
    """The limits in a type: its own, or those of a part of `X | None`."""
    if get_origin(annotation) is Annotated:
        first, *notes = get_args(annotation)
        return next((note for note in notes if isinstance(note, Range)), None) or _limits_in(first)
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(_limits_in, get_args(annotation))), None)
    return None


def _helps_of(target: Callable[..., Any]) -> dict[str, str]:
    """What docstrings say of each parameter; a class's own goes before its bases'."""
    from docstring_parser import parse as parse_docstring  # only help needs it

    documented = [target]
    if isinstance(target, type):
        documented = [part for cls in reversed(target.__mro__) for part in (vars(cls).get("__init__"), cls) if part]
    texts = [text for part in documented if "Args:" in (text := getattr(part, "__doc__", None) or "")]
    return {p.arg_name: " ".join((p.description or "").split()) for text in texts for p in parse_docstring(text).params}


# -- from Python ------------------------------------------------------------------------------------


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, which refuses numbers outside its parameters' limits before its body runs.

    Raises:
        UsageError: When called, with the parameter's name, what was expected, and the number.
    """
    limited: dict[str, Parameter] | None = None
    positional: list[str] = []

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal limited
        if limited is None:  # at the first call, when every name of the module is there
            limited = {name: p for name, p in parameters_of(function).items() if p.limits is not None}
            positional.extend(inspect.signature(function).parameters)
        if limited:
            for name, value in _named(positional, args, kwargs):
                if name in limited:
                    limited[name].check(value)
        return function(*args, **kwargs)

    return call


def _named(positional: list[str], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from zip(positional, args, strict=False)
    yield from kwargs.items()
