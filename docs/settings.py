"""`python -m docs.settings`: writes docs/settings.md, the list of all that `--gin` can set.

Names, types, ranges and defaults are those that the code checks and uses, and meanings are those of
the docstrings. A test holds the page equal to what this gives.
"""

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gin

import study.settings
import submission.training.loop  # noqa: F401  (registers what can be configured)
from evaluator import metrics, udr
from submission import configuration
from submission.values import Needs, Unless, describe

PAGE = Path(__file__).with_suffix(".md")
_INTRODUCTION = """\
# Settings

`.venv/bin/python -m docs.settings` makes this page from the code.

`--gin 'NAME = VALUE'` sets one. A default that depends on the preset, the method or the study is
followed by that one's name. Durations are texts such as `'90s'`, `'5m'` or `'1h30m'`; losses and
capacities are in nats per image.
"""
_DURATION = "a duration such as 8h, 1h30m, 5m or 90s"

# Of metrics that disentanglement_lib alone computes, and of what several metrics read.
_OF_METRICS = {
    "beta_vae_sklearn.batch_size": "Pairs of images whose mean difference is a point.",
    "beta_vae_sklearn.num_train": "Points that the classifier is fitted to.",
    "beta_vae_sklearn.num_eval": "Points that the classifier is tested on.",
    "modularity_explicitness.num_train": "Samples that modularity is computed from, and that the "
    "classifier is fitted to.",
    "modularity_explicitness.num_test": "Samples that the classifier is tested on.",
    "modularity_explicitness.batch_size": "Draws at a time.",
    "discretizer.num_bins": "Equal bins between a latent's smallest and largest code; in IRS, of "
    "the factors' values.",
}

# What a default depends on (method and preset, a preset, nothing), and what it is there.
Defaults = Mapping[tuple[str, ...], Any]


def page() -> str:
    """The whole page, as Markdown."""
    sections = (
        ("Training: `./run.sh`, `python -m submission`", _of_training()),
        ("Metrics: `python -m evaluator`", _of_metrics()),
        ("Unsupervised ranking: `python -m evaluator.udr`", _of_ranking()),
        ("Studies: `python -m study run`, which takes all of the above too", _of_studies()),
    )
    return "\n".join([_INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections)])


def _of_training() -> str:
    values: dict[tuple[str, ...], dict[str, Any]] = {}
    for method in configuration.methods():
        for preset in configuration.presets():
            configuration.configure(method, preset, [])
            known = configuration.settings()
            values[method, preset] = {name: configuration.value_of(name) for name in known}
    gin.clear_config()
    return _tables("submission", values)


def _of_ranking() -> str:
    lines = configuration.parse(udr.GIN_FILE.read_text(), udr.GIN_FILE.name)
    return _tables("evaluator", {(): {one.name: one.value for one in lines}})


def _of_studies() -> str:
    values: dict[tuple[str, ...], dict[str, Any]] = {}
    for preset in study.settings.presets():
        read = vars(study.settings.read(preset, []))
        values[(preset,)] = {f"study.{name}": value for name, value in read.items()}
    return _tables("study", values)


def _of_metrics() -> str:
    rows: dict[str, dict[str, str]] = {}
    readers: dict[str, list[str]] = {}
    for metric in metrics.ALL_METRICS.values():
        told = meanings(inspect.getdoc(metric.compute) or "")
        values = {one: metrics.settings(metric, one) for one in metrics.PRESETS}
        for name, kind in metric.settings.items():
            group, parameter = name.split(".")
            meaning = _OF_METRICS.get(name) or told.get(parameter, "")
            defaults: Defaults = {(preset,): value[name] for preset, value in values.items()}
            rows.setdefault(group, {})[name] = _row(name, kind, defaults, meaning)
            if metric.name not in readers.setdefault(group, []):
                readers[group].append(metric.name)
    return "\n".join(
        _table(group, f"Read by {', '.join(f'`{one}`' for one in readers[group])}.", lines.values())
        for group, lines in rows.items()
    )


def _tables(package: str, values: Mapping[tuple[str, ...], Mapping[str, Any]]) -> str:
    """A table for each function or class of a package that gin configures.

    Args:
        package: The package.
        values: What a default may depend on (method and preset), and all defaults there.
    """
    tables = []
    for _, configurable in gin.config._REGISTRY.items():
        made = configurable.fn_or_cls
        if made.__module__.split(".")[0] != package:
            continue
        text = inspect.getdoc(made) or ""
        told = meanings(text)
        rows = []
        for name, parameter in inspect.signature(made).parameters.items():
            if parameter.default is inspect.Parameter.empty:
                continue
            setting = f"{configurable.name}.{name}"
            defaults = {key: value[setting] for key, value in values.items()}
            rows.append(_row(setting, parameter.annotation, defaults, told.get(name, "")))
        if rows:
            where = f"`{made.__module__.replace('.', '/')}.py`"
            about = f"{text.splitlines()[0].removesuffix('.')} ({where})."
            tables.append((configurable.name, _table(configurable.name, about, rows)))
    return "\n".join(table for _, table in sorted(tables))


def meanings(docstring: str) -> dict[str, str]:
    """What a docstring's sections `Args:` and `Attributes:` say of each name."""
    found: dict[str, str] = {}
    for section in re.findall(
        r"^(?:Args|Attributes):\n((?:(?: .*)?\n?)+)", docstring, re.MULTILINE
    ):
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE):
            found[name] = " ".join(text.split())
    return found


def _table(name: str, about: str, rows: Iterable[str]) -> str:
    head = "| setting | value | default | meaning |\n| --- | --- | --- | --- |"
    return "\n".join([f"### {name}\n\n{_escaped(about)}\n\n{head}", *rows, ""])


def _row(name: str, kind: Any, defaults: Defaults, meaning: str) -> str:
    words = describe(kind).replace(_DURATION, "a duration").replace(", in quotation marks", "")
    words = re.sub(r"(\d)\.0\b", r"\1", words).replace(" or None", "; or None")
    for one in getattr(kind, "__metadata__", ()):
        if isinstance(one, Needs):
            meaning += f" Only with `{one.setting}`."
        if isinstance(one, Unless):
            meaning += f" Not with `{one.setting}`."
    return f"| `{name}` | {words} | {_default(defaults)} | {_escaped(meaning)} |"


def _default(defaults: Defaults) -> str:
    """The default, or one for each preset or method where it depends on these."""
    texts = {key: f"`{_written(value)}`" for key, value in defaults.items()}
    # A method's own settings have their values in its own file, and none elsewhere.
    texts = {key: text for key, text in texts.items() if text != f"`{gin.REQUIRED!r}`"}
    if all(key and text == f"`@{key[0]}`" for key, text in texts.items()):
        return "the method's function"
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    for position in range(len(next(iter(texts)))):
        by_name = {key[position]: text for key, text in texts.items()}
        if all(by_name[key[position]] == text for key, text in texts.items()):
            usual, times = Counter(by_name.values()).most_common(1)[0]
            others = {n: text for n, text in by_name.items() if text != usual or times == 1}
            told = [f"{text} ({name})" for name, text in others.items()]
            return ", ".join(told if times == 1 else [usual, *told])
    raise ValueError(f"a default that depends on method and preset: {texts}")


def _written(value: Any) -> str:
    """A value as gin writes it."""
    if isinstance(value, gin.config.ConfigurableReference):
        return f"@{value.configurable.name}"
    return repr(value)


def _escaped(text: str) -> str:
    """A bar would end the table's cell."""
    return text.replace("|", r"\|")


if __name__ == "__main__":
    PAGE.write_text(page())
