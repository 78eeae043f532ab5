"""Models whose code reads, writes and saves files, in the formats that take no `--allow-pickle`."""

from pathlib import Path

import torch
from torch import Tensor, nn


class Overwrites(nn.Module):
    """Maps a file and changes it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        file = torch.from_file(self.path, True, 6, dtype=torch.uint8)
        return file.fill_(33) + images[:, 0, 0, :1] * 0


class Reads(nn.Module):
    """Gives a file's content as codes."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        return torch.from_file(self.path, False, 6, dtype=torch.uint8) + images[:, 0, 0, :1] * 0


class Saves(nn.Module):
    """Makes a file."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, images: Tensor) -> Tensor:
        torch.save(images, self.path)
        return images.flatten(1)


class SavesWhenRead(nn.Module):
    """Makes a file when it is read, before anybody asks it for a code."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path = state[0]
        self.training = state[1]
        torch.save(self.path, self.path)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class Swells(nn.Module):
    """Takes 40 GB."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.ones(100_000, 100_000) * images[0, 0, 0, 0]


def write_torchscript(module: nn.Module, path: Path) -> Path:
    """Writes a module as TorchScript, which runs none of its code."""
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def write_saved_model(path: Path, secret: str, made: str) -> Path:
    """A SavedModel whose answer depends on a file's content, and which writes another."""
    from evaluator.compat import load_tensorflow

    tensorflow = load_tensorflow()
    module = tensorflow.Module()

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec([None, 4, 4, 3], tensorflow.float32, "images")]
    )
    def represent(images):
        text = tensorflow.io.read_file(secret)
        tensorflow.io.write_file(made, text)
        length = tensorflow.cast(tensorflow.strings.length(text), tensorflow.float32)
        return {"default": tensorflow.reshape(images, [-1, 48]) + length}

    tensorflow.saved_model.save(module, str(path), signatures={"representation": represent})
    return path
