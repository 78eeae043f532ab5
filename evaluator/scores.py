"""What an evaluation leaves behind: the challenge's JSON files, `scores.json` and a table."""

import datetime
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from evaluator.intervals import CONFIDENCE, Interval, t_interval
from evaluator.memorisation import Memorisation
from evaluator.metrics import ALL_METRICS, METRICS, Metric, Result, settings
from evaluator.representations import Representation
from submission.datasets import Dataset
from submission.runs.files import UnreadableError, write_json
from submission.runs.folder import RunFolder
from submission.runs.provenance import git_revision, versions
from submission.runs.scores import Scores, read_scores

# What scores are computed with, as far as it is installed.
_PACKAGES = (
    "disentanglement-lib",
    "gin-config",
    "numpy",
    "scipy",
    "scikit-learn",
    "numba",
    "torch",
    "tensorflow-cpu",
    "tensorflow",
    "dill",
)

# What a provenance says of single metrics, of the hour, or of what was drawn anew.
_OF_METRICS = ("gin_config", "gin_bindings", "warnings", "memorisation", "seconds", "created")


def write_evaluation(output: Path, result: Result, dataset: Dataset, seed: int) -> Path:
    """Writes the file of a metric with the keys that disentanglement_lib writes.

    Args:
        output: The run folder.
        result: The metric's result.
        dataset: What it was computed on.
        seed: The seed.

    Returns:
        `metrics/<metric>/results/aggregate/evaluation.json` in the run folder.
    """
    name = result.metric.name
    config = {
        **_gin_values(result.gin_config),
        "dataset.name": repr(dataset.name),
        "evaluation.evaluation_fn": f"@{result.metric.configurable}",
        "evaluation.name": repr(name),
        "evaluation.random_seed": str(seed),
    }
    values = {**result.values, "elapsed_time": result.seconds, "uuid": str(uuid.uuid4())}
    path = RunFolder(output).evaluation(name)
    write_json(
        path,
        {f"evaluation_config.{key}": value for key, value in sorted(config.items())}
        | {f"evaluation_results.{key}": value for key, value in values.items()},
    )
    return path


def origin(
    dataset: Dataset,
    representation: Representation,
    *,
    seed: int,
    engine: str,
    preset: str,
    unproven: str | None,
) -> dict[str, Any]:
    """What decides on scores beside a metric's own settings; equal where they may stand together.

    Args:
        dataset: What they are computed on.
        representation: What is scored.
        seed: The seed.
        engine: The engine's name.
        preset: The preset's name.
        unproven: Of `engines.Prepared`.

    Returns:
        The part of `provenance` that all metrics share.
    """
    return {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint(),
        "factors_num_values": list(dataset.factors_num_values),
        "images": len(dataset.images),
        "seed": seed,
        "engine": engine,
        "preset": preset,
        "unproven": unproven,
        "versions": versions(_PACKAGES),
        "git_revision": git_revision(),
        # What docker/portal.py says of the container's image.
        "image": os.environ.get("IMAGE_DIGEST"),
        "representation_file": representation.path.name,
        # A program's own model has none, so its scores never join others.
        "representation_sha256": representation.sha256,
        "representation_repeatable": representation.repeatable,
        "latents": representation.latents,
        "linear_svc": _linear_svc(engine),
        "threads": _threads(),
    }


def earlier(output: Path) -> Scores | None:
    """The scores that stand in a run folder; empty where they can't be read, None where none do."""
    try:
        return read_scores(RunFolder(output).scores)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnreadableError:
        return Scores()


def may_stand_together(
    old: Scores,
    shared: Mapping[str, Any],
    chosen: Sequence[Metric],
    bindings: Sequence[str],
    seeds: Sequence[int],
) -> bool:
    """Whether one run of the evaluator would give earlier scores and new ones.

    Args:
        old: The earlier ones, of `earlier`.
        shared: Where the new ones come from, of `origin`.
        chosen: The new ones' metrics.
        bindings: Their settings of the command line.
        seeds: Their seeds.
    """
    if shared["representation_sha256"] is None:
        return False
    own = {key: value for key, value in old.provenance.items() if key not in _OF_METRICS}
    known = [metric for name, metric in ALL_METRICS.items() if name in old.scores]
    earlier_seeds = old.repeats.get("seeds", [old.provenance.get("seed")])
    if own != shared or len(known) != len(old.scores) or earlier_seeds != list(seeds):
        return False
    before = old.provenance["gin_bindings"]
    both = _united(before, bindings)
    return all(
        settings(metric, shared["preset"], given) == settings(metric, shared["preset"], both)
        for metrics, given in ((known, before), (chosen, bindings))
        for metric in metrics
    )


def write_scores(
    output: Path,
    results: Sequence[Result],
    shared: Mapping[str, Any],
    *,
    warnings: Sequence[str] = (),
    memorisation: Memorisation | None = None,
    encoding_seconds: float = 0.0,
    intervals: Mapping[str, Interval] | None = None,
    bindings: Sequence[str] = (),
    factor_names: Sequence[str] = (),
    beside: Scores | None = None,
) -> Path:
    """Writes `scores.json`: the scores, their sum, and all that is needed to get them again.

    Args:
        output: The run folder.
        results: The metrics' results; the sum is that of the challenge's metrics among them.
        shared: Where they come from, of `origin`.
        warnings: What there is to say beside the metrics' own warnings.
        memorisation: Whether codes outlast invisible noise; None where that was not tried.
        encoding_seconds: How long encoding took, before the metrics.
        intervals: Over repeated seeds, by the metric's name, and of the `sum`.
        bindings: The settings of the command line.
        factor_names: Of the factors that are scored.
        beside: Earlier scores that stay, where `may_stand_together` says so.

    Returns:
        The path of the file.
    """
    warned = {one.metric.name: one.warnings for one in results if one.warnings}
    if warnings:
        warned["engine"] = dict.fromkeys(warnings, 1)
    provenance = {
        **shared,
        "gin_config": _joined({one.metric.name: one.gin_config for one in results}),
        "gin_bindings": list(bindings),
        "warnings": warned,
        "memorisation": memorisation and asdict(memorisation),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": {
            "encoding": round(encoding_seconds, 3),
            **{one.metric.name: round(one.seconds, 3) for one in results},
        },
    }
    repeats: dict[str, Any] = {}
    if intervals:
        seed, count = shared["seed"], len(next(iter(intervals.values())).scores)
        repeats = {
            "seeds": list(range(seed, seed + count)),
            "confidence": CONFIDENCE,
            **{name: asdict(interval) for name, interval in intervals.items()},
        }
    matrices = {name: matrix.tolist() for one in results for name, matrix in one.matrices.items()}
    scores = Scores(
        scores={one.metric.name: one.score for one in results},
        sum=challenge_sum(results),
        metrics={one.metric.name: one.values for one in results},
        provenance=provenance,
        repeats=repeats,
        matrices=matrices and {"factors": list(factor_names), **matrices},
    )
    path = RunFolder(output).scores
    (_together(beside, scores) if beside else scores).write(path)
    return path


def _together(old: Scores, new: Scores) -> Scores:
    """Adds earlier scores; of a metric in both the new ones count."""
    scores = _in_order(old.scores | new.scores)
    before, now = old.provenance, new.provenance

    def added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
        return _in_order({name: one[name] for name in one if name not in new.scores} | other)

    repeats = new.repeats
    if repeats:
        repeats = old.repeats | repeats
        counted = [repeats[name]["scores"] for name in scores if name in METRICS]
        if counted:
            sums = [sum(scores_of_seed) for scores_of_seed in zip(*counted, strict=True)]
            repeats["sum"] = asdict(t_interval(sums))
    return Scores(
        scores=scores,
        sum=_sum(scores),
        metrics=added(old.metrics, new.metrics),
        provenance={
            **now,
            "gin_config": _joined(added(_parted(before["gin_config"]), _parted(now["gin_config"]))),
            "gin_bindings": _united(before["gin_bindings"], now["gin_bindings"]),
            "warnings": added(before["warnings"], now["warnings"]),
            "seconds": added(before["seconds"], now["seconds"]),
        },
        repeats=repeats,
        matrices=old.matrices | new.matrices,
    )


def _in_order(by_metric: Mapping[str, Any]) -> dict[str, Any]:
    order = [*ALL_METRICS]
    return dict(sorted(by_metric.items(), key=lambda item: (*order, item[0]).index(item[0])))


def _joined(configs: Mapping[str, str]) -> str:
    return "\n".join(f"# {name}\n\n{config}" for name, config in configs.items())


def _parted(text: str) -> dict[str, str]:
    """The inverse of `_joined`."""
    parts = re.split(rf"(?:^|\n)# ({'|'.join(ALL_METRICS)})\n\n", text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _united(old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [*old, *(binding for binding in new if binding not in old)]


def challenge_sum(results: Sequence[Result]) -> float | None:
    """The sum of the challenge's metrics among the results; None where there is none."""
    return _sum({one.metric.name: one.score for one in results})


def _sum(scores: Mapping[str, float]) -> float | None:
    counted = [score for name, score in scores.items() if name in METRICS]
    return sum(counted) if counted else None


def table(
    results: Sequence[Result],
    title: str,
    intervals: Mapping[str, Interval] | None = None,
    *,
    encoding_seconds: float = 0.0,
    unproven: str | None = None,
) -> Table:
    """Sets the scores and their sum out for a terminal.

    Args:
        results: The metrics' results.
        title: What was scored, and how.
        intervals: Over repeated seeds, by the metric's name, and of the `sum`.
        encoding_seconds: How long encoding took, before the metrics.
        unproven: Why the scores prove less than others, if so.

    Returns:
        The table.
    """
    caption = f"unproven: {unproven}" if unproven else None
    drawn = Table(title=title, caption=caption, min_width=len(title) + 4)
    drawn.add_column("metric")
    drawn.add_column("score", justify="right")
    if intervals:
        count = len(next(iter(intervals.values())).scores)
        drawn.add_column(f"{count} seeds, {CONFIDENCE:.0%}", justify="right")
    drawn.add_column("time", justify="right")

    def add(name: str, score: float, seconds: float, title: str) -> None:
        interval = [str(intervals[name])] if intervals else []
        drawn.add_row(title, _four_digits(score), *interval, f"{seconds:.0f} s")

    for one in results:
        add(one.metric.name, one.score, one.seconds, one.metric.name)
    total = challenge_sum(results)
    if total is not None:
        drawn.add_section()
        only = all(one.metric.name in METRICS for one in results)
        title = "sum" if only else "sum of the challenge's metrics"
        add("sum", total, encoding_seconds + sum(one.seconds for one in results), title)
    return drawn


def _four_digits(score: float) -> str:
    # Adding 0 turns the -0.0 that rounding leaves of DCI's -2e-16 into 0.0.
    return f"{round(score, 4) + 0:.4f}"


def _gin_values(config: str) -> dict[str, str]:
    """The bindings of an operative configuration, as disentanglement_lib's aggregates hold them."""
    lines = [line for line in config.splitlines() if " = " in line and not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def _threads() -> int:
    """Of OpenMP, here and in the model's process: they decide the last bits of sums."""
    wish = os.environ.get("OMP_NUM_THREADS", "")
    return int(wish) if wish.isdecimal() else len(os.sched_getaffinity(0))


def _linear_svc(engine: str) -> str:
    """The problem that SAP's classifier solves: same optimum either way, other solver noise."""
    if engine == "fast":
        from evaluator.metrics.linear_svc import SOLVER

        return f"{SOLVER}; the challenge's scikit-learn solved the dual"
    from sklearn.svm import LinearSVC

    dual = LinearSVC().dual
    # `auto` takes the primal wherever samples outnumber features; SAP has a single feature.
    solved = "the dual" if dual is True else "the primal"
    return f"scikit-learn's LinearSVC with dual={dual!r} solves {solved}; the challenge's, the dual"
