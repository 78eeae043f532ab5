"""Writes an audit's page, and its tables and pictures as files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from evaluator.assignment import assign, information, sentence
from evaluator.metrics import ALL_METRICS, METRICS
from evaluator.paper import METHOD_TITLES, TABLE_1
from evaluator.report.template import environment as template_environment
from study.audit import charts, closed_forms, dials, running, verdicts
from study.audit.bands import bands
from study.audit.baselines import BASELINES
from study.audit.cases import DIALS, UDR, Audit
from study.audit.families import FAMILIES, INVARIANCE, PROPERTIES, PROTOCOL, Family
from study.audit.grid import Grid, factors_of, grid_of
from study.audit.verdicts import Curve, Summary, Verdict
from study.report import figures, wording
from study.report.figures import Panel
from submission.errors import UserError
from submission.runs.files import write_bytes, write_json, write_text

TITLES = {name: metric.title for name, metric in ALL_METRICS.items()} | {UDR: "UDR"}

_CARBONNEAU = (
    ("5.2, perfect with noise", "drowned"),
    ("5.3, less compact and modular", "blended"),
    ("5.4, modular, not compact: cosine and sine", "circled"),
    ("5.4, modular, not compact: copies", "copied"),
    ("5.5, nonlinear", "bent"),
    ("5.6, factors that are not measured", "with_noise"),
)
# Short enough to stand beside a line's end.
_BASELINE_TITLES = {
    "constant": "Constant",
    "noise": "Noise",
    "untrained": "Untrained",
    "projected": "Projections",
    "principal": "PCA",
}
# The most rows that what latents tell is found in.
_INFORMED = 20_000
_SAMPLES = ("samples", "samples_of_noise")
_SHOWN_SAMPLES = (100, 1_000, 10_000)


@dataclass(frozen=True)
class _Section:
    """A family on the page.

    Attributes:
        family: The family.
        meaning: What it does, of its docstring.
        panels: Its charts.
        verdicts: One for each metric.
    """

    family: Family
    meaning: str
    panels: list[Panel]
    verdicts: list[Verdict]


@dataclass(frozen=True)
class _Placed:
    """A score of a method, and where it stands on the dials.

    Attributes:
        method: The method.
        whose: The paper or this study.
        metric: The metric's name.
        score: The score.
        places: A dial's value by the family's name; None where the dial has no such score.
        of_nothing: Whether some baseline scores as much.
    """

    method: str
    whose: str
    metric: str
    score: float
    places: Mapping[str, float | None]
    of_nothing: bool


def write(audit: Audit, folder: Path, table1: pd.DataFrame | None = None) -> Path:
    """Writes `audit.html` and what stands beside it from the scores of an audit.

    The same scores give the same files, to the byte.

    Args:
        audit: The audit.
        folder: Holds `scores/`; gets `audit.html`, `scores.csv`, `verdicts.csv`, `baselines.json`,
            `dials.json` and `figures/`.
        table1: What `read_table1` gives: its scores are placed on the dials beside the paper's.

    Returns:
        The page's path.

    Raises:
        UserError: The folder can't be written.
    """
    grid = grid_of(audit.images)
    scores = running.read(audit, folder / "scores")
    curves = verdicts.curves(scores)
    ranges = verdicts.ranges(scores)
    judged = {key: verdicts.judge(curve, ranges[key[1]].size) for key, curve in curves.items()}
    names = [name for name in TITLES if name in set(scores["metric"])]
    table = verdicts.table(judged, names)
    sections = _sections(audit, grid, curves, judged)
    baselines = _baseline_panels(scores, names)
    band = bands(scores, audit)
    placed = _placed(curves, table1, band)

    write_text(folder / "scores.csv", scores.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "verdicts.csv", _rows(judged).to_csv(index=False, lineterminator="\n"))
    write_json(folder / "baselines.json", band)
    write_json(folder / "dials.json", dials.measured(audit.dataset, scores))
    for name, section in sections.items():
        write_bytes(folder / "figures" / f"{name}.png", figures.png(section.panels))
    write_bytes(folder / "figures" / "baselines.png", figures.png(baselines))
    page = _template().render(
        title=f"What the metrics measure: an audit on {audit.dataset}",
        audit=audit,
        facts=_facts(audit, grid, scores),
        metrics=names,
        challenge=[name for name in names if name in METRICS],
        titles=TITLES,
        table=table,
        ranges=ranges,
        monotone={name: _monotone(summaries) for name, summaries in table.items()},
        untrained=verdicts.untrained(scores),
        properties=PROPERTIES,
        sections=sections,
        claims={name: _claims(name, judged) for name in names},
        baseline_titles=[
            (short, BASELINES[name].title) for name, short in _BASELINE_TITLES.items()
        ],
        baselines=[
            (panel, figures.svg(panel, f"baselines-{place}"))
            for place, panel in enumerate(baselines)
        ],
        placed=_by_method(placed),
        sentences=_placed_sentences(placed),
        dials={name: FAMILIES[name] for name in DIALS},
        carbonneau=[
            (experiment, name, {metric: judged.get((name, metric)) for metric in names})
            for experiment, name in _CARBONNEAU
        ],
        samples=_sample_rows(curves, names),
        shown_samples=_SHOWN_SAMPLES,
        checks=closed_forms.check(closed_forms.closed_forms(grid), scores)
        if audit.preset == "challenge"
        else [],
        noticed=verdicts.NOTICED,
        wrong_step=verdicts.WRONG_STEP,
        floor_latents=verdicts.FLOOR_LATENTS,
        light=figures.LIGHT,
        dark=figures.DARK,
    )
    path = folder / "audit.html"
    write_text(path, page)
    return path


def read_table1(path: Path) -> pd.DataFrame:
    """Reads the mean scores of a study.

    Args:
        path: A `table1.csv` of `python -m study report`.

    Returns:
        Columns `label`, `metric` and `mean`.

    Raises:
        UserError: It is no such file.
    """
    try:
        return pd.read_csv(path)[["label", "metric", "mean"]].astype({"mean": float})
    except (OSError, ValueError, KeyError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{path} is no table1.csv of `python -m study report`: {reason}") from error


def _template() -> jinja2.Template:
    environment = template_environment(Path(__file__).parent)
    environment.globals |= {
        "decimals": wording.decimals,
        "signed": wording.signed,
        "svg": figures.svg,
        "number": _number,
    }
    environment.filters |= {
        "typographic": lambda text: text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}"),
    }
    return environment.get_template("page.html.jinja")


# --- Pictures -----------------------------------------------------------------------------------


def _sections(
    audit: Audit,
    grid: Grid,
    curves: Mapping[tuple[str, str], Curve],
    judged: Mapping[tuple[str, str], Verdict],
) -> dict[str, _Section]:
    sections = {}
    for name, family in FAMILIES.items():
        own = {metric: curve for (group, metric), curve in curves.items() if group == name}
        if not own:
            continue
        panels = []
        for title, members in (
            ("The challenge's metrics", [metric for metric in own if metric in METRICS]),
            ("Further metrics", [metric for metric in own if metric not in METRICS]),
        ):
            if members:
                panels.append(charts.dial([own[one] for one in members], TITLES, title))
        if family.bind is None and not family.coupled:
            panels.append(_told(audit, grid, name))
        meaning = str(family.build.__doc__).strip()
        sections[name] = _Section(family, meaning, panels, [judged[name, metric] for metric in own])
    return sections


def _told(audit: Audit, grid: Grid, name: str) -> Panel:
    """What each latent tells of each factor at the end of a family's dial."""
    last = [case for case in audit.cases(name) if case.seed == 0][-1]
    table = next(table for case, _, table in audit.tables(name) if case == last)
    factors = factors_of(grid)
    rows = np.random.RandomState(0).permutation(len(table))[:_INFORMED]
    matrix = information(table[rows], factors[rows])
    told = sentence(assign(matrix), grid.factor_names)
    return charts.information(
        matrix,
        grid.factor_names,
        f"Latents and factors at {_number(last.dial)}",
        f"{FAMILIES[name].title}, at {_number(last.dial)}: {told}.",
    )


def _baseline_panels(scores: pd.DataFrame, names: Sequence[str]) -> list[Panel]:
    own = scores[scores["group"].isin(BASELINES)]
    return [
        charts.baseline(own[own["metric"] == name], _BASELINE_TITLES, TITLES[name])
        for name in names
        if own.loc[own["metric"] == name, "score"].notna().any()
    ]


# --- Tables -------------------------------------------------------------------------------------


def _rows(judged: Mapping[tuple[str, str], Verdict]) -> pd.DataFrame:
    """Every verdict, a row each."""
    return pd.DataFrame(
        [
            (
                metric,
                name,
                FAMILIES[name].breaks,
                one.kind,
                one.change,
                one.half_width,
                one.at,
                one.start,
                one.end,
                one.monotone,
            )
            for (name, metric), one in judged.items()
        ],
        columns=[
            *("metric", "family", "breaks", "verdict", "change", "half_width", "at"),
            *("score_at_start", "score", "monotone"),
        ],
    )


def _claims(metric: str, judged: Mapping[tuple[str, str], Verdict]) -> list[tuple[str, str]]:
    """What a metric does that one would not expect: the family to look at, and a sentence."""
    told = []
    for (name, other), one in judged.items():
        breaks = FAMILIES[name].breaks
        if other != metric or breaks == PROTOCOL:
            continue
        expected = verdicts.STAYS if breaks == INVARIANCE else verdicts.FALLS
        if one.kind in (expected, verdicts.OPEN, verdicts.NOTHING):
            continue
        start, end = wording.decimals(one.start, 2), wording.decimals(one.end, 2)
        numbers = f"at {end}" if one.kind == verdicts.STAYS else f"from {start} to {end}"
        told.append((name, f"{FAMILIES[name].title}: {one.kind} {numbers}"))
    return told


def _monotone(summaries: Mapping[str, Summary]) -> tuple[int, int]:
    """Along how many of the dials that break a property a metric is monotone."""
    judged = [
        verdict
        for broken, summary in summaries.items()
        for verdict in summary.verdicts
        if broken != INVARIANCE and verdict.kind != verdicts.NOTHING
    ]
    return sum(verdict.monotone for verdict in judged), len(judged)


def _sample_rows(
    curves: Mapping[tuple[str, str], Curve], names: Sequence[str]
) -> list[tuple[str, list[tuple[float, float] | None]]]:
    """Bias and spread of each metric, for both families of samples."""
    rows = []
    for metric in names:
        cells: list[tuple[float, float] | None] = []
        for family in _SAMPLES:
            curve = curves.get((family, metric))
            known = {n: cell for n, *cell in verdicts.bias_and_spread(curve)} if curve else {}
            cells += [(known[n][0], known[n][1]) if n in known else None for n in _SHOWN_SAMPLES]
        if any(cells):
            rows.append((metric, cells))
    return rows


def _facts(audit: Audit, grid: Grid, scores: pd.DataFrame) -> list[tuple[str, str]]:
    cases = scores[["group", "dial", "seed"]].drop_duplicates()
    return [
        ("Representations", f"{len(cases):,}"),
        ("Dials", str(len(FAMILIES) - 1)),
        ("Metrics", str(scores["metric"].nunique())),
        ("Seeds", str(audit.sizes.seeds)),
        ("Factors", " \N{MULTIPLICATION SIGN} ".join(map(str, grid.factor_sizes))),
        ("Samples", f"{audit.sizes.samples:,}"),
    ]


# --- Where the methods stand --------------------------------------------------------------------


def _placed(
    curves: Mapping[tuple[str, str], Curve], own: pd.DataFrame | None, band: Mapping[str, Any]
) -> list[_Placed]:
    """The paper's scores of each method, and this study's, on the dials."""
    given = [
        (METHOD_TITLES[method], "the paper", metric, score)
        for method, row in TABLE_1.items()
        for metric, score in zip(METRICS, row, strict=False)
    ]
    if own is not None:
        given += [
            (str(row.label), "this study", str(row.metric), float(row.mean))
            for row in own.itertuples()
            if row.metric in METRICS
        ]
    found = []
    for method, whose, metric, score in given:
        on = {name: curves[name, metric] for name in DIALS if (name, metric) in curves}
        if on:
            places = {
                name: verdicts.place(on[name], score) if name in on else None for name in DIALS
            }
            worth = band["metrics"].get(metric, {})
            nothing = bool(worth) and score <= max(high for _, high in worth.values())
            found.append(_Placed(method, whose, metric, score, places, nothing))
    return found


def _by_method(placed: Sequence[_Placed]) -> dict[tuple[str, str], dict[str, _Placed]]:
    """By whose and which method, in order, and then by metric."""
    found: dict[tuple[str, str], dict[str, _Placed]] = {}
    for one in placed:
        found.setdefault((one.whose, one.method), {})[one.metric] = one
    return found


def _placed_sentences(placed: Sequence[_Placed]) -> list[str]:
    """One for each of the paper's best scores."""
    told = []
    for metric in METRICS:
        own = [one for one in placed if one.metric == metric and one.whose == "the paper"]
        if not own:
            continue
        best = max(own, key=lambda one: one.score)
        words = {
            "noisy": "the factors with noise of {} times their spread",
            "mixed": "the factors {} of the way to a random rotation",
            "dropped": "the factors with {} of them left out",
        }
        parts = []
        for name, place in best.places.items():
            if place is not None:
                value = f"{place:.1f}" if name == "noisy" else f"{place:.0%}"
                parts.append(words[name].format(value))
        score = wording.decimals(best.score, 2)
        start = f"{best.method}'s {TITLES[metric]} of {score}, the paper's best, "
        if parts:
            told.append(f"{start}is that of {'; of '.join(parts)}.")
        else:
            told.append(f"{start}is on none of these dials.")
    return told


# --- Words --------------------------------------------------------------------------------------


def _number(value: float) -> str:
    """Such as `0.25` or `10,000`; a dash for NaN."""
    if math.isnan(value):
        return wording.NOTHING
    return f"{value:,.0f}" if value >= 1_000 else f"{value:g}"
