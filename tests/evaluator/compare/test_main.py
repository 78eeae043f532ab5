import csv
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.compare.__main__ import main
from submission.errors import UserError

HIGH = [[0.4, 0.41], [0.9, 0.9], [0.1, 0.12], [0.3, 0.31], [0.7, 0.7]]
LOW = [[0.2, 0.21], [0.5, 0.5], [0.05, 0.06], [0.1, 0.11], [0.5, 0.5]]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object, columns: int = 200) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", str(columns))
    main()


def refusal(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        run(monkeypatch, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_table_names_each_number_for_what_it_is(write_run, monkeypatch, capsys) -> None:
    low, high = write_run("low", *LOW), write_run("high", *HIGH)
    run(monkeypatch, low, high / "scores.json")
    told = capsys.readouterr().out
    for name in ("plain sum", "normalised sum (paper's)", "mean rank (challenge's)"):
        assert name in told
    rows = [line.split() for line in told.splitlines()]
    high = next(index for index, row in enumerate(rows) if row[:1] == ["high"])
    assert rows[high][:5] == ["high", "1.00", "5.000", "2.400", "0.400"]
    assert rows[high + 1][:2] == ["±", "0.064"]
    low = next(row for row in rows if row[:1] == ["low"])
    assert low[:5] == ["low", "2.00", "2.603", "1.350", "0.200"]
    assert re.search("high and low: more than the draws' noise in .*sum", told)


def test_six_runs_fit_in_80_columns(write_run, monkeypatch, capsys) -> None:
    runs = [write_run(f"dip_vae_ii-seed{number}-8d0fdd18", *LOW) for number in range(6)]
    run(monkeypatch, *runs, columns=80)
    told = capsys.readouterr().out.splitlines()
    table = told[: next(row for row, line in enumerate(told) if line.startswith("plain sum"))]
    assert all(len(line) <= 80 for line in table)
    assert sum(len(line.split()) == 9 and "0.200" in line for line in table) == 6


def test_csv_markdown_and_latex(write_run, monkeypatch, capsys) -> None:
    runs = ["us=" + str(write_run(name, *LOW)) for name in ("a_1", "a_2")]
    runs.append(f"them={write_run('high', *HIGH)}")
    run(monkeypatch, *runs, "--csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["run"] for row in rows] == ["high", "a_1", "a_2"]
    assert [row["participant"] for row in rows] == ["them", "us", "us"]
    # Of a participant's two entries one counts.
    assert [row["mean_rank"] for row in rows] == ["1.0", "2.0", ""]
    assert float(rows[0]["sum"]) == pytest.approx(2.4)
    run(monkeypatch, *runs, "--markdown")
    lines = capsys.readouterr().out.splitlines()
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5
    run(monkeypatch, *runs, "--latex")
    told = capsys.readouterr().out
    assert r"a\_1 & 0.200 (0.205 $\pm$ 0.064)" in told and told.count(r"\\") == 4


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"dataset": "cubes", "dataset_fingerprint": "9"}, "different data sets"),
        ({"dataset_fingerprint": "9"}, "different data sets"),
        ({"engine": "reference"}, "different engines"),
        ({"protocol": "sampled"}, "different protocols"),
        ({"gin_config": "# mig\n\nmig.num_train = 100"}, "mig.num_train is 10000 for a, 100 for b"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    write_run, monkeypatch, other: dict[str, Any], words: str
) -> None:
    message = refusal(monkeypatch, write_run("a", *LOW), write_run("b", *LOW, **other))
    assert "in one table" in message and words in message


def test_what_proves_less_is_marked_wherever_it_is_ranked(
    write_run, monkeypatch, capsys, tmp_path: Path
) -> None:
    a, b = write_run("a", *LOW), write_run("b", *HIGH, unproven="no model was run")
    page = tmp_path / "compare.html"
    run(monkeypatch, a, b, "--output", page)
    told = capsys.readouterr().out
    assert re.search(r"b\s+\(unproven\)", told) and "unproven: b: no model was run" in told
    assert "unproven: a" not in told
    assert "The scores of b are unproven: no model was run." in page.read_text()
    for form, words in (("--markdown", "| b (unproven) |"), ("--latex", "b (unproven) &")):
        run(monkeypatch, a, b, form)
        assert words in capsys.readouterr().out
    run(monkeypatch, a, b, "--csv")
    rows = csv.DictReader(capsys.readouterr().out.splitlines())
    assert [row["unproven"] for row in rows] == ["no model was run", ""]


def test_sampled_scores_make_neither_the_challenges_rank_nor_the_papers_sum(
    write_run, monkeypatch, capsys
) -> None:
    runs = [write_run(name, *LOW, protocol="sampled") for name in "ab"]
    run(monkeypatch, *runs)
    told = capsys.readouterr().out
    assert "sampled protocol (not the challenge's)" in told
    assert "mean rank of sampled scores" in told and "rank (challenge's)" not in told


def test_given_codes_of_a_grid_and_of_some_of_its_rows_are_not_ranked_together(
    monkeypatch, tmp_path: Path
) -> None:
    codes = np.random.RandomState(0).standard_normal((120, 3))
    factors = np.stack(np.unravel_index(np.arange(120), (4, 5, 6)), axis=1)
    for name, rows in (("grid", 120), ("rows", 100)):
        evaluation = evaluator.score_codes(codes[:rows], factors[:rows], metrics=["mig"])
        evaluation.write(tmp_path / name)
    assert "can't be ranked" in refusal(monkeypatch, tmp_path / "grid", tmp_path / "rows")


def test_mistakes_are_told_in_one_line(write_run, monkeypatch, tmp_path: Path) -> None:
    a = write_run("a", *LOW)
    assert "two runs or more" in refusal(monkeypatch, a)
    assert "is there twice" in refusal(monkeypatch, a, a / "scores.json")
    assert "there is no" in refusal(monkeypatch, a, tmp_path / "none")
    broken = write_run("broken", *LOW)
    (broken / "scores.json").write_text("{")
    assert "can't be read" in refusal(monkeypatch, a, broken)
    (broken / "scores.json").write_text("{}")
    assert "different data sets" in refusal(monkeypatch, a, broken)


def test_fewer_metrics_make_neither_the_challenges_rank_nor_the_papers_sum(
    write_run, monkeypatch, capsys
) -> None:
    run(monkeypatch, write_run("a", *LOW[:2]), write_run("b", *HIGH))
    told = capsys.readouterr().out
    assert "mean rank of 2 metrics" in told
    assert "challenge's" not in told and "paper's" not in told


def test_the_page_needs_no_other_file(write_run, monkeypatch, tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    markup = write_run("<b>a & b", *LOW, record={"method": "vae", "seed": 0})
    run(monkeypatch, markup, write_run("c", *HIGH, record={"seed": 1}), "--output", page)
    text = page.read_text()
    assert "&lt;b&gt;a &amp; b" in text and "<b>a" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    for words in ("Mean rank (challenge", "Normalised sum (paper", "Plain sum", " noise</small>"):
        assert words in text
    # No data set of that name is here, so nothing is traversed.
    assert "Left out: unknown data set" in text
