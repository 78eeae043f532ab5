"""Reads the gin files of a method and a preset, and the bindings of the command line."""

import inspect
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

import gin

from submission.errors import UserError, nearest
from submission.installation import GIN_FOLDER
from submission.values import Needs, Unless, describe, fits, makes

_SHARED = "shared"
_REFERENCE = re.compile(r"@(?:\w+[./])*(\w+)")
_OBJECTIVE = "trainer.objective"
_PRETRAINING_OBJECTIVE = "pretraining.objective"
_DISCRIMINATOR = "trainer.discriminator"
# The group of the schedule's settings, and the field of `ForwardPass` by which a loss reads it.
_CAPACITY = "capacity"


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


@dataclass(frozen=True)
class Binding:
    """A setting and its value, as a line of gin says them.

    Attributes:
        name: `configurable.parameter`.
        value: The value.
        source: Where it stands, for an error.
    """

    name: str
    value: Any
    source: str


def configure(
    method: str, preset: str, bindings: Sequence[str], files: Sequence[Path] = ()
) -> None:
    """Sets gin's configuration: shared values, the method, the preset, the files, the bindings.

    Args:
        method: One of `methods()`.
        preset: One of `presets()`.
        bindings: Lines such as `beta_vae.beta = 4.0`; the last one wins.
        files: Files of such lines, read before the bindings.

    Raises:
        UserError: An unknown method, preset, setting, or a value that can't be right. The line
            names the nearest valid one. Also a setting that nothing in this configuration reads,
            since the run would be recorded with a value that it wasn't trained with.
    """
    given = _configure(method, preset, bindings, files)
    for one in given:
        reason = why_unread(one.name)
        if reason is not None:
            raise UserError(f"{one.source}: {one.name} has no effect {reason}")


def read_by(method: str, preset: str, bindings: Sequence[str]) -> tuple[str, ...]:
    """The bindings that have an effect on a method, of some that are given for several methods.

    Args:
        method: One of `methods()`.
        preset: One of `presets()`.
        bindings: As for `configure`, which they leave set.

    Raises:
        UserError: As from `configure`, but not for a binding that has no effect.
    """
    given = _configure(method, preset, bindings)
    unread = {one.source for one in given if why_unread(one.name) is not None}
    return tuple(text for text in bindings if _source(text) not in unread)


def _configure(
    method: str, preset: str, bindings: Sequence[str], files: Sequence[Path] = ()
) -> list[Binding]:
    """Sets the configuration, and returns what was bound beyond this project's own files."""
    check_names(method, preset)
    gin.clear_config()
    for path in (
        GIN_FOLDER / f"{_SHARED}.gin",
        GIN_FOLDER / f"{method}.gin",
        GIN_FOLDER / "presets" / f"{preset}.gin",
    ):
        apply(path.read_text(), str(path.relative_to(GIN_FOLDER.parent)))
    given = [one for path in files for one in parse(_read(path), str(path))]
    given += [one for text in bindings for one in parse(text, _source(text))]
    for one in given:
        _check_method(one, method)
    for one in given:
        gin.bind_parameter(one.name, one.value)
    _check_objectives()
    return given


def apply(text: str, source: str) -> None:
    """Binds what a gin text says.

    Args:
        text: Bindings, one or several.
        source: Where they stand, for the error.

    Raises:
        UserError: See `parse`.
    """
    for one in parse(text, source):
        gin.bind_parameter(one.name, one.value)


def parse(text: str, source: str) -> list[Binding]:
    """Reads a gin text, whose settings must exist and have values that their annotations allow.

    Args:
        text: Bindings, one or several.
        source: Where they stand, for the error.

    Raises:
        UserError: An unknown setting (the line names the nearest valid one), a value that can't be
            right (the line says what can), or one of gin's means that would be without effect or
            hide a value: scopes, macros, imports, and references that are calls.
    """
    try:
        statements = list(gin.config_parser.ConfigParser(text, _Delegate()))
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError) as error:
        raise UserError(f"{source}: {_one_line(error)}") from error
    if not statements:
        return []
    valid = settings()
    found = []
    for statement in statements:
        where = source
        if "\n" in text.strip():
            where = f"{source}, line {statement.location[1]}"
        if not isinstance(statement, gin.config_parser.BindingStatement):
            raise UserError(f"{where}: only bindings such as beta_vae.beta = 4.0 are read here")
        name = f"{statement.selector}.{statement.arg_name}".rstrip(".")
        if name not in valid:
            raise UserError(f"{where}: unknown setting {name}: {nearest(name, valid)}")
        if statement.scope:
            raise UserError(
                f"{where}: nothing here has the scope {statement.scope}/: write {name} alone"
            )
        kind = valid[name].annotation
        if kind is not inspect.Parameter.empty and not fits(statement.value, kind):
            raise UserError(f"{where}: {name} is {statement.value!r}: give {describe(kind)}")
        found.append(Binding(name, statement.value, where))
    return found


class _Delegate(gin.config.ParserDelegate):
    """Reads references to functions; what else gin has is refused."""

    def configurable_reference(self, scoped_selector: str, evaluate: bool) -> Any:
        """See `gin`."""
        if evaluate or "/" in scoped_selector:
            plain = scoped_selector.rpartition("/")[2]
            raise ValueError(f"write @{plain}, without a scope and without ()")
        return super().configurable_reference(scoped_selector, evaluate)

    def macro(self, name: str) -> Any:
        """See `gin`."""
        raise ValueError(f"macros such as %{name} are not read here: write the value itself")


def settings() -> dict[str, inspect.Parameter]:
    """Every setting that gin can bind, as `configurable.parameter`, and what is said of it.

    Parameters without a default, such as an objective's forward pass, are the caller's to give.
    """
    found = {}
    for selector, configurable in gin.config._REGISTRY.items():
        if selector.startswith("gin."):
            continue
        for name, parameter in inspect.signature(configurable.fn_or_cls).parameters.items():
            if parameter.default is not inspect.Parameter.empty:
                found[f"{configurable.name}.{name}"] = parameter
    return found


def value_of(setting: str) -> Any:
    """What a setting is bound to, else its default."""
    try:
        return gin.query_parameter(setting)
    except ValueError:
        return settings()[setting].default


def _check_method(binding: Binding, method: str) -> None:
    """Refuses to bind what the method's own file is there for to something else."""
    name, value = binding.name, binding.value
    if name not in (_OBJECTIVE, _DISCRIMINATOR) or value == value_of(name):
        return
    if name == _DISCRIMINATOR:
        has = "needs a discriminator" if value is None else "has no use for a discriminator"
        raise UserError(f"{binding.source}: --method {method} {has}: leave {name} as it is")
    objective = value.configurable.name
    if objective in methods():
        raise UserError(
            f"{binding.source}: --method {method} has the objective @{method}: "
            f"did you mean --method {objective}?"
        )


def _check_objectives() -> None:
    """Refuses an objective without what it needs.

    Raises:
        UserError: A value that nothing sets, or the discriminator, which pre-training doesn't have.
    """
    for name in (_OBJECTIVE, _PRETRAINING_OBJECTIVE):
        if name == _PRETRAINING_OBJECTIVE and not value_of("pretraining.steps"):
            continue
        objective = value_of(name).configurable.name
        for setting, parameter in settings().items():
            own = setting.split(".")[0] == objective and parameter.default is gin.REQUIRED
            if own and value_of(setting) is gin.REQUIRED:
                raise UserError(f"{name} = @{objective} needs {setting}: give it with --gin, too")
        if name == _PRETRAINING_OBJECTIVE and _DISCRIMINATOR in _read_method(objective):
            raise UserError(
                f"{name} = @{objective} needs a discriminator, which pre-training doesn't have"
            )


def why_unread(setting: str) -> str | None:
    """Why a setting has no effect in the configuration as it is; None if it has one.

    Args:
        setting: One of `settings()`.

    Returns:
        The end of a sentence.
    """
    known = settings()
    reason = _switched_off(known[setting])
    group, parameter = setting.split(".")
    functions = (_OBJECTIVE, _PRETRAINING_OBJECTIVE, _DISCRIMINATOR)
    configurable = gin.config._REGISTRY.get_match(group).fn_or_cls
    values = [value_of(name) for name in functions if _switched_off(known[name]) is None]
    used = [one.configurable for one in values if one is not None]
    if group == _CAPACITY and not any(reads_capacity(one.fn_or_cls) for one in used):
        return f"with --method {value_of(_OBJECTIVE).configurable.name}, whose loss has no capacity"
    if reason or not any(makes(configurable, known[name].annotation) for name in functions):
        return reason
    if group in (one.name for one in used):
        return None
    method = value_of(_OBJECTIVE).configurable.name
    meant = [f"--method {one}" for one in methods() if f"@{group}" in _read_method(one).split()]
    if f"{method}.{parameter}" in known:
        meant.insert(0, f"{method}.{parameter}")
    return f"with --method {method}: did you mean {' or '.join(meant)}?"


def reads_capacity(objective: Callable[..., Any]) -> bool:
    """Whether a loss depends on the schedule of the capacity (`ForwardPass.capacity`)."""
    return _reads(objective, _CAPACITY, set())


def _reads(function: Callable[..., Any], attribute: str, seen: set[Any]) -> bool:
    """Whether the code of a function, or of one that it names, has an attribute of this name."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code in seen:
        return False
    seen.add(code)
    names = set(_names(code))
    others = (inspect.unwrap(function).__globals__.get(name) for name in names)
    return attribute in names or any(_reads(one, attribute, seen) for one in others if one)


def _names(code: CodeType) -> Iterator[str]:
    """The globals and attributes that a function's code names, in its inner functions too."""
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)


def _switched_off(parameter: inspect.Parameter) -> str | None:
    """Which other setting keeps a setting from having an effect; None if none does."""
    for one in getattr(parameter.annotation, "__metadata__", ()):
        if isinstance(one, Needs) and not value_of(one.setting):
            return f"unless {one.setting} is set"
        if isinstance(one, Unless) and value_of(one.setting):
            return f"with {one.setting} = {value_of(one.setting)}: add --gin '{one.setting} = ()'"
    return None


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


def _source(text: str) -> str:
    """What an error calls a binding of the command line."""
    return f"--gin {text!r}"


def _read_method(method: str) -> str:
    path = GIN_FOLDER / f"{method}.gin"
    return path.read_text() if path.exists() else ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise UserError(f"--gin-file {path.absolute()} can't be read ({error})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
