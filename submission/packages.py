"""One line, where a command would end with a traceback for want of its packages."""

# Read by any Python 3, so that one too old can be told so.
from __future__ import annotations

import importlib.util
import sys
from types import TracebackType

_OLDEST = (3, 11)
_EXIT_USER_ERROR = 2
_OURS = ("submission", "evaluator", "study")


def tell_missing() -> None:
    """Makes a missing package one line and exit code 2, from here to the end of the process.

    A command calls it before its other imports. It sets `sys.excepthook`, which is no library's
    to set.

    Raises:
        SystemExit: This Python is too old, or gin is missing, of which the import would tell
            nothing: from the root, the folder gin/ stands for the library. stderr has the line.
    """
    if sys.version_info < _OLDEST:
        _exit(f"is Python {sys.version.split()[0]}, and 3.11, 3.12 or 3.13 is needed", "python")
    sys.excepthook = _tell
    spec = importlib.util.find_spec("gin")
    if spec is None or spec.origin is None:
        _exit("has no package gin", "gin")


def _tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    package = (missing or _OURS[0]).split(".")[0]
    if package in _OURS:
        sys.__excepthook__(kind, error, traceback)
    else:
        _exit(f"has no package {package}", package)


def _exit(what: str, missing: str) -> None:
    # Here, since it imports others, which a signal ends with a traceback until it is taken over.
    from submission.installation import how_to_get

    print(f"error: {sys.executable} {what}: {how_to_get(missing)}", file=sys.stderr)
    sys.exit(_EXIT_USER_ERROR)
