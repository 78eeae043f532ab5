"""Complete, atomic checkpoints, and the cache of pre-trained weights."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from submission.errors import UserError
from submission.files import write_atomically


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors and plain values atomically.

    Raises:
        UserError: No room on the disk; an older checkpoint stays as it was.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """Reads a state. Nothing but tensors and plain values is unpickled, so no code can run.

    Raises:
        UserError: The file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}): delete it") from error
    return state


def identity(**parts: Any) -> str:
    """A hash that is equal for two runs exactly if all the parts are."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
