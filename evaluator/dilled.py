"""A dilled function, the challenge's third format: of which Python it is, and read.

dill keeps a function as its bytecode, which another Python misunderstands: it may give finite wrong
numbers or end the process. So its version is told from the file before anything of it runs.
"""

import builtins
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dill
import numpy as np

from evaluator.compat import load_tensorflow
from submission.errors import UserError

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# From Python 3.11 on, instructions are followed by empty cells (CACHE, opcode 0). By version: the
# opcode that every function holds (RESUME), and the cells behind each opcode (`dis`).
_INSTRUCTIONS: dict[str, tuple[int, dict[int, int]]] = {
    "3.11": (
        151,
        {25: 4, 60: 1, 92: 1, 95: 4, 106: 4, 107: 2, 116: 5, 122: 1, 160: 10, 166: 1, 171: 4},
    ),
    "3.12": (
        151,
        {
            **{25: 1, 60: 1, 92: 1, 93: 1, 95: 4, 106: 9, 107: 1},
            **{116: 4, 122: 1, 123: 1, 141: 1, 171: 3},
        },
    ),
    "3.13": (
        149,
        {
            **{5: 1, 39: 1, 40: 3, 45: 1, 53: 3, 58: 1, 59: 1, 72: 1, 77: 1, 82: 9},
            **{91: 4, 93: 1, 97: 1, 98: 1, 99: 1, 100: 1, 104: 1, 108: 4, 117: 1},
        },
    ),
}


@dataclass(frozen=True)
class _Code:
    """What a pickle says of a code object: its Python, and the names that it looks up."""

    python: str
    names: tuple[str, ...]


def read(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Reads a dilled function, which runs the code that the file holds.

    Functions of a script's `__main__` look names up in the reader's `__main__`. They find what the
    challenge's evaluator (the starter kit's `local_evaluation.py`) had there: np, os, json, and,
    imported only where they are named, tf (TensorFlow 1) and gin.

    Args:
        path: The file.

    Returns:
        Images [n, h, w, c] to the function's codes; it gets them as [n, c, h, w].

    Raises:
        UserError: It was written by another Python, or holds no function.
        Exception: Whatever the pickle's own code raises.
    """
    codes = _codes(path)
    others = sorted({code.python for code in codes} - {_VERSION})
    if others:
        raise UserError(
            f"{path} was dilled by Python {others[0]}, whose bytecode Python {_VERSION} "
            f"misreads: dill the function again with Python {_VERSION}"
        )
    main = _main_of_the_challenge(codes)

    class Unpickler(dill.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return main if (module, name) == _MAIN else super().find_class(module, name)

    with path.open("rb") as file:
        function = Unpickler(file).load()
    if not callable(function):
        raise UserError(f"{path} holds a {type(function).__name__}, not a function")

    def encode(images: np.ndarray) -> np.ndarray:
        try:
            codes = function(np.moveaxis(images, 3, 1))
        except NameError as error:
            raise UserError(
                f"{path} fails: {error}. dill leaves out what a function finds in its script, but "
                "with dill.dump(function, file, recurse=True)"
            ) from error
        if not isinstance(codes, np.ndarray):
            raise UserError(f"{path} returns a {type(codes).__name__}, not a numpy array")
        return codes

    return encode


_MAIN = ("__builtin__", "__main__")
"""What dill names the dictionary of `__main__`."""


def _main_of_the_challenge(codes: list[_Code]) -> dict[str, Any]:
    names = {name for code in codes for name in code.names}
    main: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    main |= {"np": np, "os": os, "json": json}
    if "tf" in names:
        main["tf"] = load_tensorflow().compat.v1
    if "gin" in names:
        import gin

        main["gin"] = gin
    return main


class _Nothing(type):
    def __call__(cls, *_: object, **__: object) -> Any:
        return cls

    def __setitem__(cls, *_: object) -> None:
        pass


class _StandIn(metaclass=_Nothing):
    """Stands in for all that a pickle names and makes, so that nothing is imported or run."""

    def __new__(cls, *_: object, **__: object) -> Any:
        return cls

    @staticmethod
    def _ignore(*_: object) -> None:
        pass

    __setstate__ = append = extend = add = _ignore


def _codes(path: Path) -> list[_Code]:
    """The code objects of a pickle, as far as it can be read; runs none of its code."""
    found: list[_Code] = []

    def make_code(*arguments: Any) -> type[_StandIn]:
        found.append(_code_of(arguments))
        return _StandIn

    def make_type(name: object, *_: object) -> object:
        return make_code if name == "CodeType" else _StandIn

    # dill wrote code as CodeType itself until 2022, by the name that it loads types by.
    makers = {"_create_code": make_code, "_load_type": make_type, "CodeType": make_code}

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return makers.get(name, _StandIn)

        def persistent_load(self, pid: object) -> Any:
            return _StandIn

    try:
        with path.open("rb") as file:
            Unpickler(file, encoding="latin1").load()
    except Exception:
        # Reading it in earnest tells what is wrong.
        return found
    return found


def _code_of(arguments: tuple[Any, ...]) -> _Code:
    """Tells the Python from how many arguments its code objects take, and from the bytecode."""
    # Since 2022 dill puts a table in front that Pythons until 3.9 need, if it runs on a later one.
    tabled = not isinstance(arguments[0], int)
    fields = arguments[tabled:]
    if len(fields) <= 15:
        return _Code("3.7 or older", ())
    if len(fields) == 16:
        return _Code("3.10" if tabled else "3.8 to 3.10", ())
    if len(fields) == 17:
        return _Code("PyPy", ())
    fitting = [version for version in _INSTRUCTIONS if _is_of(version, fields[6])]
    python = _VERSION if _VERSION in fitting else (fitting or ["another version"])[0]
    return _Code(python, tuple(fields[8]))


def _is_of(version: str, bytecode: bytes) -> bool:
    resume, cells = _INSTRUCTIONS[version]
    opcodes = bytecode[::2]
    left = 0
    for opcode in opcodes:
        if (opcode == 0) != (left > 0):
            return False
        left = left - 1 if left else cells.get(opcode, 0)
    return left == 0 and resume in opcodes
