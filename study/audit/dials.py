"""What a study's page shows behind a metric's name: its verdicts, and its scores by dial."""

from typing import Any

import pandas as pd

from evaluator.metrics import ALL_METRICS
from study.audit import verdicts
from study.audit.families import FAMILIES, PROPERTIES, PROTOCOL
from study.audit.verdicts import Curve

_DIGITS = 4


def measured(dataset: str, scores: pd.DataFrame) -> dict[str, Any]:
    """Sums an audit up for `dials.json`, which `study.report.dials` reads.

    Args:
        dataset: The name of the data set.
        scores: What `running.read` gives.

    Returns:
        `dataset`; the `properties` and what they mean; the `families` that break them; and by
        metric its verdicts and mean scores. Dials of the protocol are left out.
    """
    curves = {
        (name, metric): curve
        for (name, metric), curve in verdicts.curves(scores).items()
        if FAMILIES[name].breaks != PROTOCOL and metric in ALL_METRICS
    }
    ranges = verdicts.ranges(scores)
    judged = {key: verdicts.judge(curve, ranges[key[1]].size) for key, curve in curves.items()}
    names = [name for name in ALL_METRICS if name in ranges]
    table = verdicts.table(judged, names)
    untrained = verdicts.untrained(scores)
    return {
        "dataset": dataset,
        "properties": {name: told for name, told in PROPERTIES.items() if name != PROTOCOL},
        "families": {
            name: {"title": family.title, "dial": family.dial, "breaks": family.breaks}
            for name, family in FAMILIES.items()
            if any(other == name for other, _ in curves)
        },
        "metrics": {
            metric: {
                "perfect": _rounded(ranges[metric].perfect),
                "noise": _rounded(ranges[metric].floor),
                "untrained": [_rounded(one) for one in untrained.get(metric, ())],
                "properties": {
                    broken: {"word": summary.word, "counts": summary.counts}
                    for broken, summary in table[metric].items()
                },
                "dials": {
                    name: {"verdict": verdict.kind} | _scores(verdict.curve)
                    for (name, other), verdict in judged.items()
                    if other == metric
                },
            }
            for metric in names
        },
    }


def _scores(curve: Curve) -> dict[str, Any]:
    """From perfect to spoilt; of a scale by its values, with the perfect one in the middle."""
    pairs = list(zip(curve.dials, curve.means, strict=True))
    if curve.family.start == 1:
        pairs.sort()
    return {
        "values": [value for value, _ in pairs],
        "scores": [_rounded(score) for _, score in pairs],
    }


def _rounded(score: float) -> float | None:
    """JSON has no NaN."""
    return None if pd.isna(score) else round(float(score), _DIGITS)
