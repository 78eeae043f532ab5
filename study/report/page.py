"""Writes a study's report: tables, figures, and one page with all of it."""

import collections
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from evaluator.latents import LEAST_NATS, LEAST_VARIANCE
from evaluator.paper import METHOD_TITLES, METRIC_TITLES
from evaluator.report.baselines import Band, band
from evaluator.report.inline_images import data_uri, webp_of_png
from evaluator.report.template import environment as template_environment
from evaluator.report.traversals import IMAGES_IN_A_ROW, SEED
from study.folder import StudyFolder
from study.report import (
    agreement,
    dials,
    figures,
    models,
    published,
    table,
    thesis,
    variants,
    wording,
)
from study.report.figures import Panel
from study.report.models import Traversal
from study.report.published import NORMALISED_SUM
from study.report.results import Results, final_scores, latents, read, scores_by_step
from submission.errors import UserError
from submission.runs.files import write_bytes, write_text

_RHO = "\N{GREEK SMALL LETTER RHO}"
_MODEL = ("latents_in_use", "reconstruction_error")
_MEASURED = ("kl", "reconstruction_error")


@dataclass(frozen=True)
class _Analysis:
    """Every table that the report is made of; all but the scores may be empty.

    `asked` and `asked_summary` are the rows of `scores` and `summary` that questions on methods are
    asked of: those of the first variant, or all of a study that has none of it.
    """

    scores: pd.DataFrame
    by_step: pd.DataFrame
    summary: pd.DataFrame
    asked: pd.DataFrame
    asked_summary: pd.DataFrame
    orders_against_paper: pd.DataFrame
    correlations: pd.DataFrame
    orders: pd.DataFrame
    seeds: pd.DataFrame
    components: pd.DataFrame
    against_model: pd.DataFrame
    variants: pd.DataFrame


@dataclass(frozen=True)
class _Figure:
    """Charts that the page shows one by one, and a file side by side."""

    name: str
    panels: list[Panel]
    legend: bool = False


def write_report(folder: Path) -> Path:
    """Writes `report/` from what a study's folder holds.

    The same results give the same files, to the byte. What a missing run or file leaves open is
    told by a sentence in its place.

    Args:
        folder: Holds `study.json` and `runs/`.

    Returns:
        The page's path, `report/report.html`.

    Raises:
        UserError: There is no readable `study.json`, no run is finished and scored, or `report/`
            can't be written. What is there of an earlier report stays.
    """
    results = read(folder)
    if not results.runs:
        raise UserError(
            f"{folder}: {_missing(results)}, so there is nothing to report yet; "
            "`python -m study run` goes on"
        )
    report = StudyFolder(folder).report
    dataset, no_dataset = models.open_dataset(results)
    errors = models.reconstruction_errors(results, dataset) if dataset else {}
    traversals = models.traversals(results, dataset) if dataset else []
    audited = dials.read(report, str(results.settings["dataset"]))
    analysis = _analyse(results, errors)
    drawn = _figures(results, analysis)
    notes = table.notes(analysis.summary) if len(analysis.summary) else []
    comparison = published.compare(results)

    _write_tables(report, results, analysis, [*notes, comparison.statement])
    _write_pictures(report / "figures", results, drawn, traversals)
    page = _template().render(
        title=_title(results),
        results=results,
        analysis=analysis,
        facts=_facts(results),
        notices=_notices(results, no_dataset),
        notes=notes,
        untrained=_untrained(results),
        comparison=comparison,
        findings=_findings(analysis, _untrained(results)),
        charts={
            figure.name: [
                (panel, figures.svg(panel, f"{figure.name}-{number}"))
                for number, panel in enumerate(figure.panels)
            ]
            for figure in drawn
        },
        changes=_changes(analysis.variants),
        traversals=_by_label(traversals),
        numbers={run.name: number for number, run in enumerate(results.runs)},
        noise=_noise_between_seeds(analysis.components),
        audited=audited,
        dial_size=(dials.WIDTH, dials.HEIGHT),
        audit=dials.page_beside(report),
        no_dataset=no_dataset,
        looks=figures.looks(results),
        light=figures.LIGHT,
        dark=figures.DARK,
        least_nats=LEAST_NATS,
        least_variance=LEAST_VARIANCE,
        columns=IMAGES_IN_A_ROW,
        values=models.VALUES,
        image_seed=SEED,
        images=models.IMAGES,
        draws=agreement.DRAWS,
    )
    path = report / "report.html"
    write_text(path, page)
    return path


def _template() -> jinja2.Template:
    environment = template_environment(Path(__file__).parent)
    environment.filters |= {
        "data_uri": data_uri,
        "decimals": wording.decimals,
        "interval": lambda row, name: wording.interval(row[f"{name}_low"], row[f"{name}_high"]),
        "percent": wording.percent,
        "title_of": wording.metric_title,
        "typographic": _typographic,
        "webp": webp_of_png,
        "change": _change,
        "p_value": _p_value,
        "f_value": _f_value,
        "setting": _setting,
        "deviation": _deviation,
        "records": lambda frame: frame.to_dict("records"),
    }
    environment.globals |= {
        "beside": table.beside,
        "counted": wording.counted,
        "decimals": wording.decimals,
        "listed": wording.listed,
        "SUPPORTS": thesis.SUPPORTS,
        "OPPOSES": thesis.OPPOSES,
        "OPEN": thesis.OPEN,
        "moved_to": models.moved_to,
    }
    return environment.get_template("page.html.jinja")


# --- Analysis -----------------------------------------------------------------------------------


def _analyse(results: Results, errors: dict[str, float]) -> _Analysis:
    scores = final_scores(results)
    scores["reconstruction_error"] = scores["run"].map(errors).astype(float)
    metrics = [name for name in results.metrics if scores[name].notna().any()]
    in_table = [name for name in metrics if name in METRIC_TITLES]
    summary = table.summarise(scores) if in_table else pd.DataFrame()
    is_first = scores["variant"] == results.variants[0]
    asked = scores[is_first] if is_first.any() else scores
    asked_summary = summary[summary["label"].isin(asked["label"])] if in_table else summary
    return _Analysis(
        scores=scores,
        by_step=scores_by_step(results),
        summary=summary,
        asked=asked,
        asked_summary=asked_summary,
        orders_against_paper=table.order_against_paper(asked_summary)
        if in_table
        else pd.DataFrame(),
        correlations=agreement.correlations(asked, itertools.combinations(metrics, 2)),
        orders=agreement.order_disagreement(asked, metrics),
        seeds=agreement.seed_disagreement(asked, metrics),
        components=agreement.variance_components(asked, metrics),
        against_model=agreement.correlations(asked, itertools.product(metrics, _MODEL)),
        variants=variants.differences(scores, results.variants[0], [*metrics, *_MEASURED]),
    )


def _findings(analysis: _Analysis, untrained: Mapping[str, Band]) -> dict[str, thesis.Finding]:
    """By the id of their sections."""
    summary = analysis.asked_summary
    changed = analysis.variants[~analysis.variants["quantity"].isin(_MEASURED)]
    return {
        "worth": thesis.on_worth(analysis.summary, untrained),
        **({"variants": thesis.on_variants(changed)} if len(changed) else {}),
        "papers-order": thesis.on_papers_order(analysis.orders_against_paper),
        "correlations": thesis.on_correlations(analysis.correlations),
        "ranks": thesis.on_ranks(summary),
        "orders": thesis.on_orders(analysis.orders, analysis.seeds),
        "noise": thesis.on_components(analysis.components),
        "model": thesis.on_model(analysis.against_model, analysis.asked, summary),
    }


def _changes(differences: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """By label, what the variant changes; quantities that no run has are left out."""
    known = differences.assign(is_beyond=variants.beyond_seeds(differences))
    known = known[known.groupby("quantity")["difference"].transform("count") > 0]
    return {
        str(label): [dict(row) for row in own.to_dict("records")]
        for label, own in known.groupby("label", sort=False)
    }


def _noise_between_seeds(components: pd.DataFrame) -> dict[str, float]:
    """The standard deviation of the difference of two runs of one method, by metric."""
    if components.empty:
        return {}
    variance = components["rest"] + components["seed"].fillna(0).clip(lower=0)
    known = variance.set_axis(components["metric"]).dropna()
    return {str(metric): math.sqrt(2 * value) for metric, value in known.items()}


def _by_label(traversals: Sequence[Traversal]) -> dict[str, list[Traversal]]:
    """By method, the first run's before the others'."""
    found: dict[str, list[Traversal]] = {}
    for one in traversals:
        found.setdefault(one.run.label, []).append(one)
    return found


# --- Figures ------------------------------------------------------------------------------------


def _figures(results: Results, analysis: _Analysis) -> list[_Figure]:
    shown = figures.looks(results)
    by_step = analysis.by_step
    untrained = _untrained(results)
    drawable = [name for name in results.metrics if by_step[name].notna().any()]
    groups: dict[str, list[str]] = {
        "figure7": [name for name in ("dci", "factor_vae_metric", "irs") if name in drawable],
        "figure8": [name for name in ("mig", "sap_score") if name in drawable],
        "further_metrics": [name for name in drawable if name not in METRIC_TITLES],
    }
    found = [
        *(
            _Figure(
                name,
                [figures.progress(by_step, one, shown, untrained.get(one)) for one in metrics],
            )
            for name, metrics in groups.items()
        ),
        _Figure("correlations", _correlation_panels(analysis)),
        _Figure("ranks", _rank_panels(results, analysis)),
        _Figure("orders", _order_panels(analysis)),
    ]
    if len(analysis.variants):
        first = results.variants[0]
        panels = [
            figures.variants(analysis.scores, name, first, shown, untrained.get(name))
            for name in drawable
            if analysis.scores[name].notna().any()
        ]
        found.append(_Figure("variants", panels))
    if len(analysis.components) and analysis.components["share"].notna().any():
        found.append(_Figure("variance", [figures.shares(analysis.components)]))
    for against in _MODEL:
        panels = [
            figures.scatter(analysis.scores, metric, against, shown)
            for metric in drawable
            if analysis.scores.dropna(subset=[metric])[against].nunique() > 1
        ]
        found.append(_Figure(against, panels, legend=True))
    return [figure for figure in found if figure.panels]


def _untrained(results: Results) -> dict[str, Band]:
    """What a score is worth nothing in, by metric, where all runs have as many latents."""
    counts = {run.record.get("latents") for run in results.runs}
    if len(counts) > 1:
        return {}
    (latents,) = counts
    dataset = str(results.settings["dataset"])
    bands = {name: band(dataset, name, latents) for name in results.metrics}
    return {name: found for name, found in bands.items() if found is not None}


def _correlation_panels(analysis: _Analysis) -> list[Panel]:
    rows = analysis.correlations
    if rows.empty or rows["kendall"].isna().all():
        return []
    names = list(dict.fromkeys([*rows["first"], *rows["second"]]))
    cells = pd.DataFrame(math.nan, index=names, columns=names)
    for row in rows.to_dict("records"):
        cells.loc[row["second"], row["first"]] = row["kendall"]
        cells.loc[row["first"], row["second"]] = row["spearman"]
    title = f"Kendall's τ below the diagonal, Spearman's {_RHO} above"
    summary = "Rank correlations between metrics; the table that follows has the same numbers."
    return [figures.matrix(cells, title, summary, lambda value: wording.decimals(value, 2), True)]


def _order_panels(analysis: _Analysis) -> list[Panel]:
    rows = analysis.orders
    if rows.empty or rows["differently"].isna().all():
        return []
    names = list(dict.fromkeys([*rows["first"], *rows["second"]]))
    cells = pd.DataFrame(math.nan, index=names, columns=names)
    for row in rows.to_dict("records"):
        cells.loc[row["second"], row["first"]] = row["differently"]
        cells.loc[row["first"], row["second"]] = row["single_differently"]
    for row in analysis.seeds.to_dict("records"):
        cells.loc[row["metric"], row["metric"]] = row["differently"]
    title = "Share of pairs of methods ordered differently"
    summary = "Shares of pairs of methods that two metrics order differently: " + "; ".join(
        f"{wording.metric_title(row['first'])} and {wording.metric_title(row['second'])} "
        f"{wording.percent(row['differently'])}"
        for row in rows.to_dict("records")
    )
    return [figures.matrix(cells, title, f"{summary}.", wording.percent, False)]


def _rank_panels(results: Results, analysis: _Analysis) -> list[Panel]:
    if analysis.summary.empty or len(results.labels) < 2:
        return []
    paper = published.table_1().rank(ascending=False).rename(index=METHOD_TITLES)
    paper_looks = {
        title: figures.Look(number, (), figures.MARKERS[number])
        for number, title in enumerate(METHOD_TITLES.values())
    }
    return [
        figures.ranks(table.ranks(analysis.asked_summary), figures.looks(results), "This study"),
        figures.ranks(paper, paper_looks, "The paper's Table 1"),
    ]


# --- Words --------------------------------------------------------------------------------------


def _title(results: Results) -> str:
    methods = wording.counted(len(results.methods), "method")
    metrics = wording.counted(len(results.metrics), "metric")
    # Of one's own data the setting is a path.
    names = wording.listed(sorted({str(run.record["dataset"]) for run in results.runs}))
    return f"{methods} on {names}, {metrics}, and whether they agree"


def _facts(results: Results) -> list[tuple[str, str]]:
    runs, planned = len(results.runs), len(results.runs) + len(results.missing)
    facts = [
        ("Runs", f"{runs}" if runs == planned else f"{runs} of {planned}"),
        ("Methods", f"{len(results.methods)}"),
        ("Variants", f"{len(results.variants)}" if len(results.variants) > 1 else ""),
        (
            "Seeds",
            wording.listed([f"{seed}" for seed in sorted({run.seed for run in results.runs})]),
        ),
        *[(name, here) for name, here, _ in published.compare(results).rows[:3]],
    ]
    return [(name, value) for name, value in facts if value]


def _notices(results: Results, no_dataset: str) -> list[str]:
    """What a reader must know before the numbers."""
    notices = []
    if results.missing:
        notices.append(f"{_missing(results)}.")
    if len(results.variants) > 1:
        first = results.variants[0] or "without further settings"
        notices.append(
            f"What is asked of the metrics is asked of the runs of one variant, {first}: another "
            "variant is no method of its own."
        )
    names = {
        str(run.record.get("dataset")) for run in results.runs if not run.record.get("dataset_path")
    }
    if any(name.startswith("mpi3d_mini") for name in names):
        notices.append(
            "mpi3d_mini is this project's own rendering: scores on it are not scores on MPI3D."
        )
    if len({run.seed for run in results.runs}) == 1:
        notices.append("There is one seed only, so nothing here tells difference from noise.")
    if len({run.record.get("dataset_fingerprint") for run in results.runs}) > 1:
        notices.append("The runs were trained on different images.")
    quick = sum(run.provenance.get("preset") == "quick" for run in results.runs)
    if quick:
        notices.append(
            f"{wording.counted(quick, 'run')} scored with the evaluator's preset quick: it draws "
            "fewer samples than the challenge."
        )
    bare = sum(len(run.scores_by_step) == 1 for run in results.runs)
    if bare:
        notices.append(
            f"{wording.counted(bare, 'run')} without scored snapshots: Figures 7 and 8 show only "
            "the end of these."
        )
    warnings = collections.Counter(
        warning for run in results.runs for warning in _warnings(run.record, run.provenance)
    )
    notices += [
        f"{warning} ({wording.counted(count, 'run')})" for warning, count in warnings.items()
    ]
    if no_dataset:
        notices.append(f"No traversals and no reconstruction errors: {no_dataset}.")
    return notices


def _missing(results: Results) -> str:
    """How many runs are missing, and why."""
    planned = len(results.runs) + len(results.missing)
    reasons = collections.Counter(one.reason for one in results.missing)
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return (
        f"{len(results.missing)} of {wording.counted(planned, 'run')} "
        f"{'is' if len(results.missing) == 1 else 'are'} missing, and left out: {told}"
    )


def _warnings(record: Any, provenance: Any) -> list[str]:
    """What the trainer and the evaluator warned of in one run, each once."""
    warnings = record.get("warnings")
    told = list(map(str, warnings)) if isinstance(warnings, list) else []
    if record.get("nonfinite_steps"):
        told.append("Steps skipped for a non-finite gradient")
    if provenance.get("representation_repeatable") is False:
        told.append("The representation is not repeatable")
    scored = provenance.get("warnings")
    for metric, lines in (scored if isinstance(scored, dict) else {}).items():
        if isinstance(lines, dict | list):
            told += [f"{wording.metric_title(metric)}: {line}" for line in lines]
    return list(dict.fromkeys(told))


def _typographic(text: str) -> str:
    return text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def _setting(value: Any) -> str:
    """A field of the study, as a person would list it."""
    if isinstance(value, dict):
        named = [f"{name}: {_setting(inner)}" for name, inner in value.items() if name]
        return "; ".join(named) or "none"
    if isinstance(value, list):
        return ", ".join(map(_setting, value)) or "none"
    return str(value)


def _change(row: Mapping[str, Any]) -> str:
    """A difference with its interval, such as `+0.113 ± 0.062`; a dash for NaN."""
    difference, half_width = row["difference"], row["half_width"]
    if row["quantity"] == "reconstruction_error":
        texts = [f"{difference:+.1e}", f"{half_width:.1e}"]
    else:
        places = 1 if row["quantity"] == "kl" else 3
        texts = [wording.signed(difference, places), wording.decimals(half_width, places)]
    if math.isnan(difference):
        return wording.NOTHING
    return texts[0] if math.isnan(half_width) else " ± ".join(texts)


def _p_value(p: float) -> str:
    if math.isnan(p):
        return wording.NOTHING
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _f_value(f: float) -> str:
    if math.isnan(f):
        return wording.NOTHING
    return f"{f:,.1f}" if math.isfinite(f) else "\N{INFINITY}"


def _deviation(variance: float) -> str:
    """A standard deviation; a negative estimate of a variance stands for zero."""
    return wording.decimals(math.sqrt(max(variance, 0)) if not math.isnan(variance) else variance)


# --- Files --------------------------------------------------------------------------------------


def _write_tables(
    report: Path, results: Results, analysis: _Analysis, notes: Sequence[str]
) -> None:
    summary = analysis.summary
    if len(summary):
        write_text(report / "table1.md", table.markdown(summary, notes))
        dataset = results.settings.get("dataset")
        caption = f"{' '.join(notes[:-1])} Data set: {dataset}."
        write_text(report / "table1.tex", table.latex(summary, caption))
        _write_csv(report / "table1.csv", summary)
        scores = analysis.scores.assign(**{NORMALISED_SUM: table.run_sums(analysis.scores)})
    else:
        scores = analysis.scores
    pairs = analysis.correlations
    if len(pairs):
        pairs = pairs.merge(analysis.orders, on=["first", "second"])
    _write_csv(report / "scores.csv", scores)
    _write_csv(report / "scores_by_step.csv", analysis.by_step)
    _write_csv(report / "latents.csv", latents(results))
    _write_csv(report / "agreement.csv", pairs)
    _write_csv(report / "seed_disagreement.csv", analysis.seeds)
    _write_csv(report / "variance_components.csv", analysis.components)
    _write_csv(report / "agreement_with_model.csv", analysis.against_model)
    # Of a study without variants there is none.
    if len(analysis.variants):
        _write_csv(report / "variants.csv", analysis.variants)
    else:
        (report / "variants.csv").unlink(missing_ok=True)


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def _write_pictures(
    folder: Path, results: Results, drawn: Sequence[_Figure], traversals: Sequence[Traversal]
) -> None:
    """Writes the figures as PNG, and removes those of an earlier report."""
    pictures = {}
    for traversal in traversals:
        if traversal.is_first and traversal.rows:
            pictures[f"{_file_name(traversal)}.png"] = models.sheet_png(traversal)
    for figure in drawn:
        legend = figures.looks(results) if figure.legend else None
        pictures[f"{figure.name}.png"] = figures.png(figure.panels, legend)
    for path in folder.glob("*.png"):
        if path.name not in pictures:
            path.unlink()
    for name, content in pictures.items():
        write_bytes(folder / name, content)


def _file_name(traversal: Traversal) -> str:
    """Such as `figure2_beta_tcvae`."""
    run = traversal.run
    start = f"figure{traversal.figure}" if traversal.figure else "traversals"
    return "_".join(filter(None, (start, run.method, run.variant)))
