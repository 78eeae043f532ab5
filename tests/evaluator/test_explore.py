import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluator.explore.__main__ import main
from evaluator.explore.server import PageServer, listening
from submission.errors import UserError
from submission.networks import VAE, NetworkShape
from submission.runs.folder import RunFolder
from submission.training.export import export
from tests.browser import launched, needs_chromium

LATENTS = 2


def decode(codes: np.ndarray) -> np.ndarray:
    """Images of one pixel: the code, and blue."""
    if codes[0, 0] == 9:
        raise UserError("the decoder fails")
    return np.append(codes, [[1]], axis=1)[:, None, None].clip(0, 1).astype(np.float32)


@pytest.fixture
def server() -> Iterator[PageServer]:
    with listening(0) as found:
        found.page, found.latents, found.decode = b"<p>the page", LATENTS, decode
        threading.Thread(target=found.serve_forever).start()
        yield found
        found.shutdown()


def ask(server: PageServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def post(server: PageServer, code: list[float], **headers: str) -> tuple:
    address = f"127.0.0.1:{server.server_port}"
    own = {"Host": address, "Origin": f"http://{address}"}
    return ask(server, "POST", "/decode", np.array(code, "<f4").tobytes(), **own | headers)


def test_the_page_is_served_and_nothing_else(server: PageServer) -> None:
    assert ask(server, "GET", "/") == (200, b"<p>the page")
    assert ask(server, "GET", "/training/run.json")[0] == 404
    assert ask(server, "GET", "/../../etc/passwd")[0] == 404


def test_a_code_becomes_pixels(server: PageServer) -> None:
    assert post(server, [0.2, 2.0]) == (200, bytes([51, 255, 255]))


def test_a_forwarded_port_is_served_too(server: PageServer) -> None:
    own = {"Host": "localhost:9000", "Origin": "http://localhost:9000"}
    assert ask(server, "GET", "/", Host="localhost:9000")[0] == 200
    assert post(server, [0.2, 2.0], **own)[0] == 200


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8017", "localhost.evil.test", "[", ""])
def test_a_name_that_somebody_else_leads_here_is_refused(server: PageServer, host: str) -> None:
    assert ask(server, "GET", "/", Host=host)[0] == 403
    assert post(server, [0, 0], Host=host, Origin=f"http://{host}")[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1", ""])
def test_another_page_cannot_have_anything_decoded(server: PageServer, origin: str) -> None:
    assert post(server, [0, 0], Origin=origin)[0] == 403


@pytest.mark.parametrize("code", [[], [0.0], [0.0] * 3])
def test_a_code_of_another_size_is_refused(server: PageServer, code: list[float]) -> None:
    assert post(server, code) == (400, b"a code has 2 numbers, float32")


def test_a_code_without_a_length_is_refused(server: PageServer) -> None:
    assert post(server, [0, 0], **{"Content-Length": "many"})[0] == 400


def test_why_a_decoder_fails_is_told(server: PageServer) -> None:
    assert post(server, [9, 0]) == (500, b"the decoder fails")
    assert post(server, [0, 0])[0] == 200


def test_a_port_that_is_taken_is_told(server: PageServer) -> None:
    message = f"port {server.server_port} of 127.0.0.1 is taken: name another with --port"
    with pytest.raises(UserError, match=message), listening(server.server_port):
        pass


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on 12 images of its own, beside it."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "a_run")
    torch.manual_seed(0)
    vae = VAE(NetworkShape(image_channels=3, latents=LATENTS, width=0.125))
    with torch.no_grad():
        vae.encoder.posterior.weight.mul_(5)
        vae.decoder.layers[0].weight.mul_(20)
        vae.decoder.pixels.weight.mul_(4)
    export(vae, folder)
    images = np.random.RandomState(0).randint(256, size=(12, 64, 64, 3)).astype(np.uint8)
    data = folder.path.parent / "own.npz"
    np.savez(data, images=images, factors=np.indices((3, 4)).reshape(2, 12).T)
    record = {
        "dataset": str(data),
        "kl_per_latent": [2.0, 1.0],
        "posterior_mean_variance_per_latent": [0.9, 0.5],
    }
    folder.record.write_text(json.dumps(record))
    return folder.path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/folder"], "no/folder is no folder"),
        (["."], "has nothing to decode: there is no representation/pytorch_model.pt"),
        ([".", "--port", "99999"], "99999 is not a whole number between 0 and 65535"),
        ([".", "--port", "http"], "http is not a whole number"),
        ([".", "--prot", "1"], "unrecognized arguments: --prot 1"),
    ],
)
def test_a_mistake_is_told(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["explore", *arguments])
    with pytest.raises(UserError, match=re.escape(message)):
        main()


@pytest.mark.slow
def test_a_run_of_whose_latents_none_is_in_use_has_nothing_to_move(
    run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(run, tmp_path / "run"))
    record = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps(record | {"kl_per_latent": [0.0, 0.0]}))
    monkeypatch.setattr(sys, "argv", ["explore", str(folder.path), "--port", "0"])
    with pytest.raises(UserError, match="has nothing to move: none of its latents is in use"):
        main()


@pytest.mark.slow
@needs_chromium
def test_the_runs_decoder_answers_a_browser_until_ctrl_c(run: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    command = [sys.executable, "-m", "evaluator.explore", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.fullmatch(rf"{run} is shown at (http://127\.0\.0\.1:\d+/) until Ctrl-C\n", line)
    assert found is not None
    with launched(sync_api) as browser:
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        logged: list[str] = []
        tab.on("console", lambda message: logged.append(message.text))
        tab.goto(found[1])
        settled = ".move canvas[aria-busy=false]"
        tab.wait_for_selector(settled)
        picture = "document.querySelector('.move canvas').toDataURL()"
        before = tab.evaluate(picture)
        tab.locator(".move [type=range]").first.fill("0")
        tab.wait_for_selector(settled)
        assert tab.evaluate(picture) != before
        assert tab.inner_text(".move .failure") == ""
        assert logged == []
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
        assert not out
        assert err.splitlines()[-1] == "interrupted by SIGINT"
        # The page that is left says so.
        tab.locator(".move [type=range]").first.fill("200")
        tab.wait_for_selector(".move .failure:not(:empty)")
        ended = "No picture: python -m evaluator.explore has ended"
        assert tab.inner_text(".move .failure") == ended
