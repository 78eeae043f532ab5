"""No import runs up a floor, and none in a circle (docs/architecture.md)."""

import ast
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What a package must not import. TensorFlow takes seconds, and training has no use for it.
ABOVE = {
    "submission": {
        *("evaluator", "study", "docker", "benchmarks"),
        *("tensorflow", "tensorflow_hub", "disentanglement_lib"),
    },
    "evaluator": {"study", "docker", "benchmarks"},
    "study": {"docker", "benchmarks"},
    "container": {"study", "benchmarks"},
}
# docker/ is no package, or the library of that name couldn't be imported: its own is container.
FOLDERS = {"container": ROOT / "docker"}


def module_name(path, root):
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path, root): path
    for package in ABOVE
    for root in (FOLDERS.get(package, ROOT),)
    for path in sorted((root / package).rglob("*.py"))
}


def imports(source):
    """What a text imports, in functions too: modules, and names that may be modules."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "imports here are absolute"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def above(package, imported):
    return sorted(name for name in imported if name.split(".")[0] in ABOVE[package])


def module_of(name):
    """The module of ours that `from a.b import c` reads, a.b.c or a.b; None for a library's."""
    return next((one for one in (name, name.rpartition(".")[0]) if one in MODULES), None)


def circle(graph):
    """Modules that import one another in a circle, or an empty list if there is none."""
    done = set()

    def search(module, path):
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        found = next(filter(None, (search(one, [*path, module]) for one in graph[module])), [])
        done.add(module)
        return found

    return next(filter(None, (search(module, []) for module in graph)), [])


@pytest.mark.parametrize("name", sorted(MODULES))
def test_no_import_runs_up(name):
    assert above(name.split(".")[0], imports(MODULES[name].read_text())) == []


def test_no_imports_run_in_a_circle():
    """Those in functions count: a circle that is only put off is one."""
    graph = {
        name: sorted({module_of(one) for one in imports(path.read_text())} - {None, name})
        for name, path in MODULES.items()
    }
    assert circle(graph) == []
    assert len(list(itertools.chain(*graph.values()))) > len(graph)


def test_the_package_of_the_training_imports_nothing():
    """Else PyTorch would be imported before the clock of the budget starts."""
    assert imports((ROOT / "submission/training/__init__.py").read_text()) == set()


def test_an_import_that_runs_up_is_seen_wherever_it_stands():
    text = "def score():\n    from evaluator import scores\n    import study.run.work\n"
    assert above("submission", imports(text)) == ["evaluator.scores", "study.run.work"]
    assert above("evaluator", imports(text)) == ["study.run.work"]


def test_a_circle_is_seen():
    assert circle({"a": ["b"], "b": ["c"], "c": ["d", "b"], "d": []}) == ["b", "c", "b"]
    assert circle({"a": ["b", "c"], "b": ["c"], "c": []}) == []
