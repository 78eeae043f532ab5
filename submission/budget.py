"""The wall-clock budget: how long a run may take, and what fits in."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import gin

from submission.errors import UserError
from submission.values import Interval, Needs, Width

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_RIGHT = "a duration such as 8h, 1h30m, 5m or 90s"
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str, setting: str, above_zero: bool = False) -> float:
    """Seconds in `8h`, `1h30m`, `5m`, `90s` or `90`.

    Args:
        text: The duration.
        setting: Its name, for the error.
        above_zero: Whether no time at all is too short.

    Raises:
        UserError: The text is no duration.

    Example:
        >>> parse_duration("1h30m", "--budget")
        5400.0
    """
    seconds = _seconds(text)
    if seconds is None or (above_zero and seconds == 0):
        wanted = f"{_RIGHT}, above 0" if above_zero else _RIGHT
        raise UserError(f"{setting} is {text!r}: give {wanted}")
    return seconds


def _seconds(text: str) -> float | None:
    """None if the text is no duration, or longer than a number can say."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        return None
    seconds = sum(
        float(part) * unit
        for part, unit in zip(match.groups(), _UNITS.values(), strict=True)
        if part
    )
    return seconds if math.isfinite(seconds) else None


@dataclass(frozen=True)
class Duration:
    """The texts that `parse_duration` reads (`submission.values.Condition`).

    Attributes:
        above_zero: Whether no time at all is too short.
    """

    above_zero: bool = False

    def holds(self, value: str) -> bool:
        """See `Condition`."""
        seconds = _seconds(value)
        return seconds is not None and (seconds > 0 or not self.above_zero)

    def describe(self, kind: str) -> str:
        """See `Condition`."""
        return f"{_RIGHT}{', above 0' if self.above_zero else ''}, in quotation marks"


def format_duration(seconds: float) -> str:
    """A duration as a person says it: `1h02m`, `4m05s`, `7s`.

    Example:
        >>> format_duration(245)
        '4m05s'
    """
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole}s"


class Budget:
    """The seconds of a run, counted over all the processes that worked on it.

    A part is held back for the last export and as a safety margin; `left` is what training may
    still use.

    Args:
        seconds: The whole budget.
        started: `time.monotonic()` at the start of this process.
        spent_before: Seconds that earlier, killed processes spent on the same run.
    """

    # The portal kills a run that is late, so the margin grows with the budget but never takes
    # more than a tenth of a short one.
    MARGIN_SHARE = 0.01
    MARGIN_SECONDS = 3.0

    def __init__(self, seconds: float, started: float, spent_before: float = 0.0) -> None:
        self.seconds = seconds
        self.started = started
        self.spent_before = spent_before
        self.export_seconds = 0.0

    @property
    def spent(self) -> float:
        """Seconds used so far."""
        return self.spent_before + time.monotonic() - self.started

    @property
    def reserve(self) -> float:
        """Seconds held back: two exports as slow as the slowest seen, and the margin."""
        margin = max(self.MARGIN_SHARE * self.seconds, min(self.MARGIN_SECONDS, 0.1 * self.seconds))
        return margin + 2.0 * self.export_seconds

    @property
    def left(self) -> float:
        """Seconds that training may still use; negative when it is late."""
        return self.seconds - self.reserve - self.spent


def affordable_steps(seconds_left: float, seconds_per_step: float, most: int) -> int:
    """Steps that fit into the seconds left, at most `most`, at least 0.

    Example:
        >>> affordable_steps(60.0, seconds_per_step=0.25, most=100_000)
        240
    """
    return max(0, min(most, int(seconds_left / seconds_per_step)))


@gin.configurable("width")
def choose_width(
    measure: Callable[[float], float],
    seconds_left: Callable[[], float],
    candidates: tuple[Width, ...] = (),
    wanted_steps: Annotated[int, Interval(ge=1, le=10**9), Needs("width.candidates")] = 3000,
) -> float | None:
    """The widest network that still affords the wanted number of steps.

    Args:
        measure: Seconds a step takes at a given width.
        seconds_left: Gives the seconds for training, as of when it is called.
        candidates: Widths, in any order; none leaves `network.width` alone.
        wanted_steps: Steps that the run should have.

    Returns:
        A width, the narrowest if none affords the steps; None without candidates.
    """
    widest_first = sorted(candidates, reverse=True)
    for width in widest_first[:-1]:
        seconds_per_step = measure(width)
        if affordable_steps(seconds_left(), seconds_per_step, wanted_steps) >= wanted_steps:
            return width
    return widest_first[-1] if widest_first else None
