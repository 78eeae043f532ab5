"""The settings of each metric: from its gin file, the preset's file and the command line.

Sample sizes come from `gin/evaluation/<metric>.gin` (the challenge's), then from the preset's file,
then from bindings of the command line; each metric has a gin configuration of its own, since MIG
and IRS bind the same names.
"""

import ast
from collections.abc import Iterable, Sequence
from typing import Any

import gin

from evaluator.metrics.metric import Metric
from evaluator.metrics.registry import ALL_METRICS
from submission import installation
from submission.errors import UserError, nearest
from submission.values import describe, fits

GIN_FOLDER = installation.GIN_FOLDER / "evaluation"

# `challenge` and `paper` are the sizes in each metric's own file.
PRESETS = ("quick", "challenge", "paper")


def check_bindings(bindings: Iterable[str], metrics: Sequence[Metric]) -> None:
    """Checks gin bindings without importing what they configure.

    Args:
        bindings: Such as `dci.num_train = 100`.
        metrics: The metrics that will run.

    Raises:
        UserError: A binding that can't be read, binds an unknown name (the line gives the nearest
            one) or a value that can't be right, or concerns none of the metrics.
    """
    if isinstance(bindings, str):
        raise UserError(f"gin is {bindings!r}, and must be a list of settings: [{bindings!r}]")
    types = {name: kind for one in ALL_METRICS.values() for name, kind in one.settings.items()}
    for binding in bindings:
        name, value = _split(binding)
        if name not in types:
            raise UserError(f"--gin {binding!r}: unknown setting {name}: {nearest(name, types)}")
        if not any(name in metric.settings for metric in metrics):
            raise UserError(f"--gin {binding!r}: --metrics selects no metric that reads {name}")
        try:
            parsed = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            parsed = None
        if not fits(parsed, types[name]):
            raise UserError(f"--gin {binding!r}: {name} must be {describe(types[name])}")


def settings(metric: Metric, preset: str, bindings: Sequence[str] = ()) -> dict[str, Any]:
    """The values that files and bindings give a metric, without importing what they configure.

    Args:
        metric: The metric.
        preset: One of `PRESETS`.
        bindings: Checked bindings, which win over the files.

    Returns:
        `configurable.parameter` to value, one for each of `metric.settings`.
    """
    texts = [(GIN_FOLDER / f"{metric.computation}.gin").read_text()]
    if preset == "quick":
        texts.append((GIN_FOLDER / "quick.gin").read_text())
    values = {}
    for statement in gin.config_parser.ConfigParser("\n".join([*texts, *bindings]), _Names()):
        values[f"{statement.selector}.{statement.arg_name}"] = statement.value
    return {name: values[name] for name in metric.settings}


class _Names(gin.config_parser.ParserDelegate):
    """Reads a reference to a function as its name."""

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        return f"@{scoped_configurable_name}"

    def macro(self, macro_name: str) -> str:
        return f"%{macro_name}"


def _split(binding: str) -> tuple[str, str]:
    name, equals, value = binding.partition("=")
    if not equals:
        raise UserError(f"--gin {binding!r}: write it as 'name.parameter = value'")
    return name.strip(), value.strip()
