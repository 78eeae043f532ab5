"""The examples in docstrings give what they say."""

import ast
import doctest
import importlib
from pathlib import Path

import gin
import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)


def examples():
    """Module, name and text of each docstring that has an example."""
    for package in ("submission", "evaluator", "study"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text()
            if ">>> " not in text:
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            module = module.removesuffix(".__init__")
            for node in ast.walk(ast.parse(text)):
                docstring = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
                if docstring and ">>> " in docstring:
                    yield module, getattr(node, "name", module), docstring


# Read here, and not found by doctest: gin's wrappers hide what they wrap from it.
EXAMPLES = list(examples())


@pytest.mark.parametrize(
    ("module", "name", "docstring"), EXAMPLES, ids=[f"{one[0]}.{one[1]}" for one in EXAMPLES]
)
def test_an_example_gives_what_it_says(module, name, docstring):
    gin.clear_config()
    names = dict(vars(importlib.import_module(module)))
    test = doctest.DocTestParser().get_doctest(docstring, names, name, module, 0)
    failures = []
    doctest.DocTestRunner(verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)


def test_there_are_examples():
    assert len(EXAMPLES) >= 15
