"""Names and numbers as the report prints them."""

import math
from collections.abc import Sequence

from evaluator.paper import METRIC_TITLES

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

_FURTHER_TITLES = {
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "beta_vae": "BetaVAE",
}


def metric_title(name: str) -> str:
    """A metric, or another column of a table, such as `SAP` for `sap_score`."""
    return (METRIC_TITLES | _FURTHER_TITLES).get(name, name.replace("_", " ").capitalize())


def decimals(value: float, places: int = 3) -> str:
    """Such as `0.132`; a dash for NaN."""
    # Adding 0 turns the -0.0 that rounding leaves into 0.0.
    return NOTHING if math.isnan(value) else _minus(f"{round(value, places) + 0:.{places}f}")


def signed(value: float, places: int = 3) -> str:
    """Such as `+0.132`; a dash for NaN."""
    return NOTHING if math.isnan(value) else _minus(f"{round(value, places) + 0:+.{places}f}")


def interval(low: float, high: float, places: int = 2) -> str:
    """Such as `0.13 to 0.52`; a dash for NaN."""
    if math.isnan(low):
        return NOTHING
    return f"{decimals(low, places)} to {decimals(high, places)}"


def percent(value: float) -> str:
    """A share, such as `45%`; a dash for NaN."""
    return NOTHING if math.isnan(value) else f"{value:.0%}"


def counted(number: int, noun: str) -> str:
    """Such as `1 pair` or `2 pairs`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Sequence[str]) -> str:
    """Such as `DCI, SAP and MIG`.

    Example:
        >>> listed(["DCI", "SAP", "MIG"])
        'DCI, SAP and MIG'
    """
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _minus(text: str) -> str:
    return text.replace("-", MINUS)
