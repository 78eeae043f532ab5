"""Complete, atomic checkpoints, and the cache of pre-trained weights."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from submission.errors import UserError
from submission.runs.files import write_atomically


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors and plain values atomically.

    Raises:
        UserError: No room on the disk; an older checkpoint stays as it was.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def load(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Reads a state. Nothing but tensors and plain values is unpickled, so no code can run.

    Its tensors are on the CPU, since a GPU may be full: what takes them over copies them.

    Args:
        path: The file.
        keys: What the state must have.

    Raises:
        UserError: The file is damaged, or another program's or version's.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} can't be read ({type(error).__name__})") from error
    if not isinstance(state, dict) or not set(keys) <= state.keys():
        raise UserError(f"{path} is no file of this version's training")
    return state


def identity(**parts: Any) -> str:
    """A hash that is equal for two runs exactly if all the parts are."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
