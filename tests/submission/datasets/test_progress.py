import pytest

from submission.datasets import progress as module
from submission.datasets.progress import progress


def test_without_a_terminal_there_are_plain_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("reading x", 2000, "images", done=500) as advance:
        advance(500)
        advance(1000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading x: 1,000 images (50%)"
    assert lines[1] == "reading x: 2,000 images (100%)"
    assert lines[2].startswith("reading x: 2,000 images in ")
    assert len(lines) == 3


def test_a_short_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading x", None, "images") as advance:
        advance(5)
        advance(5)
    assert capsys.readouterr().err.count("\n") == 1


def test_a_step_that_fails_claims_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError), progress("reading x", 10, "images") as advance:
        advance(5)
        raise ValueError
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    with progress("reading x", 10, "images") as advance:
        advance(10)
    shown = capsys.readouterr().err
    assert "100%" in shown and "\r" in shown
