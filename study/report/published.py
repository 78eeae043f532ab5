"""The paper's Table 1 beside a study: its values, and what of the two can be compared."""

from dataclasses import dataclass

import pandas as pd

from evaluator.paper import METRIC_TITLES, TABLE_1
from study.report.results import Results
from study.report.wording import listed

NORMALISED_SUM = "normalised_sum"

_PAPER = {
    "Data set": "mpi3d_toy, 460,800 images",
    "Steps": "200,000",
    "Network width": "1",
    "Latents": "20",
    "Runs of each method": "1",
    "Preset": "paper",
    "Settings of its own": "none",
}
# More seeds only tell how sure a score is.
_OF_LEVEL = tuple(name for name in _PAPER if name != "Runs of each method")
# What a study may set without another level: when it looks, and how fast it trains.
_SPARING = (
    *("trainer.snapshot_every", "trainer.budget", "trainer.restarts", "trainer.log_every"),
    *("speed.", "scoring."),
)


def table_1() -> pd.DataFrame:
    """The values as printed.

    Returns:
        A row for each method; a column for each metric, and `NORMALISED_SUM`.
    """
    columns = [*METRIC_TITLES, NORMALISED_SUM]
    return pd.DataFrame.from_dict(TABLE_1, orient="index", columns=columns)


@dataclass(frozen=True)
class Comparison:
    """What a study did where the paper did the same or something else.

    Attributes:
        rows: A name, the study's value and the paper's.
        differing: The names in which they differ, of those that decide a score's level.
        statement: What is comparable, in plain sentences.
    """

    rows: list[tuple[str, str, str]]
    differing: list[str]
    statement: str


def compare(results: Results) -> Comparison:
    """Says what of a study's Table 1 can be held against the paper's."""
    records = [run.record for run in results.runs]
    seeds = sorted({sum(run.label == label for run in results.runs) for label in results.labels})
    here = {
        "Data set": _values(
            f"{run.record.get('dataset')}, {_count(run.provenance.get('images'))} images"
            for run in results.runs
        ),
        "Steps": _values(_count(run.steps) for run in results.runs),
        "Network width": _values(f"{record.get('width')}".removesuffix(".0") for record in records),
        "Latents": _values(f"{record.get('latents')}" for record in records),
        "Runs of each method": " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        if seeds
        else "0",
        "Preset": str(results.settings.get("preset", "unknown")),
        "Settings of its own": "; ".join(_own_settings(results)) or "none",
    }
    differing = [name for name in _OF_LEVEL if here[name] != _PAPER[name]]
    if differing:
        names = listed([name.lower() for name in differing])
        statement = (
            f"Not comparable: the level of any score, and so each difference shown here, since "
            f"the studies differ in {names}. Comparable with care: the order of the methods."
        )
    else:
        statement = (
            "Comparable: the levels, as far as the paper tells its settings; its values are "
            "single runs, so a difference within this study's interval is no disagreement."
        )
    return Comparison(
        rows=[(name, here[name], _PAPER[name]) for name in _PAPER],
        differing=differing,
        statement=statement,
    )


def _own_settings(results: Results) -> list[str]:
    """What the study sets beside its preset and that may change a score's level."""
    study = results.settings
    variants = study.get("variants")
    of_variants = variants.values() if isinstance(variants, dict) else ()
    lists = [study.get("settings"), study.get("evaluation"), *of_variants]
    every = [str(one) for many in lists if isinstance(many, list) for one in many]
    return [one for one in every if not one.startswith(_SPARING)]


def _values(values: object) -> str:
    return "; ".join(dict.fromkeys(values))  # type: ignore[call-overload]


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number of"
