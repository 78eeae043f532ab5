"""`python -m evaluator --codes FILE --factors FILE`."""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

import evaluator
from evaluator import __main__ as command
from evaluator.given_arrays import read_codes, read_factors
from evaluator.given_files import read_table
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CODES = np.random.RandomState(0).standard_normal((24, 3))
FACTORS = np.stack(np.unravel_index(np.arange(24), (2, 3, 4)), axis=1)


def evaluate(*arguments):
    command = [sys.executable, "-m", "evaluator", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def written(path):
    """A file of each kind that holds the codes, or the factors."""
    array, key = (CODES, "codes") if path.stem.startswith("codes") else (FACTORS, "factors")
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".npz":
        np.savez(path, **{key: array}, beside=np.zeros(2))
    elif path.stem.endswith("_bare"):
        np.savetxt(path, array, delimiter=",")
    elif path.stem.endswith("_numbered"):
        pandas.DataFrame(array, columns=list("abc")).to_csv(path)
    elif path.stem.endswith("_unnamed"):
        pandas.DataFrame(array).to_csv(path, index=False)
    elif path.stem.endswith("_decimal_commas"):
        pandas.DataFrame(array).to_csv(path, index=False, header=False, sep=";", decimal=",")
    elif path.stem.endswith("_excel"):
        table = pandas.DataFrame(array, columns=["größe", "b", "c"])
        table.to_csv(path, index=False, sep=";", encoding="utf-8-sig", lineterminator="\r\n")
    elif path.stem.endswith("_named"):
        table = pandas.DataFrame(array, columns=list("abc")).to_csv(index=False, sep="|")
        path.write_text(f"sep=|\n{table}", encoding="utf-8-sig", newline="\r\n")
    elif path.stem.endswith("_tabs"):
        pandas.DataFrame(array).to_csv(path, sep="\t")
    elif path.stem.endswith("_savetxt"):
        np.savetxt(path, array)
    elif path.suffix == ".parquet":
        pandas.DataFrame(array, columns=list("abc")).to_parquet(path)
    else:
        pandas.DataFrame(array, columns=list("abc")).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *(".npy", ".npz", ".csv", ".NPY", ".parquet", "_bare.csv", "_numbered.csv", "_unnamed.csv"),
        *("_decimal_commas.csv", "_excel.csv", "_named.csv", "_tabs.csv", "_savetxt.csv"),
    ],
)
def test_a_file_holds_the_very_codes_and_factors(tmp_path, name):
    kind = name.lower()
    for key, array in (("codes", CODES), ("factors", FACTORS)):
        path = written(tmp_path / f"{key}{kind}").rename(tmp_path / f"{key}{name}")
        table = read_table(path, key)
        read = read_codes(table) if key == "codes" else read_factors(table).numbers
        assert np.array_equal(read, array)


def test_the_columns_of_a_csv_name_the_factors(tmp_path):
    pandas.DataFrame({"shape": ["ball", "cube"] * 2, "size": [1, 1, 2, 2]}).to_csv(
        tmp_path / "f.csv", index=False
    )
    assert read_factors(read_table(tmp_path / "f.csv", "factors")).names == ("shape", "size")


def test_a_parquet_file_may_hold_strings_and_categories(tmp_path):
    table = pandas.DataFrame({"shape": ["ball", "cube"] * 2, "size": [1, 1, 2, 2]})
    table["colour"] = pandas.Categorical(["red", "red", "blue", "red"])
    table.to_parquet(tmp_path / "f.parquet")
    found = read_factors(read_table(tmp_path / "f.parquet", "factors"))
    assert found.names == ("shape", "size", "colour")
    assert found.numbers.tolist() == [[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]]


def test_what_a_kind_of_file_needs_is_told_where_it_is_missing(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    for suffix, module in ((".csv", "pandas"), (".parquet", "pyarrow")):
        (tmp_path / f"codes{suffix}").write_text("a")
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, m=module: None if name == m else find(name)
        )
        with pytest.raises(UserError, match=f"reading .*codes{suffix} needs {module}, which"):
            read_table(tmp_path / f"codes{suffix}", "codes")


def test_nothing_in_a_file_is_run(tmp_path):
    class Runs:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    np.save(tmp_path / "codes.npy", np.array([[Runs()]]), allow_pickle=True)
    np.savez(tmp_path / "codes.npz", codes=np.array([[Runs()]]), allow_pickle=True)
    (tmp_path / "pickled.npy").write_bytes(pickle.dumps(Runs()))
    for name in ("codes.npy", "codes.npz", "pickled.npy"):
        with pytest.raises(UserError, match=name):
            read_table(tmp_path / name, "codes")
    assert not (tmp_path / "ran").exists()


def damaged(path):
    whole = written(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def test_a_mistake_is_told_in_one_line(tmp_path):
    np.savez(tmp_path / "two.npz", a=CODES, b=FACTORS)
    np.savez(tmp_path / "none.npz")
    np.savez(tmp_path / "factors_only.npz", factors=FACTORS)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "title.csv").write_text("# mine\na,b,c\n1,2,3\n")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "codes.txt").touch()
    os.mkfifo(tmp_path / "pipe.csv")
    for path, message in (
        (tmp_path / "nowhere.npy", r"nowhere.npy can't be opened \(No such file"),
        (tmp_path / "folder.npy", r"folder.npy can't be opened \(Is a directory"),
        (tmp_path / "pipe.csv", "pipe.csv is a pipe"),
        (tmp_path / "codes.txt", r"must be one of .npy, .npz, .csv, .parquet"),
        (tmp_path / "two.npz", "holds a, b, and no 'codes'"),
        (tmp_path / "none.npz", "holds nothing, and no 'codes'"),
        (tmp_path / "factors_only.npz", "holds factors, and no 'codes'"),
        (tmp_path / "empty.csv", "can't be read as .csv: No columns"),
        (tmp_path / "title.csv", "can't be read as .csv: Length of header .* loss of data"),
        (tmp_path / "empty.npy", "can't be read as .npy"),
        (damaged(tmp_path / "codes.npy"), "can't be read as .npy"),
        (damaged(tmp_path / "codes.npz"), "can't be read as .npz"),
    ):
        with pytest.raises(UserError, match=message) as told:
            read_table(path, "codes")
        assert "\n" not in str(told.value)


# The command


def test_the_command_scores_as_the_function(tmp_path):
    np.savez(tmp_path / "both.npz", codes=CODES, factors=FACTORS)
    answer = evaluate(
        *("--codes", tmp_path / "both.npz", "--metrics", "mig", "sap_score"),
        *("--repeats", "2", "--output", tmp_path / "out"),
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    expected = evaluator.score_codes(CODES, FACTORS, metrics=["mig", "sap_score"], repeats=2)
    assert found["scores"] == expected.scores
    assert found["metrics"] == expected.values
    assert found["repeats"]["mig"]["scores"] == list(expected.intervals["mig"].scores)
    assert found["provenance"]["representation_file"] == "both.npz"
    assert found["provenance"]["protocol"] == "challenge"
    assert found["provenance"]["unproven"] == "the codes were given, no model was run"
    assert "24 rows, challenge protocol" in answer.stdout


def test_the_command_writes_nothing_unless_it_is_told_where(tmp_path):
    np.save(tmp_path / "codes.npy", np.tile(CODES, (2, 1)))
    pandas.DataFrame(np.tile(FACTORS, (2, 1))).to_csv(tmp_path / "factors.csv", index=False)
    before = sorted(tmp_path.iterdir())
    answer = evaluate(
        *("--codes", tmp_path / "codes.npy", "--factors", tmp_path / "factors.csv"),
        *("--metrics", "mig"),
    )
    assert answer.returncode == 0, answer.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert "48 rows, sampled protocol" in answer.stdout
    assert "these scores are not the challenge's" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ([], "required: REPRESENTATION_DIR"),
        (["--factors", "f.npy"], "--factors goes with --codes"),
        (["--codes", "c.npy"], "--factors is missing: c.npy is no .npz"),
        (["--codes", "c.npy", "--factors", "f.npy"], "f.npy can't be opened"),
        (["--codes", "c.npz"], "c.npz can't be opened"),
        (["there", "--codes", "c.npz"], "REPRESENTATION_DIR doesn't go with --codes"),
        (["--codes", "c.npz", "--dataset", "mpi3d_mini"], "--dataset doesn't go with --codes"),
        (["--codes", "c.npz", "--engine", "reference"], "--engine reference doesn't go with"),
        (["--codes", "c.npz", "--allow-pickle"], "--allow-pickle doesn't go with --codes"),
        (["--codes", "c.npz", "--output", "README.md"], "README.md is a file"),
    ],
)
def test_a_wrong_argument_is_told(arguments, fragment, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evaluator", *arguments])
    with pytest.raises((UserError, SystemExit)) as told:
        command.main()
    assert fragment in str(told.value) + capsys.readouterr().err
