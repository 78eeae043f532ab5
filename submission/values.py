"""What a setting's value may be: stated beside its default, checked where it is bound.

A setting's annotation is its type and, by `Annotated`, its range and what it has an effect with:
`share: Annotated[float, Interval(gt=0, le=1), Needs("scoring.every")] = 0.1`.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

import gin

# Of numpy's RandomState.
LAST_SEED = 2**32 - 1

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text in quotation marks",
    NoneType: "None",
}


class Condition(Protocol):
    """What a value must meet beyond its type."""

    def holds(self, value: Any) -> bool:
        """Whether a value of the right type meets it."""

    def describe(self, kind: str) -> str:
        """What is right, in words, from those for the type."""


@dataclass(frozen=True)
class Interval:
    """The numbers between two bounds.

    Attributes:
        ge: The lowest one, which belongs to them.
        gt: The lowest one, which doesn't.
        le: The highest one, which belongs to them.
        lt: The highest one, which doesn't.
    """

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def holds(self, value: float) -> bool:
        """See `Condition`."""
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def describe(self, kind: str) -> str:
        """See `Condition`.

        Example:
            >>> Interval(gt=0, le=1).describe("a number")
            'a number, above 0, at most 1'
        """
        bounds = (
            None if self.ge is None else f"{self.ge:,} or more",
            None if self.gt is None else f"above {self.gt:,}",
            None if self.le is None else f"at most {self.le:,}",
            None if self.lt is None else f"below {self.lt:,}",
        )
        return ", ".join((kind, *filter(None, bounds)))


@dataclass(frozen=True)
class Example:
    """Tells several values by an example.

    Attributes:
        words: The example.
        may_be_empty: Whether there may be none.
    """

    words: str
    may_be_empty: bool = True

    def holds(self, value: Collection[Any]) -> bool:
        """See `Condition`."""
        return self.may_be_empty or len(value) > 0

    def describe(self, kind: str) -> str:
        """See `Condition`."""
        return self.words


@dataclass(frozen=True)
class Needs:
    """Says that a setting has an effect only where another one is set.

    Attributes:
        setting: The other one, as `configurable.parameter`; None, 0 and () count as not set.
    """

    setting: str


@dataclass(frozen=True)
class Unless:
    """Says that a setting has no effect where another one is set.

    Attributes:
        setting: The other one, as `configurable.parameter`; None, 0 and () count as not set.
    """

    setting: str


Seed = Annotated[int, Interval(ge=0, le=LAST_SEED)]
Width = Annotated[float, Interval(gt=0, le=16)]
Share = Annotated[float, Interval(gt=0, le=1)]


def fits(value: Any, kind: Any) -> bool:
    """Whether a value, as gin reads it, is what an annotation says.

    A whole number passes for a real one, a list for a tuple; True and False are no numbers, and
    neither is NaN nor infinity.

    Args:
        value: The value.
        kind: The annotation.

    Example:
        >>> fits(0.5, Share), fits(1.5, Share), fits("half", Share)
        (True, False, False)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, parts[0]) and all(one.holds(value) for one in conditions(kind))
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        kinds = len(value) * parts[:1] if parts[1:] == (Ellipsis,) else parts
        return len(value) == len(kinds) and all(map(fits, value, kinds))
    if origin is Mapping:
        return isinstance(value, dict) and all(
            fits(key, parts[0]) and fits(one, parts[1]) for key, one in value.items()
        )
    if kind is float:
        largest = sys.float_info.max
        return type(value) in (int, float) and -largest <= value <= largest
    if kind in _WORDS:
        return type(value) is kind
    return isinstance(value, gin.config.ConfigurableReference) and makes(
        value.configurable.fn_or_cls, kind
    )


def makes(configurable: Any, kind: Any) -> bool:
    """Whether a function or class gives what a `Callable[..., result]` does."""
    if get_origin(kind) in (Union, UnionType):
        return any(makes(configurable, part) for part in get_args(kind))
    if get_origin(kind) is Annotated:
        return makes(configurable, get_args(kind)[0])
    if get_origin(kind) is not Callable:
        return False
    result = get_args(kind)[1]
    return result in (configurable, inspect.signature(configurable).return_annotation)


def conditions(kind: Any) -> list[Condition]:
    """What an annotation asks of a value beyond its type."""
    return [one for one in getattr(kind, "__metadata__", ()) if not isinstance(one, Needs | Unless)]


def describe(kind: Any) -> str:
    """What an annotation says, in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        words = describe(parts[0])
        for one in conditions(kind):
            words = one.describe(words)
        return words
    if origin in (Union, UnionType):
        return " or ".join(map(describe, parts))
    if origin is tuple:
        if parts[1:] == (Ellipsis,):
            return f"a tuple, of which each is {describe(parts[0])}"
        return f"a tuple of {len(parts)}: {'; '.join(map(describe, parts))}"
    return _WORDS.get(kind, "the name of a function of its kind, with @ before it")
