"""What a score is worth nothing below: the baselines' scores, as other pages read them."""

from typing import Any

import pandas as pd

from study.audit.baselines import BASELINES
from study.audit.cases import Audit


def bands(scores: pd.DataFrame, audit: Audit) -> dict[str, Any]:
    """The lowest and the highest score of any baseline and seed, by metric and latents.

    Args:
        scores: What `running.read` gives.
        audit: Whose scores they are.

    Returns:
        `dataset`, `samples`, and `metrics`: by name, then by the number of latents as text, the
        two scores.
    """
    own = scores[scores["group"].isin(BASELINES)].dropna(subset=["score"])
    found = own.groupby(["metric", "dial"], sort=False)["score"].agg(["min", "max"])
    metrics: dict[str, dict[str, list[float]]] = {}
    for (metric, latents), row in found.iterrows():
        metrics.setdefault(str(metric), {})[f"{latents:g}"] = [row["min"], row["max"]]
    return {"dataset": audit.dataset, "samples": audit.sizes.samples, "metrics": metrics}
