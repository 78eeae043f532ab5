"""Runs inside the image for `portal.py check`: tells what is there, and tries a representation."""

import json
import os
import pwd
import sys
from pathlib import Path

import numpy as np
import torch

from evaluator import formats, representations
from evaluator.ground_truth import GroundTruth
from evaluator.worker import readers
from submission.datasets import Dataset
from submission.errors import UserError

_BATCHES = (1, 64)


def main(representation: Path, report: Path) -> None:
    """Writes `probe.json` for `findings.py` to read.

    Args:
        representation: The folder to try; it needn't be there.
        report: The folder for `probe.json`.
    """
    uids = [user.pw_uid for user in pwd.getpwall() if user.pw_name == "aicrowd"]
    found: dict[str, object] = {
        "uid": uids[0] if uids else None,
        "entry_point_runs": os.access("/home/aicrowd/run.sh", os.X_OK),
        "torch": torch.__version__,
        "torch_has_cuda": torch.version.cuda is not None,
    }
    if representation.is_dir():
        found["representation"], found["mistake"] = _try(representation)
    report.mkdir()
    (report / "probe.json").write_text(json.dumps(found))


def _try(folder: Path) -> tuple[str, str]:
    """Encodes a batch of 1 and one of 64; returns what it gave and what is wrong."""
    mistakes = []
    for channels in (3, 1):
        images = np.random.RandomState(0).randint(0, 256, (64, 64, 64, channels)).astype(np.uint8)
        dataset = Dataset("64 random images", images, ("image",), (len(images),), (0,))
        try:
            path = formats.find(folder, allow_pickle=True)
            representation = representations.check(readers.read(path), path, GroundTruth(dataset))
            # The image's code may be older than this file, so it is asked for nothing new.
            shapes = [
                list(representation.encode((images[:size] / 255.0).astype(np.float32)).shape)
                for size in _BATCHES
            ]
        except UserError as error:
            mistakes.append(str(error))
        else:
            told = " and ".join(f"{shape} for a batch of {shape[0]}" for shape in shapes)
            return f"{representation.path.name} gives {told}", ""
    return "", mistakes[0]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
