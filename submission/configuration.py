"""Reads the gin files of a method and a preset, and the bindings of the command line."""

import inspect
import re
import tokenize
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gin

from submission.errors import UserError, nearest

GIN_FOLDER = Path(__file__).resolve().parent.parent / "gin"
_SHARED = "shared"
_REFERENCE = re.compile(r"@(?:\w+[./])*(\w+)")


def methods() -> list[str]:
    """The methods: one gin file each."""
    return sorted(path.stem for path in GIN_FOLDER.glob("*.gin") if path.stem != _SHARED)


def presets() -> list[str]:
    """The presets: one gin file each."""
    return sorted(path.stem for path in (GIN_FOLDER / "presets").glob("*.gin"))


def check_names(method: str, preset: str) -> None:
    """Refuses an unknown method or preset, without importing what they configure.

    Raises:
        UserError: The line names the nearest valid one.
    """
    if method not in methods():
        raise UserError(f"unknown method {method!r}: {nearest(method, methods())}")
    if preset not in presets():
        raise UserError(f"unknown preset {preset!r}: {nearest(preset, presets())}")


def configure(method: str, preset: str, bindings: Sequence[str]) -> None:
    """Sets gin's configuration: shared values, the method, the preset, then the bindings.

    Args:
        method: One of `methods()`.
        preset: One of `presets()`.
        bindings: Lines such as `beta_vae.beta = 4.0`; the last one wins.

    Raises:
        UserError: An unknown method, preset, setting, or a value that can't be read. The line
            names the nearest valid one.
    """
    check_names(method, preset)
    gin.clear_config()
    for path in (
        GIN_FOLDER / f"{_SHARED}.gin",
        GIN_FOLDER / f"{method}.gin",
        GIN_FOLDER / "presets" / f"{preset}.gin",
    ):
        apply(path.read_text(), str(path.relative_to(GIN_FOLDER.parent)))
    for binding in bindings:
        apply(binding, f"--gin {binding!r}")


def apply(text: str, source: str) -> None:
    """Checks every binding of a gin text against what can be configured, then applies it.

    Args:
        text: Bindings, one or several.
        source: Where they stand, for the error.

    Raises:
        UserError: An unknown setting (the line names the nearest valid one), or a value that can't
            be read.
    """
    try:
        statements = list(gin.config_parser.ConfigParser(text, gin.config.ParserDelegate()))
    except (SyntaxError, ValueError, tokenize.TokenError) as error:
        raise UserError(f"{source}: {_one_line(error)}") from error
    if not statements:
        return
    valid = settings()
    for statement in statements:
        if not isinstance(statement, gin.config_parser.BindingStatement):
            raise UserError(f"{source}: only bindings such as beta_vae.beta = 4.0 are read here")
        name = f"{statement.selector}.{statement.arg_name}".rstrip(".")
        if name not in valid:
            raise UserError(f"{source}: unknown setting {name}: {nearest(name, valid)}")
    try:
        gin.parse_config(text)
    except (SyntaxError, ValueError, TypeError) as error:
        raise UserError(f"{source}: {_one_line(error)}") from error


def settings() -> set[str]:
    """Every setting that gin can bind, as `configurable.parameter`."""
    found = set()
    for selector, configurable in gin.config._REGISTRY.items():
        if selector.startswith("gin."):
            continue
        for parameter in inspect.signature(configurable.fn_or_cls).parameters:
            if parameter not in (configurable.denylist or ()):
                found.add(f"{configurable.name}.{parameter}")
    return found


def operative(names: Iterable[str]) -> dict[str, Any]:
    """The bound values of the given configurables, for a hash that tells two runs apart."""
    wanted = set(names)
    return {
        f"{selector.split('.')[-1]}.{parameter}": repr(value)
        for (_, selector), parameters in sorted(gin.config._CONFIG.items())
        if selector.split(".")[-1] in wanted
        for parameter, value in sorted(parameters.items())
    }


def references(values: Iterable[str]) -> set[str]:
    """The configurables that settings refer to, as `@beta_vae` does; values as `operative`'s."""
    return {name for value in values for name in _REFERENCE.findall(value)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
