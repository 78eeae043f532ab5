"""What the portal would refuse, in files of the test's and in the real image."""

import json
import uuid
from pathlib import Path

import pytest

from container import findings, image
from submission.errors import UserError

CHALLENGE = "aicrowd-neurips-2019-disentanglement-challenge"
RIGHT = {"challenge_id": CHALLENGE, "grader_id": CHALLENGE, "authors": ["somebody"], "gpu": True}


class NoImages:
    """An engine without the image: only the files are looked at."""

    def get(self, tag):
        from docker.errors import ImageNotFound

        raise ImageNotFound(tag)

    @property
    def images(self):
        return self


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    (tmp_path / "aicrowd.json").write_text(json.dumps(RIGHT))
    (tmp_path / "run.sh").write_text("#!/usr/bin/env bash\n")
    (tmp_path / "run.sh").chmod(0o755)
    return tmp_path


def wrong(folder: Path) -> list[str]:
    """The findings about the files, each with its remedy, without the one about the image."""
    found = list(findings.check(NoImages(), "absent", None, None, folder))
    assert found[-1].what == "there is no image"
    return [f"{one.what}: {one.remedy}" for one in found[:-1] if one.remedy]


def test_a_right_submission_has_no_findings(submission):
    assert wrong(submission) == []


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("challenge_id", "other", f'set it to "{CHALLENGE}"'),
        ("grader_id", None, f'set it to "{CHALLENGE}"'),
        ("authors", [], "list your AIcrowd user names"),
        ("authors", ["your-aicrowd-username"], "list your AIcrowd user names"),
        ("authors", "somebody", "list your AIcrowd user names"),
        ("gpu", "yes", "set it to true or false"),
    ],
)
def test_a_wrong_entry_of_aicrowd_json(submission, key, value, remedy):
    (submission / "aicrowd.json").write_text(json.dumps(RIGHT | {key: value}))
    (finding,) = wrong(submission)
    assert key in finding
    assert finding.endswith(remedy)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_aicrowd_json(submission, content):
    (submission / "aicrowd.json").write_text(content)
    assert any(one.startswith("aicrowd.json") for one in wrong(submission))


def test_a_run_sh_that_is_not_executable(submission):
    (submission / "run.sh").chmod(0o644)
    assert wrong(submission) == ["run.sh isn't executable: chmod +x run.sh"]


def test_a_run_sh_with_the_line_ends_of_windows(submission):
    (submission / "run.sh").write_bytes(b"#!/bin/bash\r\necho\r\n")
    (finding,) = wrong(submission)
    assert "end its lines as on Linux" in finding


def test_a_run_sh_that_is_missing(submission):
    (submission / "run.sh").unlink()
    assert wrong(submission) == ["there is no run.sh: add it: the portal starts it"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", b"PASSWORD=x"),
        ("deploy/id_rsa", b"x"),
        ("notes.txt", b"-----BEGIN OPENSSH PRIVATE" + b" KEY-----\n"),
        ("settings.py", b"token = 'ghp_" + b"a" * 36 + b"'"),
        ("settings.py", b"key = 'AKIA" + b"A" * 16 + b"'"),
    ],
)
def test_a_secret_that_would_go_into_the_image(submission, name, content):
    (submission / name).parent.mkdir(exist_ok=True)
    (submission / name).write_bytes(content)
    (finding,) = wrong(submission)
    assert finding.startswith(f"{name} goes into the image and looks like a secret")


@pytest.mark.parametrize(("name", "size"), [("mpi3d_toy.npz", 10), ("blob", 11 * 2**20)])
def test_a_data_set_that_would_go_into_the_image(submission, name, size):
    (submission / name).write_bytes(bytes(size))
    (finding,) = wrong(submission)
    assert finding.startswith(f"{name} (")
    assert finding.endswith("name it in .dockerignore")


def test_what_dockerignore_names_does_not_count(submission):
    (submission / "mpi3d_toy.npz").write_bytes(b"x")
    (submission / ".dockerignore").write_text("# data\n*.npz\n")
    assert wrong(submission) == []


PROBE = {
    "uid": 1001,
    "entry_point_runs": True,
    "torch": "2.0",
    "torch_has_cuda": False,
}


def test_a_right_probe_is_read(tmp_path):
    (tmp_path / "probe.json").write_text(json.dumps(PROBE))
    assert findings.read_probe(tmp_path / "probe.json") == PROBE


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "1",
        "{}",
        "[" * 100_000,
        "\\udc80",
        *(json.dumps(PROBE | {key: ["x"]}) for key in PROBE),
        *(json.dumps({k: v for k, v in PROBE.items() if k != key}) for key in PROBE),
    ],
)
def test_a_forged_probe_is_refused(tmp_path, content):
    (tmp_path / "probe.json").write_text(content)
    with pytest.raises(UserError, match="answer"):
        findings.read_probe(tmp_path / "probe.json")


@pytest.mark.parametrize("spoil", ["missing", "folder"])
def test_a_probe_that_is_no_file_is_refused(tmp_path, spoil):
    if spoil == "folder":
        (tmp_path / "probe.json").mkdir()
    with pytest.raises(UserError, match="no answer"):
        findings.read_probe(tmp_path / "probe.json")


@pytest.fixture
def build_image(client, tmp_path):
    """Builds an image of a Dockerfile without a base; returns what is wrong in it."""
    tag = f"disentanglement-test-{uuid.uuid4().hex[:8]}"

    def build(*lines: str, **files: bytes) -> list[str]:
        context = tmp_path / "image"
        context.mkdir()
        for name, content in files.items():
            (context / name).write_bytes(content)
        (context / "Dockerfile").write_text("\n".join(["FROM scratch", *lines]))
        image.build(client, tag, {}, None, context)
        found = findings.check_shipped(client.images.get(tag))
        return [one.what for one in found if one.remedy]

    yield build
    client.images.remove(tag, force=True)


def test_an_image_of_nothing_ships_nothing(build_image):
    assert build_image("COPY file /home/file", file=b"x") == []


@pytest.mark.parametrize(
    "entry",
    ["PIP_INDEX_URL=https://x", "PIP_FIND_LINKS=/w", "MY_API_KEY=x", "X=https://me:word@host/"],
)
def test_a_secret_in_the_environment_of_an_image_is_found_and_not_shown(build_image, entry):
    name = entry.partition("=")[0]
    (found, *more) = build_image("COPY file /", f"ENV {entry}", file=b"x")
    assert found == f"the image's environment holds {name}, which may tell a secret"
    assert not any("word" in one for one in more)


def test_a_harmless_environment_is_right(build_image):
    assert build_image("COPY file /", "ENV TOKENIZERS_PARALLELISM=false GPG_KEY=ab", file=b"") == []


def test_a_pip_conf_in_a_layer_is_found_though_a_later_layer_hides_it(build_image):
    lines = ("COPY first /etc/pip.conf", "COPY second /etc/pip.conf")
    assert build_image(*lines, first=b"x", second=b"") == [
        "a layer of the image holds /etc/pip.conf, which may tell a secret"
    ]


def test_a_wheel_in_a_layer_is_found(build_image):
    assert build_image("COPY wheel /opt/torch-2.whl", wheel=bytes(11 * 2**20)) == [
        "a layer of the image holds /opt/torch-2.whl (11 MiB)"
    ]


def test_a_token_in_a_file_of_a_layer_is_found(build_image):
    token = b"token = 'ghp_" + b"a" * 36 + b"'"
    assert build_image("COPY file /home/aicrowd/file", file=token) == [
        "a layer of the image holds /home/aicrowd/file, which looks like a secret"
    ]


def test_a_token_in_the_history_of_an_image_is_found_and_not_shown(build_image):
    (found,) = build_image("COPY file /", 'CMD ["x", "https://me:word@host/"]', file=b"")
    assert found.startswith("the image's history tells a secret")
    assert "word" not in found


@pytest.mark.slow
def test_what_a_forged_probe_prints_is_told_in_lines_without_commands(portal, make_submission):
    # The image's own Python writes the answer.
    program = """
import json, os, sys
os.makedirs(sys.argv[-1])
json.dump({"uid": 1001, "entry_point_runs": True, "torch": "a\\nok     forged\\x1b[2J",
    "torch_has_cuda": False},
    open(sys.argv[-1] + "/probe.json", "w"))
"""
    tag = make_submission(
        "", "COPY python /opt/venv/bin/python", python=f"#!/usr/bin/python3{program}"
    )
    answer = portal("check", portal.folder, image=tag)
    assert answer.code == 2
    assert "\x1b" not in answer.output
    assert "ok     forged" not in answer.output.splitlines()


@pytest.mark.slow
def test_the_real_image_and_a_representation_that_loads(portal, write_torchscript, pixels):
    answer = portal("check", write_torchscript(pixels))
    assert answer.code == 2  # aicrowd.json names nobody yet
    lines = answer.output.splitlines()
    assert "ok     the image's user is aicrowd" in lines
    assert "ok     no secret, wheel or data set in the image's environment and layers" in lines
    assert "ok     the uid of aicrowd in the image is 1001" in lines
    assert "ok     the image's entry point is /home/aicrowd/run.sh" in lines
    assert (
        "ok     without a GPU, the representation gives [1, 8] for a batch of 1 and [64, 8] for a "
        "batch of 64"
    ) in lines
    assert any(line.startswith("WRONG  aicrowd.json: authors is") for line in lines)
    assert not any(line.startswith("WRONG") and "image has" in line for line in lines)


@pytest.mark.slow
def test_a_representation_that_fails_on_one_image(portal, write_hostile_dill):
    answer = portal("check", write_hostile_dill("raise ValueError('no GPU')"))
    assert answer.code == 2
    (line,) = (line for line in answer.output.splitlines() if "representation" in line)
    assert line.startswith("WRONG  the representation fails without a GPU: ")
    assert line.endswith("no GPU: export it anew")
