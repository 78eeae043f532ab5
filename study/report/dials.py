"""What each metric measures, as `python -m study audit` found: its verdicts and its dials."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.report.wording import decimals, listed
from submission.errors import UserError
from submission.runs.files import UnreadableError, read_object

FOLDER = Path(__file__).parent / "audited"
"""Holds the `dials.json` of each data set that was audited, as NAME.json."""

BESIDE = "audit"
"""The folder beside a study's page in which an audit of one's own is looked for."""

_DEFAULT = "mpi3d_mini"
_INVARIANCE = "invariance"
_VERBS = {
    "rewards": "rewards {}",
    "ignores": "ignores {}",
    "punishes": "punishes {}",
    "mixed": "is mixed on {}",
    "open": "leaves {} open",
}

# Of a picture, in its own units: room for the line between the scores 0 and 1.
WIDTH, HEIGHT = 120, 48
_MARGIN = 4


@dataclass(frozen=True)
class Dial:
    """A metric's scores as one thing is done to perfect representations, more and more.

    Attributes:
        family: Its name, an id on the audit's page.
        title: What is done.
        dial: What its values are.
        verdict: `falls`, `stays`, `rises`, `open` or `no verdict`.
        values: Of the dial, from perfect to spoilt; of a scale with the perfect one in the middle.
        scores: Mean scores there; None where there is none.
    """

    family: str
    title: str
    dial: str
    verdict: str
    values: tuple[float, ...]
    scores: tuple[float | None, ...]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Where the scores stand in a picture of `WIDTH` by `HEIGHT`, values evenly apart."""
        step = (WIDTH - 2 * _MARGIN) / max(len(self.values) - 1, 1)
        height = HEIGHT - 2 * _MARGIN
        return [
            (round(_MARGIN + step * place, 1), round(_MARGIN + height * (1 - score), 1))
            for place, score in enumerate(self.scores)
            if score is not None
        ]

    @property
    def told(self) -> str:
        """Such as `falls: 1.00 at 0, 0.70 at 45`."""
        ends = [
            f"{decimals(score, 2)} at {value:g}"
            for value, score in zip(self.values, self.scores, strict=True)
            if score is not None
        ]
        return f"{self.verdict}: {ends[0]}, {ends[-1]}" if ends else self.verdict


@dataclass(frozen=True)
class Measured:
    """What one metric measures.

    Attributes:
        says: In a sentence without its subject, such as `rewards modularity; ignores compactness`.
        verdicts: A word and how many dials it stands on, by property.
        perfect: What the factors themselves score.
        noise: What latents of noise score.
        untrained: The lowest and the highest score of untrained encoders; empty if unknown.
        dials: By the property that they break.
    """

    says: str
    verdicts: Mapping[str, tuple[str, str]]
    perfect: float
    noise: float
    untrained: tuple[float, ...]
    dials: Mapping[str, Sequence[Dial]]


@dataclass(frozen=True)
class Audited:
    """What an audit found.

    Attributes:
        dataset: Whose factors it was made of.
        properties: What each property means.
        metrics: By the metric's name.
    """

    dataset: str
    properties: Mapping[str, str]
    metrics: Mapping[str, Measured]


def read(report: Path, dataset: str) -> Audited:
    """Reads an audit.

    Args:
        report: The folder of a study's page. If an audit lies beside the page, it is taken.
        dataset: The study's. Where it wasn't audited, the audit is that of mpi3d_mini.

    Raises:
        UserError: What lies beside the page is none.
    """
    own = report / BESIDE / "dials.json"
    known = {path.stem: path for path in FOLDER.glob("*.json")}
    path = own if own.exists() else known.get(dataset, known[_DEFAULT])
    try:
        return _audited(read_object(path))
    except (OSError, UnreadableError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"no dials of `python -m study audit` ({error!r}): make it anew, or remove it"
        raise UserError(f"{path}: {reason}") from error


def page_beside(report: Path) -> str:
    """The path of an audit's page from a study's page; empty if none lies beside it."""
    path = Path(BESIDE) / "audit.html"
    return path.as_posix() if (report / path).is_file() else ""


def _audited(content: Mapping[str, Any]) -> Audited:
    families = content["families"]
    metrics = {}
    for metric, found in content["metrics"].items():
        dials: dict[str, list[Dial]] = {}
        for name, dial in found["dials"].items():
            family = families[name]
            values, scores = map(tuple, (dial["values"], dial["scores"]))
            one = Dial(name, family["title"], family["dial"], dial["verdict"], values, scores)
            dials.setdefault(family["breaks"], []).append(one)
        verdicts = {
            name: (verdict["word"], verdict["counts"])
            for name, verdict in found["properties"].items()
        }
        metrics[metric] = Measured(
            says=_says(verdicts),
            verdicts=verdicts,
            perfect=_number(found["perfect"]),
            noise=_number(found["noise"]),
            untrained=tuple(map(_number, found["untrained"])),
            dials=dials,
        )
    return Audited(content["dataset"], content["properties"], metrics)


def _says(verdicts: Mapping[str, tuple[str, str]]) -> str:
    parts = []
    for word, phrase in _VERBS.items():
        named = [name for name, (own, _) in verdicts.items() if own == word and name != _INVARIANCE]
        if named:
            parts.append(phrase.format(listed(named)))
    word, _ = verdicts.get(_INVARIANCE, ("", ""))
    if word == "invariant":
        parts.append("stays where nothing is broken")
    elif word == "varies":
        parts.append("changes where nothing is broken")
    return "; ".join(parts)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
