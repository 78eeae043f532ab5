import contextlib
import gzip
import hashlib
import http.server
import io
import json
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from submission.datasets import NAMES, cars3d, download, image_cache, images, mpi3d, smallnorb
from submission.datasets.catalogue import remote_files
from submission.datasets.download import fetch, transfer
from submission.datasets.remote import RemoteFile
from submission.errors import UserError

CONTENT = np.random.RandomState(0).bytes(300_000)


class Server(http.server.ThreadingHTTPServer):
    """A real server on 127.0.0.1 whose manners a test chooses, and which remembers what it sent."""

    content: bytes = CONTENT
    tag: str | None = '"one"'
    modified: str | None = None
    honours_range = True
    sends_length = True
    # How many bytes to send before hanging up, a request an entry; None and further requests: all.
    hang_up_after: list[int | None]
    statuses: list[int]  # to answer with instead, a request an entry
    redirects = False  # /resolve/… leads to a signed address of /files/…, another one every time
    replacement: bytes | None = None  # what the file is after the first request
    content_encoding: str | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hang_up_after, self.statuses = [], []
        self.requests: list[dict[str, str]] = []
        self.sent: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/files/set.npz"

    @property
    def resolve_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/resolve/set.npz"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET with all of the file or with the range that is asked for."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(dict(self.headers))
        if server.redirects and self.path.startswith("/resolve/"):
            self.send_response(302)
            self.send_header("Location", f"/files/set.npz?signature={len(server.requests)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        body, begin = server.content, 0
        wanted = self.headers.get("Range")
        unchanged = self.headers.get("If-Range") in (None, server.tag, server.modified)
        if wanted and server.honours_range and unchanged:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.sends_length:
            self.send_header("Content-Length", str(len(body) - begin))
        for header, value in (
            ("ETag", server.tag),
            ("Last-Modified", server.modified),
            ("Content-Encoding", server.content_encoding),
        ):
            if value is not None:
                self.send_header(header, value)
        self.end_headers()
        limit = server.hang_up_after.pop(0) if server.hang_up_after else None
        part = body[begin:] if limit is None else body[begin : begin + limit]
        server.sent.append(len(part))
        self.wfile.write(part)
        if server.replacement is not None:
            server.content, server.tag, server.replacement = server.replacement, '"two"', None
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output clean."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def older() -> Iterator[Server]:
    """Where the file was before."""
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    return waits


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "set.npz.part"


def test_a_whole_transfer_takes_one_request(server: Server, part: Path) -> None:
    transfer(server.url, part, len(CONTENT))
    assert part.read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_connection_dropped_half_way_is_resumed_where_it_stopped(
    server: Server, part: Path, no_waiting: list[float]
) -> None:
    server.hang_up_after = [150_000, 50_000]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 50_000, 100_000]
    assert server.requests[1]["Range"] == "bytes=150000-"
    assert server.requests[1]["If-Range"] == '"one"'
    assert no_waiting == [1.0, 1.0]  # each got further, so the wait did not grow


def test_a_later_run_resumes_what_an_earlier_one_left(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.hang_up_after = [100_000]
    with monkeypatch.context() as impatient:
        impatient.setattr(download, "ATTEMPTS_WITHOUT_PROGRESS", 1)
        with pytest.raises(UserError, match="it goes on at byte 100,000"):
            transfer(server.url, part)
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [100_000, 200_000]


def test_a_finished_part_is_not_fetched_again(server: Server, part: Path) -> None:
    transfer(server.url, part)
    transfer(server.url, part)
    assert len(server.requests) == 1


def test_a_server_that_ignores_range_starts_anew(server: Server, part: Path) -> None:
    server.honours_range = False
    server.hang_up_after = [150_000]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 300_000]


def test_a_file_that_changed_meanwhile_is_fetched_whole(server: Server, part: Path) -> None:
    server.hang_up_after = [150_000]
    server.replacement = CONTENT[::-1]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT[::-1]
    assert "Range" in server.requests[1]


def test_a_range_of_a_changed_file_is_not_appended(server: Server, part: Path) -> None:
    # This server heeds Range but not If-Range.
    server.hang_up_after = [150_000]
    transfer_tag = server.tag
    server.replacement = CONTENT[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "parse_request", _without_if_range(Handler.parse_request))
        transfer(server.url, part)
    assert server.tag != transfer_tag
    assert part.read_bytes() == CONTENT[::-1]


def _without_if_range(parse: object) -> object:
    def parse_request(handler: Handler) -> bool:
        understood = parse(handler)
        del handler.headers["If-Range"]
        return understood

    return parse_request


def test_a_file_that_became_shorter_than_the_part_is_fetched_whole(
    server: Server, part: Path
) -> None:
    server.hang_up_after = [150_000]
    server.replacement = CONTENT[:1000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "parse_request", _without_if_range(Handler.parse_request))
        transfer(server.url, part)
    assert part.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_strong_tag_the_date_vouches_for_the_part(
    server: Server, part: Path, tag: str | None
) -> None:
    server.tag, server.modified = tag, "Tue, 24 Nov 2026 00:00:00 GMT"
    server.hang_up_after = [150_000]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 150_000]
    assert server.requests[1]["If-Range"] == server.modified


def test_without_tag_and_date_nothing_is_resumed(server: Server, part: Path) -> None:
    server.tag = None
    server.hang_up_after = [150_000]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 300_000]


def test_a_part_without_a_note_is_not_trusted(server: Server, part: Path) -> None:
    part.write_bytes(b"something else")
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"url": "x"}'])
def test_a_damaged_note_starts_anew(server: Server, part: Path, note: bytes) -> None:
    part.write_bytes(CONTENT[:100])
    part.with_name(f"{part.name}.json").write_bytes(note)
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT


def test_a_server_that_says_no_length_is_read_to_the_end(server: Server, part: Path) -> None:
    server.sends_length = False
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT


def test_a_content_encoding_is_not_undone(server: Server, part: Path) -> None:
    server.content = gzip.compress(b"matrix")
    server.content_encoding = "x-gzip"
    transfer(server.url, part)
    assert part.read_bytes() == server.content
    assert server.requests[0]["Accept-Encoding"] == "identity"


def test_passing_trouble_is_retried_with_growing_waits(
    server: Server, part: Path, no_waiting: list[float]
) -> None:
    server.statuses = [503, 500, 429]
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert no_waiting == [1.0, 2.0, 4.0]


def test_lasting_trouble_ends_with_one_line(server: Server, part: Path) -> None:
    server.statuses = [503] * 10
    with pytest.raises(UserError, match=r"503.* after 5 attempts") as caught:
        transfer(server.url, part)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 5


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_file_that_is_gone_is_an_error_at_once(server: Server, part: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(UserError, match=f"set.npz is not there: the server answers {status}"):
        transfer(server.url, part)
    assert len(server.requests) == 1


def test_no_network_is_one_line(part: Path) -> None:
    server = Server()
    server.server_close()  # nobody listens there now
    with pytest.raises(UserError, match=r"refused.*check the network") as caught:
        transfer(server.url, part)
    assert "\n" not in str(caught.value)


def test_a_host_that_does_not_exist_is_one_line(part: Path) -> None:
    with pytest.raises(UserError, match="check the network") as caught:
        transfer("http://no-such-host.invalid/file", part)
    assert "\n" not in str(caught.value)


def test_another_length_than_the_published_one_is_refused(server: Server, part: Path) -> None:
    with pytest.raises(UserError, match="has 300,000 bytes; the published file has 300,001"):
        transfer(server.url, part, 300_001)
    assert server.sent in ([], [300_000])
    assert not part.exists()


def test_no_room_is_told_before_anything_is_fetched(
    server: Server, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "has_room", lambda folder, wanted: wanted < 300_000)
    with pytest.raises(UserError, match=r"no room on the disk for .*300,000 bytes"):
        transfer(server.url, part)
    assert not part.exists()


def test_a_disk_that_fills_up_is_one_line(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "set.npz.part"
    note = {"url": server.url, "validator": server.tag, "total": len(CONTENT)}
    part.with_name(f"{part.name}.json").write_text(json.dumps(note))
    part.symlink_to("/dev/full")  # a device that answers every write with "no space left"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="no room"):
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # the link has to stay
        transfer(server.url, part)


def archive(count: int = 8, key: str = "images") -> bytes:
    file = io.BytesIO()
    np.savez_compressed(
        file, **{key: np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 2, 3)}
    )
    return file.getvalue()


@pytest.fixture
def remote(server: Server, monkeypatch: pytest.MonkeyPatch) -> RemoteFile:
    """A small MPI3D file, checked by the loader's own check."""
    monkeypatch.setattr(mpi3d, "IMAGE_SHAPE", (2, 2, 3))
    monkeypatch.setattr(mpi3d, "SIZES_OF_COUNT", {8: (2, 2, 2, 1, 1, 1, 1)})
    server.content = archive()
    return RemoteFile(server.url, Path("mpi3d_toy/mpi3d_toy.npz"), mpi3d.open_file)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_a_checked_file_takes_its_place_and_nothing_else_stays(
    server: Server, remote: RemoteFile, tmp_path: Path
) -> None:
    server.hang_up_after = [len(server.content) // 2]
    fetch(remote, tmp_path)
    assert (tmp_path / remote.path).read_bytes() == server.content
    assert names(tmp_path / "mpi3d_toy") == ["mpi3d_toy.npz"]


def test_a_file_that_is_there_is_not_fetched(
    server: Server, remote: RemoteFile, tmp_path: Path
) -> None:
    fetch(remote, tmp_path)
    fetch(remote, tmp_path)
    assert len(server.requests) == 1


def test_a_damaged_file_is_fetched_again(
    server: Server, remote: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "mpi3d_toy").mkdir()
    (tmp_path / remote.path).write_bytes(server.content[:50])
    fetch(remote, tmp_path)
    assert (tmp_path / remote.path).read_bytes() == server.content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>moved</html>", "damaged"),
        (archive(count=7), "holds 7 images"),
        (archive(key="pictures"), "no array 'images'"),
        (archive()[:-30], "damaged"),
        (archive()[:90] + b"\x00" * 8 + archive()[98:], "damaged"),
    ],
)
def test_wrong_content_never_takes_its_place(
    server: Server, remote: RemoteFile, tmp_path: Path, content: bytes, message: str
) -> None:
    server.content = content
    with pytest.raises(UserError, match=message):
        fetch(remote, tmp_path)
    assert names(tmp_path / "mpi3d_toy") == []


def test_a_wrong_checksum_is_refused_and_the_next_attempt_starts_anew(
    server: Server, remote: RemoteFile, tmp_path: Path
) -> None:
    right = hashlib.sha256(server.content).hexdigest()
    checked = RemoteFile(remote.url, remote.path, remote.check, None, ("sha256", right))
    good, server.content = server.content, archive()[:-1] + b"x"
    with pytest.raises(UserError, match="is not the published file: its sha256 is"):
        fetch(checked, tmp_path)
    assert names(tmp_path / "mpi3d_toy") == []
    server.content = good
    fetch(checked, tmp_path)
    assert (tmp_path / remote.path).read_bytes() == good


def test_a_gzipped_matrix_is_unpacked(server: Server, tmp_path: Path) -> None:
    head = np.array([0x1E3D4C54, 1, 4, 1, 1], dtype="<i4").tobytes()
    matrix = head + np.arange(4, dtype="<i4").tobytes()
    server.content = gzip.compress(matrix)
    remote = RemoteFile(
        server.url,
        Path("small_norb/a-cat.mat"),
        smallnorb.read_matrix,
        len(server.content),
        ("sha256", hashlib.sha256(server.content).hexdigest()),
        images.gunzip,
    )
    fetch(remote, tmp_path)
    assert (tmp_path / remote.path).read_bytes() == matrix
    assert names(tmp_path / "small_norb") == ["a-cat.mat"]


def test_only_the_cars_are_taken_out_of_their_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cars3d, "FACTOR_SIZES", (4, 24, 2))
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for name in (
            "data/cars/car_001_mesh.mat",
            "data/cars/._car_001_mesh.mat",
            "data/cars/../../../cars/car_002_mesh.mat",
            "data/cars/list.txt",
            "data/sprites/sprites_1.mat",
            "data/shapes48.mat",
        ):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            packed.addfile(member, io.BytesIO(name.encode()))
    server.content = file.getvalue()
    remote = RemoteFile(server.url, Path("cars"), cars3d.open_folder, unpack=cars3d.unpack)
    fetch(remote, tmp_path / "root")
    assert names(tmp_path / "root" / "cars") == ["car_001_mesh.mat", "car_002_mesh.mat"]
    assert names(tmp_path / "root") == ["cars"]
    assert names(tmp_path) == ["root"]


def test_every_downloadable_data_set_says_where_its_files_are() -> None:
    for name in NAMES:
        if name.startswith("mpi3d_mini"):
            with pytest.raises(UserError, match=r"rendered, not downloaded|isn't downloaded"):
                remote_files(name)
            continue
        if name == "mpi3d_real_complex":
            with pytest.raises(UserError, match=r"drive\.google\.com.*mpi3d_real_complex\.npz"):
                remote_files(name)
            continue
        for remote in remote_files(name):
            assert remote.url.startswith("http")
            assert not remote.path.is_absolute()
    assert len(remote_files("smallnorb")) == 6
    assert len(remote_files("scream_dsprites")) == 2
    with pytest.raises(UserError, match="did you mean cars3d"):
        remote_files("cars3")


def test_a_redirect_is_followed_and_resumed_though_its_address_changes(
    server: Server, part: Path
) -> None:
    server.redirects = True
    server.hang_up_after = [150_000]
    transfer(server.resolve_url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 150_000]
    assert len(server.requests) == 4


def test_todays_address_comes_first(server: Server, remote: RemoteFile, tmp_path: Path) -> None:
    with Server() as gone:
        fetch(replace(remote, older_urls=(gone.url,)), tmp_path)
        assert gone.requests == []


@pytest.mark.parametrize("answer", [403, 404, b"<html>moved</html>"])
def test_an_older_address_is_a_fall_back(
    server: Server,
    remote: RemoteFile,
    tmp_path: Path,
    answer: int | bytes,
    older: Server,
) -> None:
    older.content = server.content
    if isinstance(answer, int):
        server.statuses = [answer]
    else:
        server.content = answer
    fetch(replace(remote, older_urls=(older.url,)), tmp_path)
    assert (tmp_path / remote.path).read_bytes() == older.content
    assert names(tmp_path / "mpi3d_toy") == ["mpi3d_toy.npz"]


def test_without_any_address_left_todays_answer_is_told(
    server: Server, remote: RemoteFile, tmp_path: Path, older: Server
) -> None:
    server.statuses, older.statuses = [404], [403]
    with pytest.raises(UserError, match=f"{server.url} is not there.* 404"):
        fetch(replace(remote, older_urls=(older.url,)), tmp_path)


def test_a_passing_trouble_is_no_reason_to_leave_todays_address(
    server: Server, remote: RemoteFile, tmp_path: Path, older: Server
) -> None:
    half = len(server.content) // 2
    server.hang_up_after = [half]
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr(download, "ATTEMPTS_WITHOUT_PROGRESS", 1)
        with pytest.raises(UserError, match=f"it goes on at byte {half:,}"):
            fetch(replace(remote, older_urls=(older.url,)), tmp_path)
    assert older.requests == []
    fetch(replace(remote, older_urls=(older.url,)), tmp_path)
    assert server.requests[1]["Range"] == f"bytes={half}-"


def test_a_part_from_one_address_is_no_part_of_another(
    server: Server, part: Path, older: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS_WITHOUT_PROGRESS", 1)
    server.hang_up_after = [100_000]
    with pytest.raises(UserError):
        transfer(server.url, part)
    older.content = CONTENT[::-1]
    transfer(older.url, part)
    assert part.read_bytes() == CONTENT[::-1]
    assert "Range" not in older.requests[0]


def test_ctrl_c_leaves_a_part_that_the_next_run_goes_on_with(server: Server, part: Path) -> None:
    server.hang_up_after = [150_000]
    code = (
        "import sys; from pathlib import Path; from submission.datasets.download import transfer;"
        "from submission.datasets import download; download.FIRST_WAIT_SECONDS = 60;"
        "from submission.command_line import run_command_line;"
        "run_command_line(lambda: transfer(sys.argv[1], Path(sys.argv[2])))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, server.url, str(part)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    while "trying again" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() != 0
    assert f"{part} keeps 150,000 bytes: run the command again to go on" in said
    transfer(server.url, part)
    assert part.read_bytes() == CONTENT
    assert server.sent == [150_000, 150_000]


def test_a_file_that_lies_one_step_off_is_not_fetched(
    server: Server, remote: RemoteFile, tmp_path: Path
) -> None:
    (tmp_path / "mpi3d_toy.npz").write_bytes(server.content)
    fetch(remote, tmp_path)
    assert server.requests == []


def test_the_scrambled_file_is_no_fall_back() -> None:
    (remote,) = remote_files("mpi3d_real")
    assert not any(url.endswith("/real.npz") for url in (remote.url, *remote.older_urls))


@pytest.fixture
def small_grids(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A published and a challenge's grid with two images of each colour and shape."""
    monkeypatch.setattr(mpi3d, "IMAGE_SHAPE", (2, 2, 3))
    monkeypatch.setattr(mpi3d, "PUBLISHED_SIZES", (6, 6, 2, 1, 1, 1, 1))
    monkeypatch.setattr(mpi3d, "CHALLENGE_SIZES", (4, 4, 2, 1, 1, 1, 1))
    sizes = {72: mpi3d.PUBLISHED_SIZES, 32: mpi3d.CHALLENGE_SIZES}
    monkeypatch.setattr(mpi3d, "SIZES_OF_COUNT", sizes)
    return np.random.RandomState(0).randint(256, size=(72, 2, 2, 3)).astype(np.uint8)


def packed(images: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, images=images)
    return file.getvalue()


def test_the_challenges_images_are_cut_from_the_published_grid(
    server: Server, small_grids: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "CHUNK_BYTES", 12 * 5)  # pieces that fit no block
    server.content = packed(small_grids)
    (remote,) = remote_files("mpi3d_toy", of_challenge=True)
    fetch(replace(remote, url=server.url), tmp_path)
    with np.load(tmp_path / "mpi3d_toy" / "mpi3d_toy.npz") as cut:
        # green, red, blue, brown of white … olive; cone, cube, hexagonal, sphere of cone … sphere
        expected = small_grids.reshape(6, 6, 2, 2, 2, 3)[1:5][:, [0, 1, 3, 5]]
        np.testing.assert_array_equal(cut["images"], expected.reshape(-1, 2, 2, 3))
    assert names(tmp_path / "mpi3d_toy") == ["mpi3d_toy.npz"]


def test_the_published_file_is_not_replaced_by_the_challenges(
    small_grids: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "mpi3d_toy" / "mpi3d_toy.npz"
    path.parent.mkdir()
    path.write_bytes(packed(small_grids))
    with pytest.raises(UserError, match=r"mpi3d_toy\.npz holds the 72 images .*--data-root"):
        download.download(remote_files("mpi3d_toy", of_challenge=True), tmp_path)
    assert path.read_bytes() == packed(small_grids)


def test_the_challenge_has_no_file_of_other_data_sets() -> None:
    with pytest.raises(UserError, match="omit --challenge"):
        remote_files("mpi3d_real", of_challenge=True)
