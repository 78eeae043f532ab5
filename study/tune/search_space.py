"""What a search may set a method's settings to: ranges written as gin writes values."""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from submission.errors import UserError, nearest

if TYPE_CHECKING:
    import optuna

KINDS = ("float", "log", "int", "choice")

_EXAMPLE = "write it as 'beta_vae.beta = log(0.5, 20)', with float, log, int or choice"
_SIGNIFICANT_DIGITS = 4

# The weights are those that Locatello et al. (2019) searched: the extremes of
# disentanglement_lib's `config/unsupervised_study_v1/sweep.py`, lowered where the paper's own value
# (Table 2) lies outside them. Each is a factor in the loss, hence the logarithm. So is the last
# capacity, theirs for the annealed VAE, since every method here has it (paper, Section 2.3).
_CAPACITY = "capacity.final = log(5.0, 100.0)"
DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "beta_vae": ("beta_vae.beta = log(1.0, 16.0)", _CAPACITY),
    "beta_tcvae": ("beta_tcvae.beta = log(1.0, 10.0)", _CAPACITY),
    # Theirs begins at 10; the paper's value is 2.
    "factor_vae": ("factor_vae.gamma = log(1.0, 100.0)", _CAPACITY),
    # Theirs ties lambda_d to lambda_od: 10 times as much for DIP-VAE-I, equal for DIP-VAE-II. The
    # paper takes 10 times for both, so they are searched apart.
    "dip_vae_i": (
        "dip_vae_i.lambda_od = log(1.0, 50.0)",
        "dip_vae_i.lambda_d = log(10.0, 500.0)",
        _CAPACITY,
    ),
    "dip_vae_ii": (
        "dip_vae_ii.lambda_od = log(1.0, 50.0)",
        "dip_vae_ii.lambda_d = log(1.0, 50.0)",
        _CAPACITY,
    ),
    # Not among theirs: two decades around the 1000 of Zhao et al. (2017), which is the paper's.
    "info_vae": ("info_vae.lambda_ = log(100.0, 10000.0)", _CAPACITY),
}


@dataclass(frozen=True)
class Range:
    """What one setting may be.

    Attributes:
        setting: `configurable.parameter`.
        kind: One of `KINDS`: uniform, uniform in the logarithm, whole numbers, or one of a list.
        values: The two bounds, both included; of a choice, everything there is to choose from.
    """

    setting: str
    kind: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        """As it is written, in one way only: two equal ranges give equal texts."""
        return f"{self.setting} = {self.kind}({', '.join(map(repr, self.values))})"

    def suggest(self, trial: "optuna.Trial") -> Any:
        """Lets a sampler choose a value.

        Args:
            trial: Gets the value; one that has it already is asked for no other.

        Returns:
            The value; a real number with four digits, since a setting's fifth tells nothing.
        """
        if self.kind == "choice":
            return trial.suggest_categorical(self.setting, self.values)
        low, high = self.values
        if self.kind == "int":
            return trial.suggest_int(self.setting, low, high)
        value = trial.suggest_float(self.setting, low, high, log=self.kind == "log")
        return min(high, max(low, float(f"{value:.{_SIGNIFICANT_DIGITS}g}")))


def parse(text: str) -> Range:
    """Reads a range.

    Args:
        text: Such as `beta_vae.beta = log(0.5, 20)` or `network.latents = choice(6, 10, 20)`.

    Returns:
        The range. Whether there is such a setting, `check` tells.

    Raises:
        UserError: It is written in another way, or holds no two different values.
    """
    setting, _, right = text.partition("=")
    try:
        call = ast.parse(right.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.keywords:
            raise ValueError
        kind = call.func.id
        values = tuple(ast.literal_eval(argument) for argument in call.args)
    except (SyntaxError, ValueError):
        raise UserError(f"--search {text!r}: {_EXAMPLE}") from None
    if not setting.strip() or kind not in KINDS:
        raise UserError(f"--search {text!r}: {_EXAMPLE}")
    if kind == "choice":
        _check_choices(text, values)
    else:
        values = _checked_bounds(text, kind, values)
    return Range(setting.strip(), kind, values)


def _check_choices(text: str, values: tuple[Any, ...]) -> None:
    plain = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    if not plain or len(set(map(repr, values))) < max(2, len(values)):
        raise UserError(
            f"--search {text!r}: choice takes two or more different numbers, texts, True, False "
            "or None"
        )


def _checked_bounds(text: str, kind: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    wanted = int if kind == "int" else int | float
    if (
        len(values) != 2
        or any(isinstance(value, bool) or not isinstance(value, wanted) for value in values)
        or not all(map(math.isfinite, values))
        or values[0] >= values[1]
    ):
        numbers = "whole numbers" if kind == "int" else "numbers"
        raise UserError(f"--search {text!r}: {kind} takes two {numbers}, the lower one first")
    if kind == "log" and values[0] <= 0:
        raise UserError(f"--search {text!r}: log takes numbers above 0")
    return values if kind == "int" else tuple(map(float, values))


def check(space: Sequence[Range], fixed: Sequence[str]) -> None:
    """Holds ranges against what can be set, once gin is configured for the method.

    Args:
        space: The ranges.
        fixed: Settings whose values the search needs for itself.

    Raises:
        UserError: A setting that there isn't (the line names the nearest), that is named twice,
            that must stay as it is or that the method doesn't read; values that it can't have.
    """
    from submission.configuration import settings, value_of, why_unread
    from submission.values import describe, fits

    valid = {name: one for name, one in settings().items() if not name.startswith("study.")}
    seen = set()
    for one in space:
        if one.setting not in valid:
            raise UserError(
                f"--search: unknown setting {one.setting}: {nearest(one.setting, valid)}"
            )
        if one.setting in seen:
            raise UserError(f"--search: {one.setting} is given twice")
        if one.setting in fixed:
            raise UserError(f"--search: {one.setting} is no setting to search: it is fixed")
        reason = why_unread(one.setting)
        if reason is not None:
            raise UserError(f"--search: {one.setting} has no effect {reason}")
        seen.add(one.setting)
        if isinstance(value_of(one.setting), int) and one.kind in ("float", "log"):
            raise UserError(f"--search '{one}': {one.setting} is a whole number: use int or choice")
        kind = valid[one.setting].annotation
        for value in one.values:
            if not fits(value, kind):
                raise UserError(f"--search '{one}': {one.setting} is {describe(kind)}")
