"""Scoring a representation in a container, and checking scores by computing them again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import image
import results
import sandbox
from live_log import LiveLog
from sandbox import SHARED, Ending, Job, Limits

from submission.datasets import Dataset
from submission.errors import UserError

DATASET = "/DATASET"
_REPRESENTATION = "/REPRESENTATION"
# What differs from one computation to the next, whatever the scores.
_TIMES = ("created", "seconds")


@dataclass(frozen=True)
class Scoring:
    """What to score, and on what.

    Attributes:
        image: The image's name or id.
        representation: The folder.
        dataset: The data set, already in `data_root`.
        data_root: The folder of the data sets.
        arguments: Further options of `python -m evaluator`.
        limits: What the container may use.
    """

    image: str
    representation: Path
    dataset: Dataset
    data_root: Path
    arguments: Sequence[str]
    limits: Limits


def score(client: docker.DockerClient, scoring: Scoring, destination: Path) -> None:
    """Scores a representation in a container that sees nothing but it and the data sets.

    Args:
        client: The engine.
        scoring: What to score.
        destination: An empty folder for `scores.json`, `metrics/` and `log.txt`.

    Raises:
        UserError: The representation was refused, or its code had to be stopped.
        RuntimeError: The evaluator failed.
    """
    found = image.get(client, scoring.image)
    limits = scoring.limits
    with (
        results.readable_copy(scoring.representation, limits.output) as representation,
        sandbox.output(client, scoring.image, limits.output) as shared,
        LiveLog("scoring", limits.seconds, destination / "log.txt", limits.printed) as log,
    ):
        job = Job(
            title="scoring",
            image=scoring.image,
            entrypoint=["python", "-m", "evaluator"],
            arguments=[
                _REPRESENTATION,
                *("--dataset", scoring.dataset.name),
                *("--output", f"{SHARED}/scored"),
                "--allow-pickle",
                "--no-report",
                *scoring.arguments,
            ],
            environment={
                "DISENTANGLEMENT_LIB_DATA": DATASET,
                "AICROWD_CUDA": "0",
                "IMAGE_DIGEST": str(found.id),
            },
            mounts={
                _REPRESENTATION: representation,
                **results.data_set_mounts(scoring.data_root, DATASET, scoring.dataset),
            },
        )
        ending = sandbox.run(client, job, shared, limits, log)
        check(ending, "scoring", log)
        results.take(shared, "scored", destination, limits.output)


def check(ending: Ending, title: str, log: LiveLog) -> None:
    """Raises what a container's end means.

    Raises:
        UserError: It was stopped, or told a mistake.
        RuntimeError: It failed.
    """
    if ending.stopped:
        raise UserError(f"{title}: the submission's code {ending.stopped}")
    if ending.exit_code == 2 and log.last_error:
        raise UserError(f"{title}: {log.last_error}")
    if ending.exit_code:
        raise RuntimeError(f"{title} ended with exit code {ending.exit_code}")


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Compares two `scores.json`, all but their times.

    Returns:
        What differs in the numbers, and what differs in where they come from; one line each.
    """
    numbers: list[str] = []
    for part in sorted((one.keys() | other.keys()) - {"provenance"}):
        _compare(part, one.get(part), other.get(part), numbers)
    origin: list[str] = []
    first, second = dict(one.get("provenance", {})), dict(other.get("provenance", {}))
    for key in _TIMES:
        first.pop(key, None)
        second.pop(key, None)
    _compare("provenance", first, second, origin)
    return numbers, origin


def read_scores(path: Path) -> dict[str, Any]:
    """Reads a `scores.json`.

    Raises:
        UserError: It can't be read, or isn't one.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read as scores ({error})") from error
    if not isinstance(value, dict) or not {"scores", "metrics", "provenance"} <= set(value):
        raise UserError(
            f"{path} holds no scores: it must be a scores.json that the evaluator wrote"
        )
    return value


def arguments_of(scores: Mapping[str, Any]) -> list[str]:
    """The options of `python -m evaluator` that scores were computed with."""
    origin = scores["provenance"]
    options = ["--metrics", *scores["scores"], "--seed", str(origin["seed"])]
    options += ["--engine", origin["engine"], "--preset", origin["preset"]]
    if "repeats" in scores:
        options += ["--repeats", str(len(scores["repeats"]["seeds"]))]
    for binding in origin.get("gin_bindings", ()):
        options += ["--gin", binding]
    return options


def _compare(name: str, one: Any, other: Any, found: list[str]) -> None:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            _compare(f"{name}.{key}", one.get(key), other.get(key), found)
    # As text, so that 1 and 1.0 differ, and NaN equals itself.
    elif json.dumps(one) != json.dumps(other):
        found.append(f"{name}: {_short(one)} before, {_short(other)} now")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:97] + "..."
