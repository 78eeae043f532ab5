"""The page that shows one run: scores, pictures, curves and where it all came from."""

import csv
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from evaluator.latents import (
    LEAST_NATS,
    LEAST_VARIANCE,
    NOT_RECORDED,
    Latents,
    finite_numbers,
    latents_of,
)
from evaluator.paper import METHOD_TITLES, METRIC_TITLES, TABLE_1
from evaluator.report import baselines
from evaluator.report.holdings import LEAST_SHOWN, holdings
from evaluator.report.inline_images import data_uri, inline_svg, own_style
from evaluator.report.pictures import (
    BASES,
    LEAST_MOVED,
    RANGE,
    SAMPLE,
    FactorError,
    RunPictures,
    draw_run,
)
from evaluator.report.template import environment as template_environment
from evaluator.report.traversals import IMAGES_IN_A_ROW, SEED
from submission.datasets import Dataset
from submission.runs.files import NoObjectError, UnreadableError, read_object, write_text
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of
from submission.runs.scores import Scores, read_scores

# A long run has more rows than a chart has room for.
_MOST_POINTS = 400
# The share of the steps that may lie above a chart's scale.
_EARLY = 0.05
# Schedules count as run to their end from this share of the planned steps on.
_MOST_OF_THE_PLAN = 0.9

_LARGEST = float(np.finfo(np.float32).max)
_PAPERS_IMAGES = ("mpi3d_toy", 460_800)
# Rows of a table of latents.
_MOST_ROWS = 100
_NOTHING = "\N{EN DASH}"

_HISTORY_AXES = {"phase", "step", "seconds", "epoch"}
_HISTORY_TITLES = {
    "loss": "Loss",
    "reconstruction": "Reconstruction loss (nats an image)",
    "kl": "KL to the prior (nats) and capacity C",
    "learning_rate": "Learning rate",
}
# Colours that stand in for what the page's style sheet decides, in light as in dark.
_INK, _SERIES, _SECOND, _GRID, _BAND = "#010101", "#020202", "#030303", "#040404", "#050505"
_STYLE_OF_STAND_IN = {
    _INK: "currentColor",
    _SERIES: "var(--series)",
    _SECOND: "var(--second)",
    _GRID: "var(--grid)",
    _BAND: "var(--band)",
}


def write_report(run_folder: Path, dataset: Dataset, path: Path | None = None) -> Path:
    """Writes `report.html`, one page that needs no other file, from what a run folder holds.

    Args:
        run_folder: See `render`.
        dataset: The data set that the representation was scored on.
        path: Where the page goes; else `run_folder / "report.html"`.

    Returns:
        The page's path.

    Raises:
        UserError: The page can't be written there.
    """
    path = path or RunFolder(run_folder).report
    write_text(path, render(run_folder, dataset))
    return path


def render(run_folder: Path, dataset: Dataset, pictures: RunPictures | None = None) -> str:
    """The page of what a run folder holds.

    A part whose source is missing or unreadable is left out, and a sentence in its place says so.

    Args:
        run_folder: Holds any of `scores.json`, `training/run.json`, `training/history.csv`,
            `representation/pytorch_model.pt` and `training/decoder.pt`.
        dataset: The data set that the representation was scored on.
        pictures: What its model shows, where that has been drawn already.

    Returns:
        HTML.
    """
    folder = RunFolder(run_folder)
    scores, no_scores = _read(read_scores, folder, folder.scores, Scores())
    run, no_run = _read(read_object, folder, folder.record, dict[str, Any]())
    history, no_history = _read_history(folder.history)
    latents = latents_of(run)
    no_pictures = ""
    if pictures is None:
        pictures, no_pictures = draw_run(run_folder, dataset, latents)
    provenance = scores.provenance
    return _template().render(
        title=_title(run, dataset),
        name=run.get("name") or run_folder.name,
        trained_quick=run.get("preset") == "quick",
        scored_quick=provenance.get("preset") == "quick",
        notices=_notices(run, provenance, dataset),
        incomparable=[] if no_scores else _incomparable(run, dataset),
        facts=_facts(run, provenance, latents),
        metrics=_metric_rows(scores, run, dataset),
        paper=TABLE_1.get(str(run.get("method"))),
        total=scores.sum,
        total_interval=_interval(scores, "sum"),
        scored=len(scores.scores),
        method=METHOD_TITLES.get(str(run.get("method"))),
        dataset=dataset.name,
        details=_flatten(_numbers_worth_reading(scores.metrics)),
        holdings=holdings(scores),
        pictures=pictures,
        moving=pictures.moving if pictures else None,
        charts=_charts(history),
        score_charts=_score_charts(folder.self_scores),
        pretraining_unseen=history is not None
        and not history.pretraining_end
        and run.get("pretraining_steps"),
        latents=latents,
        latent_rows=_latent_rows(latents, run.get("posterior_std_per_latent")),
        run=_flatten({key: value for key, value in run.items() if key != "gin_config"}),
        provenance=_flatten({k: v for k, v in provenance.items() if k != "gin_config"}),
        gin={
            "Training": run.get("gin_config"),
            "Evaluation": provenance.get("gin_config"),
        },
        origin=_origin(run, provenance),
        commands=_commands(run, provenance, run_folder.name, dataset),
        missing={
            "scores": no_scores and (dataset.no_scores or no_scores),
            "run": no_run,
            "history": no_history,
            "pictures": no_pictures,
            "latents": no_run or ("" if latents else NOT_RECORDED),
        },
        least_nats=LEAST_NATS,
        least_variance=LEAST_VARIANCE,
        columns=IMAGES_IN_A_ROW,
        seed=SEED,
        sample=SAMPLE,
        bases=BASES,
        quantiles=[round(100 * one) for one in RANGE],
        least_moved=LEAST_MOVED,
        least_shown=LEAST_SHOWN,
        error_charts=_error_charts(pictures),
    )


def _template() -> jinja2.Template:
    environment = template_environment(Path(__file__).parent)
    environment.filters["number"] = _number
    environment.filters["score"] = _decimals(3)
    environment.filters["label"] = _decimals(2)
    environment.filters["signed"] = _signed
    environment.filters["percent"] = _percent
    environment.filters["place"] = _place
    environment.filters["data_uri"] = data_uri
    return environment.get_template("page.html.jinja")


# --- Reading ------------------------------------------------------------------------------------


_Content = TypeVar("_Content")


def _read(
    read: Callable[[Path], _Content], folder: RunFolder, path: Path, nothing: _Content
) -> tuple[_Content, str]:
    """The content of a run's file, and, where there is none, why."""
    name = path.relative_to(folder.path)
    try:
        return read(path), ""
    except FileNotFoundError:
        return nothing, f"there is no {name}"
    except NoObjectError as error:
        return nothing, f"{name} holds {error}"
    except (NotADirectoryError, UnreadableError) as error:
        return nothing, f"{name} is unreadable ({error})"


@dataclass(frozen=True)
class _History:
    """The training curves: columns [rows] of finite numbers or NaN, and where training began."""

    columns: dict[str, NDArray[np.float64]]
    steps: NDArray[np.float64]
    pretraining: NDArray[np.bool_]

    @property
    def pretraining_end(self) -> float:
        return float(self.steps[self.pretraining].max(initial=0))


def _read_history(path: Path) -> tuple[_History | None, str]:
    """The curves, and, where there are none, why."""
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return None, "there is no training/history.csv"
    except (OSError, ValueError, csv.Error) as error:
        return None, f"training/history.csv is unreadable ({error})"
    kept = [row for row in rows if not math.isnan(_float(row.get("step")))]
    if len(kept) < 2:
        return None, "training/history.csv has too few rows for a curve"
    steps = np.array([_float(row["step"]) for row in kept])
    pretraining = np.array([row.get("phase") == "pretraining" for row in kept])
    # Each phase counts its own steps; the axis runs on.
    steps[~pretraining] += steps[pretraining].max(initial=0)
    names = [name for name in kept[0] if name and name not in _HISTORY_AXES]
    columns = {name: np.array([_float(row.get(name)) for row in kept]) for name in names}
    return _History(columns, steps, pretraining), ""


def _float(text: object) -> float:
    """A finite number, or NaN for anything else.

    Training computes in float32. What is beyond its range, and still less than infinite, isn't its
    doing, and would overflow where a chart's scale is computed.
    """
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return value if abs(value) <= _LARGEST else math.nan


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# --- Headline -----------------------------------------------------------------------------------


def _title(run: Mapping[str, Any], dataset: Dataset) -> str:
    method = run.get("method")
    return f"{METHOD_TITLES.get(str(method), method) or 'Representation'} on {dataset.name}"


def _numbers_worth_reading(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Without `num_active_dims`: in IRS a sum of codes, in FactorVAE the number of all latents."""
    return {
        name: {key: value for key, value in _mapping(values).items() if key != "num_active_dims"}
        for name, values in metrics.items()
    }


def _notices(run: Mapping[str, Any], provenance: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """What a reader must know before the numbers."""
    notices = []
    status = run.get("status")
    if run and status != "finished":
        message = f": {run['message']}".rstrip(".") if run.get("message") else ""
        notices.append(f"Training did not finish (status “{status}”){message}.")
    elif _float(run.get("steps")) < _MOST_OF_THE_PLAN * _float(run.get("planned_steps")):
        notices.append(
            f"Only {_number(run['steps'])} of {_number(run['planned_steps'])} planned steps fit "
            "the budget: the schedules did not come to their end."
        )
    if run.get("dataset") not in (None, dataset.name):
        notices.append(f"Trained on {run['dataset']}, scored on {dataset.name}.")
    elif _differ(run.get("dataset_fingerprint"), provenance.get("dataset_fingerprint")):
        notices.append(f"Trained and scored on different images that are both {dataset.name}.")
    if run.get("nonfinite_steps"):
        notices.append(f"Steps skipped for a non-finite gradient: {run['nonfinite_steps']}.")
    if provenance.get("representation_repeatable") is False:
        notices.append("The representation is not repeatable: the same images gave other codes.")
    if provenance.get("unproven"):
        notices.append(f"These scores are unproven: {provenance['unproven']}.")
    if isinstance(run.get("warnings"), list):
        notices += map(str, run["warnings"])
    for metric, warnings in _mapping(provenance.get("warnings")).items():
        notices += [
            f"{METRIC_TITLES.get(metric, metric)}: {warning}" for warning in _mapping(warnings)
        ]
    return notices


def _incomparable(run: Mapping[str, Any], dataset: Dataset) -> list[str]:
    """Why the scores must not be read as scores on MPI3D, or beside those of the paper."""
    parts = []
    if dataset.name.startswith("mpi3d_mini") and not dataset.is_own:
        parts.append(
            f"{dataset.name} is rendered by this project: scores on it are not scores on MPI3D."
        )
    name, images = _PAPERS_IMAGES
    if str(run.get("method")) in TABLE_1 and (dataset.name, len(dataset.images)) != _PAPERS_IMAGES:
        parts.append(
            f"The scores of the paper, on {name} ({images:,} images), are not comparable with "
            "these and stand beside them for orientation only."
        )
    return parts


def _differ(one: object, other: object) -> bool:
    return None not in (one, other) and one != other


def _facts(
    run: Mapping[str, Any], provenance: Mapping[str, Any], latents: Latents | None
) -> list[tuple[str, str]]:
    facts = []
    if run.get("steps") is not None:
        facts.append(("Steps", f"{_number(run['steps'])} of {_number(run.get('planned_steps'))}"))
    if run.get("seconds_spent") is not None:
        budget = _duration(run.get("budget_seconds"))
        facts.append(("Time", f"{_duration(run['seconds_spent'])} of {budget}"))
    if latents:
        facts.append(("Latents in use", f"{len(latents.in_use)} of {len(latents.kl)}"))
    elif run.get("kl_per_latent"):
        facts.append(("Latents in use", "unknown"))
    if run.get("seed") is not None:
        facts.append(("Seed", _number(run["seed"])))
    presets = dict.fromkeys(
        str(fields["preset"]) for fields in (run, provenance) if fields.get("preset")
    )
    if presets:
        facts.append(("Preset", ", scored with ".join(presets)))
    if provenance.get("images") is not None:
        facts.append(("Images", _number(provenance["images"])))
    return facts


def _metric_rows(scores: Scores, run: Mapping[str, Any], dataset: Dataset) -> list[dict[str, Any]]:
    paper = TABLE_1.get(str(run.get("method")), (None,) * len(METRIC_TITLES))
    return [
        {
            "key": key,
            "title": title,
            "score": scores.scores.get(key),
            "paper": published,
            "untrained": baselines.band(dataset.name, key, run.get("latents")),
            "interval": _interval(scores, key),
            "place": _place(scores.scores.get(key)),
        }
        for (key, title), published in zip(METRIC_TITLES.items(), paper, strict=False)
    ]


@dataclass(frozen=True)
class _Interval:
    """Of a score's mean over several seeds of the draws, as `scores.json` has it."""

    mean: float
    half_width: float
    seeds: int

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half_width:.3f}"


def _interval(scores: Scores, name: str) -> _Interval | None:
    told = _mapping(scores.repeats.get(name))
    mean, half_width = _float(told.get("mean")), _float(told.get("half_width"))
    seeds = finite_numbers(told.get("scores"))
    if math.isnan(mean + half_width) or len(seeds) < 2:
        return None
    return _Interval(mean, half_width, len(seeds))


def _place(score: object) -> float | None:
    """Where a score stands between 0 and 1, in per cent; None for what is no number."""
    value = _float(score)
    return None if math.isnan(value) else round(100 * min(max(value, 0.0), 1.0), 2)


# --- Charts -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Chart:
    title: str
    svg: Markup
    summary: str
    has_capacity: bool


def _charts(history: _History | None) -> list[_Chart]:
    """Loss, reconstruction, KL, the method's own terms, and last the learning rate."""
    if history is None:
        return []
    names = [n for n in history.columns if n not in ("capacity", "learning_rate")]
    names += ["learning_rate"] if "learning_rate" in history.columns else []
    return [
        _chart(history, name, f"chart{number}")
        for number, name in enumerate(names)
        if np.isfinite(history.columns[name]).any()
    ]


def _score_charts(path: Path) -> list[_Chart]:
    """The five metrics and their sum, where training scored itself (paper, Figures 7 and 8)."""
    history, _ = _read_history(path)
    if history is None:
        return []
    names = [
        name
        for name in (*METRIC_TITLES, "sum")
        if name in history.columns and np.isfinite(history.columns[name]).any()
    ]
    return [_chart(history, name, f"score-{name}") for name in names]


def _chart(history: _History, name: str, identity: str) -> _Chart:
    small = name == "learning_rate"
    title = (_HISTORY_TITLES | METRIC_TITLES).get(name, name.replace("_", " ").capitalize())
    values = history.columns[name]
    with own_style(font_size=10, axes_linewidth=0.8):
        figure = Figure(figsize=(4.6, 1.5 if small else 2.5), layout="constrained")
        axes = figure.subplots()
        end = history.pretraining_end
        if end:
            axes.axvspan(0, end, color=_BAND, linewidth=0)
        for phase in (history.pretraining, ~history.pretraining):
            steps, line = _thinned(history.steps[phase], values[phase])
            # A line through one point would not show.
            marker = "." if len(steps) == 1 else ""
            axes.plot(steps, line, marker=marker, color=_SERIES, linewidth=1.4)
        capacity = history.columns.get("capacity") if name == "kl" else None
        if capacity is not None:
            axes.plot(
                *_thinned(history.steps, capacity), color=_SECOND, linewidth=1.4, dashes=(3, 2)
            )
        off_scale = _set_limits(axes, from_zero=name == "kl" or small)
        if end:
            axes.text(
                0.01 * axes.get_xlim()[1],
                1.0,
                "pre-training",
                color=_INK,
                fontsize=8,
                transform=axes.get_xaxis_transform(),
                va="bottom",
            )
        axes.set_xlabel("step", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 5, 10]) if small else MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_INK)
        axes.tick_params(colors=_INK, length=3)
        axes.tick_params(axis="y", length=0)
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        svg = inline_svg(figure, identity, _STYLE_OF_STAND_IN)
    finite = values[np.isfinite(values)]
    summary = f"From {_number(finite[0])} to {_number(finite[-1])}."
    if off_scale:
        summary += " The first steps lie above the scale."
    return _Chart(title, svg, summary, has_capacity=capacity is not None)


def _set_limits(axes: Axes, from_zero: bool) -> bool:
    """Fits both axes; the first steps may leave the top where they would flatten the rest.

    Returns:
        Whether they do.
    """
    points = np.concatenate([np.asarray(line.get_xydata()) for line in axes.lines])
    steps, values = points.T
    axes.set_xlim(0, steps.max() or 1)
    low = 0.0 if from_zero else values.min()
    high = values[steps >= _EARLY * steps.max()].max()
    off_scale = bool(values.max() - low > 1.5 * (high - low) > 0)
    if off_scale:
        axes.set_ylim(top=high + 0.05 * (high - low))
        axes.set_ylim(bottom=low - (0 if from_zero else 0.05 * (high - low)))
    elif from_zero:
        axes.set_ylim(bottom=0)
    return off_scale


def _thinned(
    steps: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At most `_MOST_POINTS` points, each the mean of its neighbours; NaN left out."""
    finite = np.isfinite(values)
    steps, values = steps[finite], values[finite]
    size = -(-len(steps) // _MOST_POINTS)
    if size <= 1:
        return steps, values
    starts = np.arange(0, len(steps), size)
    counts = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / counts, np.add.reduceat(values, starts) / counts


def _error_charts(pictures: RunPictures | None) -> list[dict[str, Any]]:
    """Bars of the reconstruction error by each factor's value, all on the scale of the largest."""
    errors = pictures.errors if pictures else []
    largest = max((error for one in errors for _, error in one.groups if error), default=0.0)
    return [
        {
            "name": one.name,
            "summary": _error_summary(one),
            "mean": _share(pictures.error, largest) if pictures else 0.0,
            "bars": [
                {"label": label, "error": error, "height": _share(error, largest)}
                for label, error in one.groups
            ],
        }
        for one in errors
    ]


def _error_summary(errors: FactorError) -> str:
    known = [(error, label) for label, error in errors.groups if error is not None]
    (least, where_least), (most, where_most) = min(known), max(known)
    return f"Least at {where_least} ({least:.2g}), most at {where_most} ({most:.2g})"


def _share(part: float | None, whole: float) -> float:
    return round(100 * (part or 0) / whole, 1) if whole else 0.0


def _latent_rows(latents: Latents | None, deviations: object) -> dict[str, Any]:
    """The latents in two groups, each with the length of its variance's bar in per cent.

    Of more than `_MOST_ROWS` of a group those with the largest variance.
    """
    if latents is None:
        return {}
    groups = {"in_use": latents.in_use[:_MOST_ROWS], "ignored": latents.ignored[:_MOST_ROWS]}
    stds = finite_numbers(deviations)
    # Bars of ignored latents alone shall not look long.
    largest = max(*latents.variance, LEAST_VARIANCE)
    rows = {
        group: [
            {
                "latent": latent,
                "variance": latents.variance[latent],
                "percent": round(100 * max(latents.variance[latent], 0) / largest, 2),
                "kl": latents.kl[latent],
                "std": stds[latent] if len(stds) == len(latents.kl) else None,
            }
            for latent in members
        ]
        for group, members in groups.items()
    }
    return rows | {"left_out": len(latents.kl) - sum(map(len, rows.values()))}


# --- Provenance ---------------------------------------------------------------------------------


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Every field as a name and a text; nested ones as `outer.inner`."""
    rows = []
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def _text(value: object) -> str:
    """A field as it stands, floats shortened."""
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value not in (None, "", {}) else "none"


def _number(value: object) -> str:
    """A number for people; anything else as it is."""
    if value is None:
        return _NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 1e15 else str(value)
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _decimals(places: int) -> Callable[[object], str]:
    """A filter that writes numbers with so many decimals, and anything else as it is."""

    def write(value: object) -> str:
        return f"{value:.{places}f}" if isinstance(value, int | float) else _number(value)

    return write


def _signed(value: float) -> str:
    return f"{value:+.2f}".rstrip("0").rstrip(".").replace("-", "\N{MINUS SIGN}") if value else "0"


def _percent(share: float) -> str:
    """Such as `42 %`, or `<1 %`, on one line."""
    number = f"{100 * share:.0f}" if share >= 0.01 or share == 0 else "<1"
    return f"{number}\N{NO-BREAK SPACE}%"


def _duration(seconds: object) -> str:
    value = _float(seconds)
    if math.isnan(value):
        return _NOTHING
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (0 if hours else rest, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def _origin(run: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Where run and scores come from, in a line."""
    parts = []
    revision = run.get("git_revision") or provenance.get("git_revision")
    if revision:
        parts.append(f"commit {str(revision)[:12]}")
    if run.get("method"):
        seed = f", seed {run['seed']}" if run.get("seed") is not None else ""
        parts.append(f"trained with {run['method']} on {run.get('dataset')}{seed}")
    if provenance.get("engine"):
        parts.append(
            f"scored by the {provenance['engine']} engine, preset {provenance.get('preset')}"
        )
    line = "; ".join(parts) or "All that is recorded"
    return line[:1].upper() + line[1:]


def _commands(
    run: Mapping[str, Any], provenance: Mapping[str, Any], name: str, dataset: Dataset
) -> str:
    """What to type to get the run and its scores again, as far as the files tell."""
    lines = []
    revision = str(run.get("git_revision") or provenance.get("git_revision") or "unknown")
    if revision != "unknown":
        # What follows the commit says that the tree differed from it.
        commit, changes = re.fullmatch(r"(\w*)(.*)", revision, re.DOTALL).groups()  # type: ignore[union-attr]
        lines.append(f"git checkout {commit}" + ("  # and uncommitted changes" if changes else ""))
    if run.get("method") and run.get("dataset"):
        words = ["./run.sh", "--method", run["method"], "--dataset", dataset_of(run)]
        if run.get("budget_seconds") is not None:
            words += ["--budget", f"{_float(run['budget_seconds']):g}s"]
        lines.append(_command(words + _options(run, "preset", "seed", "name")))
    if provenance.get("dataset"):
        folder = f"scratch/shared/{run.get('name') or name}/representation"
        scored = provenance["dataset"]
        scored = dataset.address if scored == dataset.name else scored
        words = [".venv/bin/python", "-m", "evaluator", folder, "--dataset", scored]
        lines.append(_command(words + _options(provenance, "preset", "seed", "engine")))
    return "\n".join(lines)


def _command(words: Sequence[object]) -> str:
    return shlex.join(map(str, words))


def _options(fields: Mapping[str, Any], *names: str) -> list[Any]:
    """`--name value` of each field that is there."""
    given = [name for name in names if fields.get(name) is not None]
    return [word for name in given for word in (f"--{name}", fields[name])]
