"""An evaluation in MLflow or Weights & Biases, beside the losses of the training."""

from collections.abc import Callable
from pathlib import Path

from evaluator.evaluation import Evaluation
from submission.runs.folder import RunFolder
from submission.runs.tracking import Tracking

_SECONDS = 60.0


def log_scores(
    evaluation: Evaluation, output: Path, trained: RunFolder, warn: Callable[[str], None]
) -> None:
    """Logs the scores and keeps `scores.json` and the report, where the environment asks for it.

    Args:
        evaluation: What is written.
        output: Where it is written.
        trained: The run's folder; its training is gone on with, if there was one.
        warn: Takes one line on a service that fails.
    """
    training = trained.record.exists()
    folder = trained.path if training else output.absolute()
    settings = {name: evaluation.origin[name] for name in ("dataset", "preset", "seed", "engine")}
    place = trained.training if training else folder
    tracking = Tracking(place, folder.name, settings, _SECONDS, warn)
    scores = evaluation.scores | ({} if evaluation.sum is None else {"sum": evaluation.sum})
    tracking.log({f"score/{name}": score for name, score in scores.items()})
    written = RunFolder(output)
    for path in (written.scores, written.report):
        if path.exists():
            tracking.keep(path)
    tracking.close()
