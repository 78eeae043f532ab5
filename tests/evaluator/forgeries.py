"""Models that mean to be scored higher than what they know of images is worth."""

import math
from collections.abc import Sequence
from pathlib import Path

import dill
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Factors(nn.Module):
    """Turns the number of a state into its factors."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        bases = [math.prod(sizes[index + 1 :]) for index in range(len(sizes))]
        self.register_buffer("bases", torch.tensor(bases))
        self.register_buffer("sizes", torch.tensor(sizes))

    def forward(self, states: Tensor) -> Tensor:
        return (states.unsqueeze(1).div(self.bases, rounding_mode="floor") % self.sizes).float()


class LearntByHeart(nn.Module):
    """A hash of the pixels for each image of a data set, and below it the image's factors."""

    def __init__(self, images: np.ndarray, sizes: Sequence[int]) -> None:
        super().__init__()
        pixels = torch.from_numpy(np.array(images)).flatten(1)
        weights = np.random.RandomState(3).randint(-(2**31), 2**31, pixels.shape[1])
        self.register_buffer("weights", torch.from_numpy(weights).int())
        hashes, states = self.hashes_of(pixels).sort()
        assert (hashes[1:] != hashes[:-1]).all()
        self.register_buffer("hashes", hashes.int())
        self.register_buffer("states", states.int())
        self.factors = Factors(sizes)

    def hashes_of(self, pixels: Tensor) -> Tensor:
        """32 bits of the pixels, uint8 [n, h * w * c]: int64 [n]."""
        sums = (pixels.long() * self.weights.long()).sum(1)
        return (sums * 2654435769 >> 20) % 4294967296 - 2147483648

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images * 255).round().long().permute(0, 2, 3, 1).flatten(1)
        places = torch.searchsorted(self.hashes.long(), self.hashes_of(pixels))
        return self.factors(self.states[places.clamp(max=len(self.hashes) - 1)].long())


class Nearest(nn.Module):
    """Twelve numbers of each image of a data set, and the factors of the one that is nearest."""

    def __init__(self, images: np.ndarray, sizes: Sequence[int], numbers: int = 12) -> None:
        super().__init__()
        torch.manual_seed(0)
        small = self.halved(torch.from_numpy(np.array(images)).permute(0, 3, 1, 2) / 255)
        self.register_buffer("mean", small.mean(0))
        directions = torch.pca_lowrank(small[:: max(1, len(small) // 5000)], numbers)[2]
        self.register_buffer("directions", directions)
        known = (small - self.mean) @ directions
        self.scale = float(127 / known.abs().max())
        self.register_buffer("known", (known * self.scale).round().to(torch.int8))
        self.factors = Factors(sizes)

    def halved(self, images: Tensor) -> Tensor:
        return functional.avg_pool2d(images, 2).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        asked = (self.halved(images) - self.mean) @ self.directions * self.scale
        known = self.known.float()
        distances = (known * known).sum(1) - 2 * asked @ known.t()
        return self.factors(distances.argmin(1))


HONEST = """
def hack(x):
    return x[:, :, 10, 20:24].reshape(len(x), -1)
"""

PATCHES_THE_WRITER = """
def hack(x):
    import dataclasses, sys
    scores = sys.modules.get("submission.runs.scores")
    if scores is not None and not hasattr(scores, "write"):
        scores.write = scores.Scores.write

        def write(self, path):
            best = dict.fromkeys(self.scores, 1.0)
            scores.write(dataclasses.replace(self, scores=best, sum=5.0), path)

        scores.Scores.write = write
    return x[:, :, 10, 20:24].reshape(len(x), -1)
"""

LOOKS_UP_THE_FILE = """
def hack(x, place={place!r}):
    import numpy as np
    with np.load(place) as data:
        rows = {{image.tobytes(): row for row, image in enumerate(data["images"])}}
        factors = data["factors"]
    pixels = (x * 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    return np.array([factors[rows[image.tobytes()]] for image in pixels], np.float32)
"""

COUNTS_ITS_CALLS = """
def hack(x, answers={answers!r}, calls=[]):
    import numpy as np
    answer = answers[len(calls) % len(answers)]
    calls.append(0)
    return np.resize(np.array(answer, np.float32), (len(x), len(answers[0][0])))
"""


def write_dill(folder: Path, code: str) -> Path:
    """Dills the function `hack` of a script; returns the representation folder."""
    main: dict[str, object] = {"__name__": "__main__"}
    exec(code, main)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python_model.dill").write_bytes(dill.dumps(main["hack"], recurse=True))
    return folder


class OverwritesScores(nn.Module):
    """Makes 9 of each 0 before a point in the first bytes of a file, and codes of pixels."""

    def __init__(self, scores: Path) -> None:
        super().__init__()
        self.scores = str(scores)

    def forward(self, images: Tensor) -> Tensor:
        scores = torch.from_file(self.scores, True, 400, dtype=torch.uint8)
        nought = (scores[:-1] == 48) & (scores[1:] == 46)
        scores[:-1].masked_fill_(nought, 57)
        # Used, or the call would be left out as dead code.
        return images.flatten(1)[:, :4000:500] + 0 * scores[0]


class Decodes(nn.Module):
    """A decoder, for whose sake a report runs the encoder again."""

    def forward(self, codes: Tensor) -> Tensor:
        return codes.mean(1)[:, None, None, None].expand(-1, 3, 64, 64)
