"""What an evaluation leaves behind: the challenge's JSON files, `scores.json` and a table."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from evaluator.intervals import CONFIDENCE, Interval
from evaluator.metrics import METRICS, Result
from evaluator.representations import Representation, sha256
from submission.datasets.dataset import Dataset
from submission.files import write_json

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
    path = output / "metrics" / name / "results" / "aggregate" / "evaluation.json"
    write_json(
        path,
        {f"evaluation_config.{key}": value for key, value in sorted(config.items())}
        | {f"evaluation_results.{key}": value for key, value in values.items()},
    )
    return path


def write_scores(
    output: Path,
    results: Sequence[Result],
    dataset: Dataset,
    representation: Representation,
    *,
    seed: int,
    engine: str,
    preset: str,
    warnings: Sequence[str] = (),
    intervals: Mapping[str, Interval] | None = None,
    bindings: Sequence[str] = (),
) -> Path:
    """Writes `scores.json`: the scores, their sum, and all that is needed to get them again.

    Args:
        output: The run folder.
        results: The metrics' results; the sum is that of the challenge's metrics among them.
        dataset: What they were computed on.
        representation: What was scored.
        seed: The seed.
        engine: The engine's name.
        preset: The preset's name.
        warnings: What there is to say beside the metrics' own warnings.
        intervals: Over repeated seeds, by the metric's name, and of the `sum`.
        bindings: The settings of the command line.

    Returns:
        The path of the file.
    """
    import torch

    warned = {one.metric.name: one.warnings for one in results if one.warnings}
    if warnings:
        warned["engine"] = dict.fromkeys(warnings, 1)

    provenance = {
        "dataset": dataset.name,
        "dataset_fingerprint": dataset.fingerprint(),
        "factors_num_values": list(dataset.factors_num_values),
        "images": len(dataset.images),
        "seed": seed,
        "engine": engine,
        "preset": preset,
        "versions": _versions(),
        "gin_config": "\n".join(f"# {one.metric.name}\n\n{one.gin_config}" for one in results),
        "gin_bindings": list(bindings),
        "git_revision": _git_revision(),
        # What docker/portal.py says of the container's image.
        "image": os.environ.get("IMAGE_DIGEST"),
        "representation_file": representation.path.name,
        "representation_sha256": sha256(representation.path),
        "representation_repeatable": representation.repeatable,
        "latents": representation.latents,
        "linear_svc": _linear_svc(engine),
        "threads": torch.get_num_threads(),
        "warnings": warned,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": {one.metric.name: round(one.seconds, 3) for one in results},
    }
    content = {
        "scores": {one.metric.name: one.score for one in results},
        "sum": challenge_sum(results),
        "metrics": {one.metric.name: one.values for one in results},
        "provenance": provenance,
    }
    if intervals:
        count = len(next(iter(intervals.values())).scores)
        content["repeats"] = {
            "seeds": list(range(seed, seed + count)),
            "confidence": CONFIDENCE,
            **{name: asdict(interval) for name, interval in intervals.items()},
        }
    path = output / "scores.json"
    write_json(path, content)
    return path


def challenge_sum(results: Sequence[Result]) -> float | None:
    """The sum of the challenge's metrics among the results; None where there is none."""
    counted = [one.score for one in results if one.metric.name in METRICS]
    return sum(counted) if counted else None


def table(
    results: Sequence[Result], title: str, intervals: Mapping[str, Interval] | None = None
) -> Table:
    """Sets the scores and their sum out for a terminal.

    Args:
        results: The metrics' results.
        title: What was scored, and how.
        intervals: Over repeated seeds, by the metric's name, and of the `sum`.

    Returns:
        The table.
    """
    drawn = Table(title=title, min_width=len(title) + 4)
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
        title = "sum" if only else "sum of the challenge's"
        add("sum", total, sum(one.seconds for one in results), title)
    return drawn


def _four_digits(score: float) -> str:
    # Adding 0 turns the -0.0 that rounding leaves of DCI's -2e-16 into 0.0.
    return f"{round(score, 4) + 0:.4f}"


def _gin_values(config: str) -> dict[str, str]:
    """The bindings of an operative configuration, as disentanglement_lib's aggregates hold them."""
    lines = [line for line in config.splitlines() if " = " in line and not line.startswith("#")]
    return dict(line.split(" = ", 1) for line in lines)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _linear_svc(engine: str) -> str:
    """The problem that SAP's classifier solves: same optimum either way, other solver noise."""
    if engine == "fast":
        from evaluator.linear_svc import SOLVER

        return f"{SOLVER}; the challenge's scikit-learn solved the dual"
    from sklearn.svm import LinearSVC

    dual = LinearSVC().dual
    # `auto` takes the primal wherever samples outnumber features; SAP has a single feature.
    solved = "the dual" if dual is True else "the primal"
    return f"scikit-learn's LinearSVC with dual={dual!r} solves {solved}; the challenge's, the dual"


def _git_revision() -> str:
    """The commit of this code, marked when files differ from it.

    The image that this project builds holds no checkout, and names its commit in `GIT_REVISION`.
    """
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("GIT_REVISION", "unknown")
    return answer.stdout.strip()
