"""What can be told of the evaluator's settings before a training that scores itself."""

import ast
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from submission.errors import UserError, nearest
from submission.installation import GIN_FOLDER

# What the evaluator scores where it isn't told what: the challenge's.
_SCORED_METRICS = ("dci", "factor_vae_metric", "sap_score", "mig", "irs")


@dataclass(frozen=True)
class EvaluatorSettings:
    """Lines that the evaluator takes with its `--gin` (`submission.values.Condition`).

    Its own check comes with the first snapshot. What can be told before the training is whether a
    metric that training is scored with has such a setting, and whether the value is of the type
    that the metric's file in `gin/evaluation/` gives it.
    """

    def holds(self, value: Sequence[str]) -> bool:
        """See `Condition`.

        Raises:
            UserError: The line that can't be right, and the nearest one that can.
        """
        right: dict[str, Any] = {}
        for metric in _SCORED_METRICS:
            right |= _literals((GIN_FOLDER / "evaluation" / f"{metric}.gin").read_text())
        for line in value:
            name = line.partition("=")[0].strip()
            if name not in right:
                raise UserError(f"scoring.settings: unknown setting {name}: {nearest(name, right)}")
            kinds = (int, float) if type(right[name]) is float else (type(right[name]),)
            if type(_literals(line).get(name)) not in kinds:
                raise UserError(
                    f"scoring.settings: {line!r}: write it as '{name} = {right[name]}', the default"
                )
        return True

    def describe(self, kind: str) -> str:
        """See `Condition`."""
        return "a tuple of texts such as ('dci.num_train = 1000',)"


def _literals(text: str) -> dict[str, Any]:
    """The bindings of a gin text whose values are literals, not references."""
    found = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        with contextlib.suppress(ValueError, SyntaxError):
            found[name.strip()] = ast.literal_eval(value.strip())
    return found
