"""What an audit scores: each family at each value of its dial, and each baseline, over seeds."""

import ast
import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from evaluator import metrics
from evaluator.given_codes import score_table
from evaluator.metrics import Metric
from study.audit import baselines
from study.audit.baselines import BASELINES
from study.audit.families import FAMILIES, Family, sample_sizes
from study.audit.grid import Grid, factors_of, grid_of
from submission import datasets
from submission.datasets import Dataset
from submission.errors import UserError
from submission.installation import GIN_FOLDER, ROOT

UDR = "udr"
"""Beside the metrics of a single representation: how alike those of several seeds are."""


DIALS = ("noisy", "mixed", "dropped")
"""The families on which methods' scores are placed: all of their values are scored always."""


@dataclass(frozen=True)
class Preset:
    """How much an audit scores.

    Attributes:
        seeds: Of each family.
        baseline_seeds: Of each baseline, at most; each has its own number.
        samples: What the metrics draw where the challenge draws 10,000.
        values: Values of a dial, at most.
        latents: How many the baselines have.
    """

    seeds: int
    baseline_seeds: int
    samples: int
    values: int
    latents: tuple[int, ...]


PRESETS = {
    "challenge": Preset(
        seeds=3, baseline_seeds=20, samples=10_000, values=8, latents=baselines.LATENTS
    ),
    "quick": Preset(seeds=3, baseline_seeds=3, samples=1_000, values=2, latents=(2, 10)),
}


@dataclass(frozen=True)
class Case:
    """One table of codes and how it is scored.

    Attributes:
        group: The name of its family or baseline.
        dial: The dial's value; of a baseline, its latents.
        seed: Of the codes and of the metrics' draws.
    """

    group: str
    dial: float
    seed: int

    @property
    def file(self) -> str:
        """Of its scores, such as `noisy/0.5-0.json`."""
        return f"{self.group}/{self.dial:g}-{self.seed}.json"


@dataclass(frozen=True)
class Audit:
    """Everything that decides on an audit's scores.

    Attributes:
        dataset: The data set's name.
        preset: One of `PRESETS`.
        metrics: Names of `evaluator.metrics.ALL_METRICS`, and `UDR`.
    """

    dataset: str
    preset: str = "challenge"
    metrics: tuple[str, ...] = (*metrics.ALL_METRICS, UDR)

    @property
    def sizes(self) -> Preset:
        """The preset's."""
        return PRESETS[self.preset]

    @cached_property
    def images(self) -> Dataset:
        """The data set, which is read, or rendered, where it is first asked for."""
        return datasets.load(self.dataset)

    @cached_property
    def chosen(self) -> list[Metric]:
        """The metrics of a single representation, in the order of `ALL_METRICS`."""
        names = [name for name in self.metrics if name != UDR]
        return metrics.choose(names) if names else []

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides on a score but its case; scores of another are stale."""
        said = {
            "dataset": self.dataset,
            "fingerprint": self.images.fingerprint(),
            "samples": self.sizes.samples,
            "metrics": self.metrics,
        }
        digest = hashlib.sha256(json.dumps(said).encode())
        for folder, pattern in _DECIDING:
            for path in sorted(folder.glob(pattern)):
                digest.update(_said_by(path).encode())
        return digest.hexdigest()[:16]

    def cases(self, group: str) -> list[Case]:
        """The cases of a family or a baseline, seed by seed."""
        if group in BASELINES:
            seeds = min(BASELINES[group].seeds, self.sizes.baseline_seeds)
            dials: Sequence[float] = self.sizes.latents
        else:
            seeds, dials = self.sizes.seeds, self.values(FAMILIES[group])
        return [Case(group, dial, seed) for seed in range(seeds) for dial in dials]

    def all_cases(self) -> list[Case]:
        """The cases of all families and baselines."""
        return [case for group in groups() for case in self.cases(group)]

    def values(self, family: Family) -> list[float]:
        """The values of a dial that are scored: spread evenly, the last always among them."""
        values = list(family.values)
        if family.name in DIALS:
            return values
        if family.bind is sample_sizes:
            values = [value for value in values if value <= 10 * self.sizes.samples]
        last, count = len(values) - 1, min(self.sizes.values, len(values))
        places = {last - round(last * place / max(count - 1, 1)) for place in range(count)}
        return [values[place] for place in sorted(places)]

    def tables(self, group: str) -> Iterator[tuple[Case, Grid, np.ndarray]]:
        """The cases of a group, each with what it is scored on and its codes.

        Yields:
            The case, the grid, and float32 [states, latents].
        """
        if group in BASELINES:
            yield from self._of_baseline(group)
            return
        family = FAMILIES[group]
        grid = grid_of(self.images)
        factors = factors_of(grid)
        for case in self.cases(group):
            random = np.random.RandomState(case.seed)
            table = family.build(factors, case.dial, random).astype(np.float32)
            if family.coupled:
                grid = grid_of(self.images, coupling=case.dial)
            yield case, grid, table

    def _of_baseline(self, group: str) -> Iterator[tuple[Case, Grid, np.ndarray]]:
        grid = grid_of(self.images)
        rows = self.images.image_indices(factors_of(grid), np.random.RandomState(0))
        for seed, cases in itertools.groupby(self.cases(group), key=lambda case: case.seed):
            table = BASELINES[group].table(self.images, rows, seed).astype(np.float32)
            for case in cases:
                yield case, grid, table[:, : int(case.dial)]

    def score(self, case: Case, grid: Grid, table: np.ndarray) -> dict[str, float | None]:
        """Scores a case with every metric that its dial concerns.

        Args:
            case: The case.
            grid: What it is scored on.
            table: Its codes.

        Returns:
            By the metric's name; None where the metric has no number for it, as for a
            representation that never changes.
        """
        family = FAMILIES.get(case.group)
        scores: dict[str, float | None] = {}
        by_computation: dict[str, list[Metric]] = {}
        for metric in self.chosen:
            by_computation.setdefault(metric.computation, []).append(metric)
        for members in by_computation.values():
            bindings = sample_sizes(members[0], self.sizes.samples)
            if family is not None and family.bind is not None:
                bound = family.bind(members[0], case.dial)
                if not bound:
                    continue
                bindings = [*bindings, *bound]
            try:
                results = score_table(grid, table, members, seed=case.seed, bindings=bindings)
            except UserError:
                scores |= {metric.name: None for metric in members}
            else:
                scores |= {name: result.score for name, result in results.items()}
        return scores


_DECIDING = (
    (ROOT / "evaluator" / "metrics", "*.py"),
    (ROOT / "evaluator", "udr.py"),
    (GIN_FOLDER / "evaluation", "*.gin"),
    # The `untrained` baseline's encoder.
    (ROOT / "submission", "networks.py"),
    *((Path(__file__).parent, f"{name}.py") for name in ("baselines", "cases", "families", "grid")),
)


def _said_by(path: Path) -> str:
    """What a file says to the interpreter: of Python without comments and docstrings."""
    text = path.read_text()
    if path.suffix != ".py":
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
            node.body = [line for line in node.body if not _is_docstring(line)]
    return ast.dump(tree)


def _is_docstring(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )


def groups() -> list[str]:
    """The names of all families and baselines."""
    return [*FAMILIES, *BASELINES]
