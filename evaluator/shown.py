"""The lines that the command prints of metrics, whether of a model or of given codes."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from evaluator.evaluation import Written
from evaluator.metrics import Metric, Result, settings


def show_sizes(console: Console, metric: Metric, preset: str, bindings: Sequence[str]) -> None:
    """Prints the settings that a metric is about to be computed with."""
    values = settings(metric, preset, bindings)
    sizes = ", ".join(f"{name.split('.')[1]} {value}" for name, value in values.items())
    console.print(f"{metric.name}: {sizes}", soft_wrap=True)


def show_result(console: Console, result: Result, seed: int, first_seed: int) -> None:
    """Prints a score and what was warned of; the seed, unless it is the first."""
    name = result.metric.name
    which = f"{name}, seed {seed}" if seed != first_seed else name
    console.print(f"{which}: {result.score:.4f} in {result.seconds:.1f} s")
    for warning, count in result.warnings.items():
        console.print(f"warning: {which}: {warning} ({count} times)", soft_wrap=True)


def show_set_aside(console: Console, output: Path, written: Written) -> None:
    """Prints where other scores are that stood in the way, if there were any."""
    if written.set_aside is not None:
        console.print(
            f"warning: {output} held other scores, which are in {written.set_aside.name} now",
            soft_wrap=True,
        )
