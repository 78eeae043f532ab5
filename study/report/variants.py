"""Do the variants change anything? Each against the study's first, held against the seeds."""

import math
from collections.abc import Sequence

import pandas as pd
from scipy import stats

from evaluator.intervals import CONFIDENCE


def differences(scores: pd.DataFrame, first: str, quantities: Sequence[str]) -> pd.DataFrame:
    """What each variant changes in a method: the difference of the means over seeds.

    Where two variants of a seed start from the same pre-trained weights, their runs resemble each
    other more than the interval assumes, which then is rather too wide.

    Args:
        scores: One row a run: `method`, `variant`, `label` and the quantities.
        first: The variant that the others are held against. Methods that lack it are left out.
        quantities: Names of columns, such as the metrics.

    Returns:
        One row for each other variant of a method and quantity: `method`, `variant`, `label`,
        `quantity`, `runs` and `first_runs` that have it, `difference`, and the `half_width` of its
        95% interval; NaN where either has under two runs.
    """
    rows = []
    for method, own in scores.groupby("method", sort=False):
        standard = own[own["variant"] == first]
        if standard.empty:
            continue
        for variant, changed in own[own["variant"] != first].groupby("variant", sort=False):
            label = changed["label"].iloc[0]
            for name in quantities:
                new, old = (runs[name].dropna().astype(float) for runs in (changed, standard))
                difference = new.mean() - old.mean()
                counts = (len(new), len(old))
                rows.append((method, variant, label, name, *counts, difference, _half(new, old)))
    return pd.DataFrame(
        rows,
        columns=[
            *("method", "variant", "label", "quantity", "runs", "first_runs"),
            *("difference", "half_width"),
        ],
    )


def beyond_seeds(differences: pd.DataFrame) -> pd.Series:
    """Whether the interval of each row leaves out 0; never of a row without one."""
    return differences["difference"].abs() > differences["half_width"]


def _half(first: pd.Series, second: pd.Series) -> float:
    """Of Student's interval for two independent normal samples of equal variance."""
    if min(len(first), len(second)) < 2:
        return math.nan
    freedom = len(first) + len(second) - 2
    squares = sum(((values - values.mean()) ** 2).sum() for values in (first, second))
    deviation = math.sqrt(squares / freedom * (1 / len(first) + 1 / len(second)))
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * deviation)
