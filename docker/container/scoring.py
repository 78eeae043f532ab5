"""Scoring a representation in two containers, and checking scores by computing them again."""

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from container import apart, results, sandbox
from container.live_log import LiveLog, plain
from container.sandbox import SHARED, Job, Limits
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.files import write_json

DATASET = "/DATASET"
# What differs from one computation to the next, whatever the scores: the noise of a probe too.
_EACH_TIME = ("created", "seconds", "memorisation")
_MOST_BYTES_OF_SCORES = 16 * 2**20


@dataclass(frozen=True)
class Scoring:
    """What to score, and on what.

    Attributes:
        image: The id of the image to score in.
        representation: The folder.
        dataset: The data set, already in `data_root`.
        data_root: The folder of the data sets.
        arguments: Further options of `python -m evaluator`.
        limits: What each of the two containers may use, but for the memory, which they halve.
    """

    image: str
    representation: Path
    dataset: Dataset
    data_root: Path
    arguments: Sequence[str]
    limits: Limits


def score(client: docker.DockerClient, scoring: Scoring, destination: Path) -> None:
    """Scores a representation in a container that sees the data sets, and its model in another.

    Args:
        client: The engine.
        scoring: What to score.
        destination: An empty folder for `scores.json`, `metrics/` and `log.txt`.

    Raises:
        UserError: The representation was refused, its code had to be stopped, or what the scorer
            left aren't scores.
        RuntimeError: The evaluator failed.
    """
    limits = scoring.limits
    with (
        sandbox.output(client, scoring.image, limits.output, limits.seconds) as shared,
        LiveLog("scoring", limits.seconds, destination / "log.txt", limits.printed) as log,
    ):
        job = Job(
            title="scoring",
            image=scoring.image,
            entrypoint=["python", "-m", "evaluator"],
            arguments=[
                apart.REPRESENTATION,
                *("--worker", apart.WORKER),
                *("--dataset", results.address_in(DATASET, scoring.dataset)),
                *("--output", f"{SHARED}/scored"),
                "--allow-pickle",
                "--no-report",
                *scoring.arguments,
            ],
            environment={
                "DISENTANGLEMENT_LIB_DATA": DATASET,
                "IMAGE_DIGEST": scoring.image,
            },
            mounts=results.data_set_mounts(
                scoring.data_root, DATASET, scoring.dataset, secrets=True
            ),
            volumes=[shared.volume],
        )
        apart.run(client, job, scoring.representation, limits, log)
        left = destination / "left"
        left.mkdir()
        results.take(shared, "scored", left, limits.output)
    keep_scores(left, destination)
    shutil.rmtree(left)


def keep_scores(left: Path, destination: Path) -> None:
    """Writes anew what an evaluation leaves, and nothing else.

    Args:
        left: What the scoring container left.
        destination: Gets `scores.json` and `metrics/`.

    Raises:
        UserError: Those are missing in `left`, or hold something else.
    """
    try:
        scores = read_scores(left / "scores.json")
        for name in scores["scores"]:
            inside = Path("metrics", name, "results", "aggregate", "evaluation.json")
            write_json(destination / inside, _read_json(left / inside))
        write_json(destination / "scores.json", scores)
    except (UserError, RecursionError) as error:
        raise UserError(f"what the scoring container left was refused: {error}") from error


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
    for key in _EACH_TIME:
        first.pop(key, None)
        second.pop(key, None)
    _compare("provenance", first, second, origin)
    return numbers, origin


def read_scores(path: Path) -> dict[str, Any]:
    """Reads a `scores.json`.

    Raises:
        UserError: It can't be read, or isn't one.
    """
    value = _read_json(path)
    wrong = _wrong_part(value)
    if wrong:
        raise UserError(
            f"{path} holds no scores ({wrong}): it must be a scores.json that the evaluator wrote"
        )
    scores: dict[str, Any] = value
    return scores


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES_OF_SCORES:
            raise ValueError(f"it has more than {_MOST_BYTES_OF_SCORES // 2**20} MiB")
        return json.loads(
            path.read_text(encoding="utf-8"), parse_float=_finite, parse_constant=_finite
        )
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} can't be read as scores ({plain(str(reason))})") from error


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:20]} is not finite")
    return float(text)


def _wrong_part(value: Any) -> str:
    """What is wrong with the parts of a `scores.json` that are used here; "" when nothing is."""
    if not isinstance(value, dict):
        return "it is no JSON object"
    for key in ("scores", "metrics", "provenance"):
        if not isinstance(value.get(key), dict):
            return f"{key} is no object"
    scores, origin = value["scores"], value["provenance"]
    if not scores or not all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in scores):
        return "scores names no metrics"
    if not all(_is_number(score) for score in scores.values()):
        return "a score is no number"
    if type(origin.get("seed")) is not int:
        return "provenance.seed is no integer"
    for key in ("dataset", "engine", "preset"):
        if not isinstance(origin.get(key), str):
            return f"provenance.{key} is no text"
    bindings = origin.get("gin_bindings", [])
    if not isinstance(bindings, list) or not all(isinstance(one, str) for one in bindings):
        return "provenance.gin_bindings is no list of settings"
    image = origin.get("image")
    if image is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", str(image)):
        return "provenance.image is no image's digest"
    repeats = value.get("repeats", {"seeds": []})
    if not isinstance(repeats, dict) or not isinstance(repeats.get("seeds"), list):
        return "repeats.seeds is no list"
    return ""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(float(f"{value}"))


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
