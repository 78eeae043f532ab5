"""Whether there is a GPU that PyTorch can't use."""

import os
from pathlib import Path

import torch

# NVIDIA's driver makes it where there is a card, and an engine's runtime where it gives one.
_DRIVER = Path("/dev/nvidiactl")


def gpu_problem() -> str:
    """Why PyTorch, which finds no GPU, can't use the one that is there; empty where there is none.

    PyTorch itself only answers that there is none, for example where the driver is older than the
    CUDA that it was built for. A GPU that `CUDA_VISIBLE_DEVICES` hides isn't there.
    """
    if not _DRIVER.exists() or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return ""
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built for the CPU alone"
    return (
        f"PyTorch {torch.__version__} doesn't find it: is the driver too old for CUDA "
        f"{torch.version.cuda}?"
    )
