"""The runs that are compared, and why scores may not stand in one table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluator.latents import finite_numbers
from evaluator.metrics import METRICS
from submission.errors import UserError
from submission.runs.files import UnreadableError
from submission.runs.folder import RunFolder
from submission.runs.record import read_record
from submission.runs.scores import Scores, read_scores


@dataclass(frozen=True)
class Run:
    """A run that was scored.

    Attributes:
        name: What the tables call it.
        participant: Whose entry it is.
        folder: Where it is.
        scores: Its `scores.json`.
        record: Its `training/run.json`; empty where there was no training.
    """

    name: str
    participant: str
    folder: RunFolder
    scores: Scores
    record: Mapping[str, Any]

    def by_seed(self, name: str) -> tuple[float, ...]:
        """The scores of a metric by the seed of the draws, one or several; none if unscored."""
        score = self.scores.scores.get(name, math.nan)
        if not math.isfinite(score):
            return ()
        repeats = self.scores.repeats.get(name)
        listed = finite_numbers(repeats.get("scores")) if isinstance(repeats, dict) else ()
        return listed if len(listed) == len(self.seeds) > 1 else (score,)

    @property
    def protocol(self) -> str:
        """`challenge`, or `sampled`: of rows that cover no grid of the factors."""
        return str(self.scores.provenance.get("protocol", "challenge"))

    @property
    def unproven(self) -> str:
        """Why its scores prove less than others; empty where they don't."""
        return str(self.scores.provenance.get("unproven") or "")

    @property
    def seeds(self) -> tuple[float, ...]:
        """Of the draws, where there are several; else empty."""
        return finite_numbers(self.scores.repeats.get("seeds"))


def read_runs(given: Sequence[str]) -> list[Run]:
    """Reads the runs of a command line.

    Args:
        given: Run folders, their `scores.json` or their representation folders; `NAME=RUN` tells
            whose entry it is. Without it each run is a participant of its own.

    Returns:
        The runs, each of a name of its own.

    Raises:
        UserError: A run has no scores, they can't be read, or it is there twice.
    """
    parted = [_parted(word) for word in given]
    folders = [_folder(path) for _, path in parted]
    for number, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:number]]:
            raise UserError(f"{folder} is there twice")
    names = _names(folders)
    return [
        Run(name, participant or name, RunFolder(folder), _scores(folder), _record(folder))
        for name, folder, (participant, _) in zip(names, folders, parted, strict=True)
    ]


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuses scores that no table may rank.

    Raises:
        UserError: Two runs were scored on different images, with different settings of a metric, by
            different engines or protocols.
    """
    first = runs[0]
    for other in runs[1:]:
        for what, told in (
            ("data sets", _data_set),
            ("engines", lambda run: run.scores.provenance.get("engine")),
            ("protocols", lambda run: run.protocol),
        ):
            one, two = told(first), told(other)
            if one != two:
                raise UserError(
                    f"scores of different {what} can't be ranked in one table: {first.name} was "
                    f"scored with {one}, {other.name} with {two}"
                )
        for metric in METRICS:
            mine, theirs = _settings(first, metric), _settings(other, metric)
            for setting in sorted(mine.keys() & theirs.keys()):
                if mine[setting] != theirs[setting]:
                    raise UserError(
                        "scores of different sample sizes or settings can't be ranked in one "
                        f"table: {setting} is {mine[setting]} for {first.name}, "
                        f"{theirs[setting]} for {other.name}"
                    )


def shared_metrics(runs: Sequence[Run]) -> list[str]:
    """The challenge's metrics that every run was scored with, in the order of the paper.

    Raises:
        UserError: There is none.
    """
    shared = [name for name in METRICS if all(run.by_seed(name) for run in runs)]
    if not shared:
        raise UserError(
            f"no metric of the challenge ({', '.join(METRICS)}) was scored for all runs: "
            "`python -m evaluator RUN` scores one"
        )
    return shared


def _parted(word: str) -> tuple[str, Path]:
    name, separator, path = word.partition("=")
    if separator and name and not Path(word).exists():
        return name, Path(path)
    return "", Path(word)


def _folder(path: Path) -> Path:
    if path.name == "scores.json":
        return path.parent
    # A representation folder, whose scores stand beside it.
    if not (path / "scores.json").exists() and (path.parent / "scores.json").exists():
        return path.parent
    return path


def _names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of their paths as tells them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-length:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _scores(folder: Path) -> Scores:
    path = RunFolder(folder).scores
    try:
        return read_scores(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(
            f"there is no {path}: `python -m evaluator {folder}` scores a run"
        ) from error
    except UnreadableError as error:
        raise UserError(f"{path} can't be read ({error}): score the run again") from error


def _record(folder: Path) -> Mapping[str, Any]:
    return read_record(RunFolder(folder).record)


def _data_set(run: Run) -> str:
    provenance = run.scores.provenance
    digits = str(provenance.get("dataset_fingerprint"))[:8]
    return f"{provenance.get('dataset')} (fingerprint {digits})"


def _settings(run: Run, metric: str) -> dict[str, str]:
    """The settings of a metric, as its scores' provenance tells them."""
    text = str(run.scores.provenance.get("gin_config", ""))
    pairs = [line.split(" = ", 1) for line in text.splitlines() if " = " in line]
    told = {name: value for name, value in pairs}
    return {name: told[name] for name in METRICS[metric].settings if name in told}
