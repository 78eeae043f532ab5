"""The challenge's three formats of a representation and two more: which one lies in a folder.

What a submission looks like is fixed by the challenge's starter kit (AIcrowd,
neurips2019_disentanglement_challenge_starter_kit: `evaluate.py`, `utils_pytorch.py`,
`utils_numpy.py`); where several stand in one folder, the first of these counts:

* ``tfhub/``: a hub module in TensorFlow 1's format or a SavedModel, with a signature
  ``representation`` from ``images`` [n, h, w, c] to ``default`` [n, latents];
* ``pytorch_model.pt``: TorchScript, or a pickled ``nn.Module``, of float32 [n, c, h, w]. It runs in
  the mode it was saved in, as the challenge ran it: the kit's export calls ``eval()`` first;
* ``python_model.dill``: a function of a numpy array [n, c, h, w] that returns one;
* ``pytorch_model.pt2``: what ``torch.export.save`` writes, of images as TorchScript's;
* ``model.onnx``: an ONNX model, of images as TorchScript's.

The last two, which the challenge didn't know, are also read as ``pytorch_model.pt``.
"""

import os
from pathlib import Path

from evaluator import file_kinds
from submission.errors import UserError, require_packages

TFHUB = "tfhub"
PYTORCH = "pytorch_model.pt"
DILL = "python_model.dill"
EXPORTED = "pytorch_model.pt2"
ONNX = "model.onnx"
# In the order in which they are looked for, each with what it should be.
FORMATS = {
    TFHUB: "a hub module or SavedModel",
    PYTORCH: "TorchScript, a torch.export archive, an ONNX model or a pickled nn.Module",
    DILL: "a dilled function",
    EXPORTED: "a torch.export archive",
    ONNX: "an ONNX model",
}


def find(given: Path, allow_pickle: bool = False) -> Path:
    """Finds a representation and tells what can't be one, without running any of its code.

    Args:
        given: The representation folder, the folder of a run that holds it, or the model itself.
        allow_pickle: Whether a file that can run code when it is read is acceptable.

    Returns:
        The path of the first format present, or of the one given.

    Raises:
        UserError: None of the formats is there, the file is something else, or it can run code and
            `allow_pickle` is false.
    """
    try:
        path = _locate(given)
        kind = file_kinds.kind_of(path)
    except OSError as error:
        raise UserError(f"{error.filename} can't be opened ({error.strerror})") from error
    mistake = kind.mistake
    if not mistake and path.name not in _HOMES[kind.name]:
        mistake = f"is {kind.name}"
        if kind.name != file_kinds.UNKNOWN:
            mistake += f", whose place is {_HOMES[kind.name][0]}"
    if mistake:
        raise UserError(f"{path} can't be read as {FORMATS[path.name]}: it {mistake}")
    if not allow_pickle and (path.name == DILL or kind.name in _CAN_RUN_CODE):
        raise UserError(
            f"reading {path} runs the code that it may hold: if you trust where it comes from, "
            "pass --allow-pickle"
        )
    return path


def check_installed(path: Path) -> None:
    """Refuses a model of which the library isn't installed that runs it.

    Args:
        path: The model, as `find` found it.

    Raises:
        UserError: The line says how to get it.
    """
    library = (
        "dill" if path.name == DILL else _LIBRARIES.get(file_kinds.kind_of(path).name, "torch")
    )
    require_packages(f"reading {path}", library)


_LIBRARIES = {file_kinds.SAVED_MODEL: "tensorflow", file_kinds.ONNX: "onnxruntime"}


# Where each kind may stand, first where it belongs.
_HOMES = {
    file_kinds.SAVED_MODEL: (TFHUB,),
    file_kinds.TORCHSCRIPT: (PYTORCH,),
    file_kinds.EXPORTED: (EXPORTED, PYTORCH),
    file_kinds.ONNX: (ONNX, PYTORCH),
    file_kinds.PICKLE: (PYTORCH, DILL),
    # Their readers say more.
    file_kinds.UNKNOWN: (PYTORCH, DILL),
}
_SUFFIXES = (".pt", ".pth", ".pt2", ".ckpt", ".onnx", ".pb", ".dill", ".pkl")
# torch.export.load says of itself that it uses pickle, and must not be given what isn't trusted.
_CAN_RUN_CODE = (file_kinds.PICKLE, file_kinds.EXPORTED)


def _locate(given: Path) -> Path:
    """The model that a path leads to: the path itself, or the first format in a folder."""
    is_saved_model = (given / "saved_model.pb").is_file()
    if given.name in FORMATS and (given.is_file() or is_saved_model):
        return given
    for folder in (given, given / "representation"):
        for name in FORMATS:
            # A link to nowhere is opened, and told, as what it should be.
            if os.path.lexists(folder / name):
                return folder / name
    if not given.exists():
        raise UserError(f"there is no representation folder {given}")
    names = [f"{name}/" if name == TFHUB else name for name in FORMATS]
    if given.is_dir() and not is_saved_model:
        models = [path.name for path in given.iterdir() if path.suffix in _SUFFIXES]
        hint = f": if {min(models)} is the model, rename it" if models else ""
        raise UserError(f"{given} holds none of {', '.join(names[:-1])} and {names[-1]}{hint}")
    kind = file_kinds.kind_of(given)
    home = " or ".join(_HOMES[kind.name])
    mistake = f"is {kind.name}: call it {home}, in a folder of its own, and give that folder"
    raise UserError(f"{given} {kind.mistake or mistake}")
