"""Runs in this checkout's image for `portal.py check`: asks a model for the codes of a few images.

The model runs in another container: `python trial.py SOCKET FOLDER` listens for it.
"""

import sys
from pathlib import Path

import numpy as np

from evaluator import representations
from evaluator.ground_truth import GroundTruth
from evaluator.worker import client
from submission.command_line import run_command_line
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.files import write_json

_BATCHES = (1, 64)


def main() -> None:
    """Writes `trial.json`, which `findings.py` reads, into a new folder."""
    socket, report = map(Path, sys.argv[1:])
    with client.awaited(Path("the model"), socket) as process:
        gives, mistake = _try(process)
    write_json(report / "trial.json", {"gives": gives, "mistake": mistake})


def _try(process: client.Worker) -> tuple[str, str]:
    """Encodes a batch of 1 and one of 64; returns what it gave and what is wrong."""
    mistakes = []
    try:
        reading = process.reading()
    except UserError as error:
        return "", str(error)
    for channels in (3, 1):
        images = np.random.RandomState(0).randint(0, 256, (64, 64, 64, channels)).astype(np.uint8)
        dataset = Dataset("64 random images", images, ("image",), (len(images),), (0,))
        try:
            model = representations.check(reading, process.path, GroundTruth(dataset))
            shapes = [
                list(model.encode((images[:size] / 255.0).astype(np.float32)).shape)
                for size in _BATCHES
            ]
        except UserError as error:
            mistakes.append(str(error))
        else:
            return " and ".join(f"{shape} for a batch of {shape[0]}" for shape in shapes), ""
    return "", mistakes[0]


if __name__ == "__main__":
    run_command_line(main)
