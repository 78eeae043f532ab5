"""What a container prints, as a person sees it."""

from pathlib import Path

import pytest

from container.live_log import LiveLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def lines_of(path: Path, *chunks: bytes, room: int = 1000) -> list[str]:
    with LiveLog("test", 60.0, path, room) as log:
        for chunk in chunks:
            log.feed(chunk)
    return path.read_text().splitlines()


def test_lines_may_come_in_pieces(path):
    assert lines_of(path, b"fir", b"st\nsec", b"ond") == ["first", "second"]


def test_a_character_may_come_in_pieces(path):
    whole = "β-TCVAE\n".encode()
    assert lines_of(path, whole[:1], whole[1:]) == ["β-TCVAE"]


def test_each_state_of_a_rewritten_line_is_a_line(path):
    assert lines_of(path, b"1%\r2%\r\n3%\n") == ["1%", "2%", "3%"]


def test_what_a_terminal_would_obey_is_left_out(path):
    hostile = b"a\x1b[31mb\x1b]0;title\x07c\x1b]8;;x\x1b\\d\x9b1mE\x00\x08 \xe2\x80\xaef\n"
    assert lines_of(path, hostile) == ["abcd1mE f".replace("1mE", "�1mE")]


def test_a_line_without_end_is_cut(path):
    lines = lines_of(path, b"x" * 5000, room=10_000)
    assert [len(line) for line in lines] == [2000, 2000, 1000]


def test_no_more_than_the_limit_is_kept_and_shown(path, capsys):
    with LiveLog("test", 60.0, path, 10) as log:
        log.feed(b"1234567\n")
        assert not log.is_full.is_set()
        log.feed(b"abcdefgh\n")
        assert log.is_full.is_set()
        log.feed(b"more\n")
    assert path.read_text() == capsys.readouterr().out == "1234567\nab\n"


def test_the_last_error_is_remembered(path):
    with LiveLog("test", 60.0, path, 1000) as log:
        log.feed(b"error: first\nthen\nerror: last\nmore\n")
        assert log.last_error == "last"


@pytest.mark.parametrize("progress", ["9" * 400, "[" * 1900, "NaN", '{"a": 1}', '"soon"'])
def test_a_forged_progress_event_is_a_line_like_any_other(path, progress):
    line = f'{{"event_type": "x", "payload": {{"training_progress": {progress}}}}}'
    assert lines_of(path, line.encode() + b"\nlater\n", room=10_000)[-1] == "later"
