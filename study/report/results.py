"""Reads what a study's runs left: final scores, scores by step, latents in use."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from evaluator.latents import Latents, finite_numbers, latents_of
from evaluator.paper import METHOD_TITLES, METRIC_TITLES
from study.folder import StudyFolder
from submission.errors import UserError
from submission.runs.files import UnreadableError, read_object
from submission.runs.folder import RunFolder
from submission.runs.scores import read_scores


@dataclass(frozen=True)
class Run:
    """One finished and scored run.

    Attributes:
        name: The name of its folder.
        folder: Where it lies.
        method: The method's name, such as `beta_vae`.
        variant: The name of its settings among the study's; empty for the only ones.
        seed: The seed.
        label: Method and variant as the report prints them.
        record: The content of `training/run.json`.
        provenance: How it was scored, of `scores.json`.
        scores: A number, or NaN, for each metric.
        scores_by_step: The scores by training step, ascending; the last are `scores`.
        latents: Which are in use; None if unknown.
        kl_per_latent: Nats; empty if unknown.
    """

    name: str
    folder: Path
    method: str
    variant: str
    seed: int
    label: str
    record: Mapping[str, Any]
    provenance: Mapping[str, Any]
    scores: Mapping[str, float]
    scores_by_step: Mapping[int, Mapping[str, float]]
    latents: Latents | None
    kl_per_latent: tuple[float, ...]

    @property
    def steps(self) -> int:
        """The training steps that were done."""
        return int(self.record["steps"])

    @property
    def latents_in_use(self) -> int | None:
        """How many latents are in use; None if unknown."""
        return len(self.latents.in_use) if self.latents else None


@dataclass(frozen=True)
class MissingRun:
    """A run of the plan that the report must do without.

    Attributes:
        name: The name of its folder.
        label: Method and variant as the report prints them.
        seed: The seed.
        reason: Why, such as `not started`.
    """

    name: str
    label: str
    seed: int
    reason: str


@dataclass(frozen=True)
class Results:
    """What a study has so far.

    Attributes:
        settings: The fields of `Study`, as JSON holds them.
        git_revision: Of the code that ran it; empty if unknown.
        variants: Their names, in the plan's order.
        runs: The finished and scored ones: the paper's methods in its order, then others in the
            plan's, each by variant and seed in the plan's order.
        missing: The others, likewise.
    """

    settings: Mapping[str, Any]
    git_revision: str
    variants: tuple[str, ...]
    runs: tuple[Run, ...]
    missing: tuple[MissingRun, ...]

    @property
    def labels(self) -> list[str]:
        """The methods, each variant of its own, in the report's order."""
        return list(dict.fromkeys(run.label for run in self.runs))

    @property
    def methods(self) -> list[str]:
        """The methods' names, in the report's order."""
        return list(dict.fromkeys(run.method for run in self.runs))

    @property
    def metrics(self) -> list[str]:
        """The metrics that some run has: the paper's in its order, then others."""
        found = dict.fromkeys(name for run in self.runs for name in run.scores)
        return [name for name in METRIC_TITLES if name in found] + [
            name for name in found if name not in METRIC_TITLES
        ]


def read(folder: Path) -> Results:
    """Reads a study's folder.

    Runs that are missing, unfinished or not scored are left out, and told in `missing`.

    Args:
        folder: Holds `study.json` and `runs/`, as `python -m study run` leaves them.

    Raises:
        UserError: There is no readable `study.json`.
    """
    study = StudyFolder(folder)
    plan = _read_plan(study.plan)
    runs: list[Run] = []
    missing: list[MissingRun] = []
    for entry in _ordered(plan["runs"]):
        label = _label(entry["method"], entry["variant"])
        try:
            runs.append(_read_run(study.run(entry["name"]), entry, label))
        except _NotReadyError as error:
            missing.append(MissingRun(entry["name"], label, entry["seed"], str(error)))
    return Results(
        settings=plan["study"],
        git_revision=str(plan.get("git_revision") or ""),
        variants=tuple(dict.fromkeys(entry["variant"] for entry in plan["runs"])),
        runs=tuple(runs),
        missing=tuple(missing),
    )


def final_scores(results: Results) -> pd.DataFrame:
    """One row a run.

    Returns:
        Columns `run`, `method`, `variant`, `label`, `seed`, `steps`, one for each metric,
        `latents_in_use` and `kl` (nats an image); NaN where unknown.
    """
    rows = [
        _identity(run)
        | {"steps": run.steps}
        | {metric: run.scores.get(metric, math.nan) for metric in results.metrics}
        | {
            "latents_in_use": math.nan if run.latents_in_use is None else run.latents_in_use,
            "kl": math.fsum(run.kl_per_latent) if run.kl_per_latent else math.nan,
        }
        for run in results.runs
    ]
    columns = [*_IDENTITY, "steps", *results.metrics, "latents_in_use", "kl"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype({"latents_in_use": "Int64"})


def scores_by_step(results: Results) -> pd.DataFrame:
    """One row a scored representation, the final one among them.

    Returns:
        Columns `run`, `method`, `variant`, `label`, `seed`, `step` and one for each metric.
    """
    rows = [
        _identity(run)
        | {"step": step}
        | {metric: scores.get(metric, math.nan) for metric in results.metrics}
        for run in results.runs
        for step, scores in run.scores_by_step.items()
    ]
    return pd.DataFrame(rows, columns=[*_IDENTITY, "step", *results.metrics])


def latents(results: Results) -> pd.DataFrame:
    """One row a latent of a run whose latents are known.

    Returns:
        Columns `run`, `method`, `variant`, `label`, `seed`, `latent`, `variance` of the posterior
        mean over images, `kl` (nats an image) and whether it is `in_use`.
    """
    rows = [
        _identity(run)
        | {
            "latent": latent,
            "variance": run.latents.variance[latent],
            "kl": run.latents.kl[latent],
            "in_use": latent in run.latents.in_use,
        }
        for run in results.runs
        if run.latents
        for latent in range(len(run.latents.kl))
    ]
    return pd.DataFrame(rows, columns=[*_IDENTITY, "latent", "variance", "kl", "in_use"])


# Beyond this a float64, such as a chart's, doesn't count in ones.
_MOST_STEPS = 2**53
_LARGEST = float(np.finfo(np.float32).max)

# Of the names of folders and files.
_PARTS = ("name", "method", "variant")
_PART = re.compile(r"(?!\.)[\w.+-]*")

_ENDED = {"failed": "training failed", "untrained": "no step was trained"}
_IDENTITY = ("run", "method", "variant", "label", "seed")


def _identity(run: Run) -> dict[str, Any]:
    values = (run.name, run.method, run.variant, run.label, run.seed)
    return dict(zip(_IDENTITY, values, strict=True))


class _NotReadyError(Exception):
    """A run that can't be reported; the message says why."""


def _read_plan(path: Path) -> dict[str, Any]:
    advice = "give a folder that `python -m study run` has written"
    try:
        plan = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"there is no {path}: {advice}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is unreadable ({error}): {advice}") from error
    of_run = {"name": str, "method": str, "variant": str, "seed": int}
    of_study = {"dataset": str, "methods": list, "metrics": list}
    try:
        entries = [entry for entry in plan["runs"] if not entry.get("pretraining")]
        whole = _holds(plan["study"], of_study) and all(
            _holds(one, of_run) and all(_PART.fullmatch(one[name]) for name in _PARTS)
            for one in entries
        )
    except (TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise UserError(f"{path} is no plan of a study: {advice}")
    return dict(plan) | {"runs": entries}


def _holds(fields: Mapping[str, Any], kinds: Mapping[str, type]) -> bool:
    return all(isinstance(fields[name], kind) for name, kind in kinds.items())


def _ordered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's methods in its order, then others; what ties keeps the plan's order."""
    methods = list(METHOD_TITLES) + [entry["method"] for entry in entries]
    variants = [entry["variant"] for entry in entries]
    return sorted(
        entries,
        key=lambda entry: (methods.index(entry["method"]), variants.index(entry["variant"])),
    )


def _label(method: str, variant: str) -> str:
    title = METHOD_TITLES.get(method, method)
    return f"{title} ({variant})" if variant else title


def _read_run(folder: RunFolder, entry: Mapping[str, Any], label: str) -> Run:
    record = _read(read_object, folder.record, "not started")
    if record.get("status") != "finished":
        status = record.get("status")
        raise _NotReadyError(_ENDED.get(str(status), f"training is {status}"))
    steps = record.get("steps")
    if type(steps) is not int or not 0 <= steps < _MOST_STEPS:
        raise _NotReadyError("training/run.json tells no number of steps")
    for name in ("dataset", "dataset_fingerprint"):
        if not isinstance(record.get(name), str):
            raise _NotReadyError(f"training/run.json tells no {name}")
    scored = _read(read_scores, folder.scores, "not scored")
    scores = _in_range(scored.scores)
    if not scores:
        raise _NotReadyError("scores.json holds no scores")
    return Run(
        name=entry["name"],
        folder=folder.path,
        method=entry["method"],
        variant=entry["variant"],
        seed=entry["seed"],
        label=label,
        record=record,
        provenance=scored.provenance,
        scores=scores,
        scores_by_step=_snapshots(folder) | {steps: scores},
        latents=latents_of(record),
        kl_per_latent=finite_numbers(record.get("kl_per_latent")),
    )


_Content = TypeVar("_Content")


def _read(read: Callable[[Path], _Content], path: Path, absent: str) -> _Content:
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _NotReadyError(absent) from None
    except UnreadableError:
        raise _NotReadyError(f"{path.name} is unreadable") from None


def _snapshots(folder: RunFolder) -> dict[int, dict[str, float]]:
    """The scores of earlier steps, ascending; snapshots without scores are passed over."""
    found = {}
    for path in folder.snapshots.glob("*"):
        try:
            scored = _read(read_scores, RunFolder(path).scores, "not scored")
            found[int(path.name)] = _in_range(scored.scores)
        except (_NotReadyError, ValueError):
            continue
    return dict(sorted(found.items()))


def _in_range(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores, NaN for what is none.

    No metric gives what is beyond float32's range, and squares of it would overflow.
    """
    return {name: score if abs(score) <= _LARGEST else math.nan for name, score in scores.items()}
