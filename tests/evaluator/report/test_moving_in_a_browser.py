"""The section "Move it", driven as a reader drives it. No test here waits for a fixed time."""

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from evaluator.report import moving
from evaluator.report.page import write_report
from submission.datasets import Dataset
from submission.networks import VAE, NetworkShape
from submission.runs.folder import RunFolder
from submission.training.export import export
from tests.browser import launched, needs_chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = needs_chromium

LATENTS = 4
RECORD = {
    "name": "a_run",
    "dataset": "tiny",
    "kl_per_latent": [1.0, 0.0, 2.0, 3.0],
    "posterior_mean_variance_per_latent": [0.5, 0.0, 0.7, 0.9],
}


@dataclass
class Shown:
    """A page in a browser.

    Attributes:
        tab: Playwright's page.
        content: What moving.js was given.
        requests: Addresses that the page asked for.
        logged: Lines on its console, and errors.
    """

    tab: sync_api.Page
    content: dict
    requests: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def settle(self) -> None:
        self.tab.wait_for_selector(".move canvas[aria-busy=false]")

    def pixels(self) -> np.ndarray:
        """What the canvas shows: [64, 64, 3]."""
        self.settle()
        address = self.tab.evaluate("document.querySelector('.move canvas').toDataURL()")
        png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)

    def slider(self, number: int) -> sync_api.Locator:
        return self.tab.locator(".move [type=range]").nth(number)

    def value(self, number: int) -> float:
        """The latent of a slider, by where the slider stands."""
        told = self.content["sliders"][number]
        share = int(self.slider(number).input_value()) / int(
            self.slider(number).get_attribute("max")
        )
        return told["low"] + (told["high"] - told["low"]) * share


def make_vae(channels: int) -> VAE:
    torch.manual_seed(0)
    model = VAE(NetworkShape(image_channels=channels, latents=LATENTS, width=0.125))
    with torch.no_grad():
        # So that images have codes of their own, and each latent changes what is seen.
        model.encoder.posterior.weight.mul_(5)
        model.decoder.layers[0].weight.mul_(20)
        model.decoder.pixels.weight.mul_(4)
    return model.eval()


def make_dataset(channels: int) -> Dataset:
    patches = np.random.RandomState(0).randint(256, size=(12, 4, 4, channels))
    pixels = patches.repeat(16, axis=1).repeat(16, axis=2).astype(np.uint8)
    return Dataset("tiny", pixels, ("shape", "size"), (4, 3), (0, 1))


def write_run(vae: VAE, folder: Path) -> Path:
    export(vae, RunFolder(folder))
    RunFolder(folder).record.write_text(json.dumps(RECORD))
    return folder


def decoded(vae: VAE, code: list[float]) -> np.ndarray:
    """What PyTorch makes of a code: [64, 64, channels], from 0 to 255."""
    with torch.no_grad():
        logits = vae.decoder(torch.tensor([code]))
    return 255 * torch.sigmoid(logits)[0].permute(1, 2, 0).numpy()


def told_levels(shown: "Shown") -> float:
    """By how much a pixel differs at most from the exported decoder's, as the page says."""
    found = re.search(r"more than ([\d.]+) of 255", shown.tab.content())
    assert found is not None
    return float(found[1])


@pytest.fixture(scope="module")
def vae() -> VAE:
    return make_vae(3)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(3)


@pytest.fixture(scope="module")
def run(vae: VAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(vae, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def report(run: Path, dataset: Dataset) -> Path:
    return write_report(run, dataset)


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with launched(sync_api) as browser:
        yield browser


def open_page(browser: sync_api.Browser, path: Path, **options: object) -> Shown:
    tab = browser.new_page(**options)
    tab.set_default_timeout(120_000)
    found = re.search(r'id="moving-content">(.*?)</script>', path.read_text())
    assert found is not None
    shown = Shown(tab, json.loads(found[1]))
    tab.on("request", lambda request: shown.requests.append(request.url))
    tab.on("console", lambda message: shown.logged.append(message.text))
    tab.on("pageerror", lambda error: shown.logged.append(str(error)))
    tab.goto(path.as_uri())
    return shown


@pytest.fixture
def shown(browser: sync_api.Browser, report: Path) -> Iterator[Shown]:
    opened = open_page(browser, report)
    yield opened
    opened.tab.close()


def test_a_dragged_slider_shows_another_picture_and_asks_for_nothing(
    shown: Shown, report: Path
) -> None:
    before = shown.pixels()
    shown.slider(0).scroll_into_view_if_needed()
    box = shown.slider(0).bounding_box()
    middle = box["y"] + box["height"] / 2
    shown.tab.mouse.move(box["x"] + box["width"] / 2, middle)
    shown.tab.mouse.down()
    shown.tab.mouse.move(box["x"] + box["width"] - 2, middle)
    shown.tab.mouse.move(box["x"] + 2, middle, steps=5)
    shown.tab.mouse.up()
    assert np.abs(shown.pixels() - before).max() > 20
    assert shown.logged == []
    assert shown.requests[0] == report.as_uri()
    assert all(url.startswith("data:") for url in shown.requests[1:])
    assert report.stat().st_size < 6_000_000


def test_the_pictures_are_the_decoders(shown: Shown, vae: VAE) -> None:
    told = shown.content
    # Of the fifth image, with two latents moved and the others where they were.
    shown.tab.locator(".move label").nth(4).click()
    shown.slider(0).fill("13")
    shown.slider(2).fill("190")
    code = list(told["codes"][4])
    for number in (0, 2):
        code[told["sliders"][number]["latent"]] = shown.value(number)
    # Half a level is lost to rounding; the page says how much to its weights.
    assert told_levels(shown) < 0.2
    assert np.abs(shown.pixels() - decoded(vae, code)).max() <= 0.5 + told_levels(shown)


@pytest.mark.slow
def test_grey_pictures_and_weights_of_8_bits_are_the_decoders_too(
    browser: sync_api.Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOST_BYTES", 50_000)
    vae = make_vae(1)
    shown = open_page(browser, write_report(write_run(vae, tmp_path), make_dataset(1)))
    assert shown.content["decoder"]["bits"] == 8
    assert 0 < told_levels(shown) <= moving.MOST_LEVELS
    difference = shown.pixels() - decoded(vae, shown.content["codes"][0])
    assert np.abs(difference).max() <= 0.5 + told_levels(shown)


def test_the_sliders_are_the_latents_in_use(shown: Shown) -> None:
    names = shown.tab.locator(".move .slider label").all_inner_texts()
    assert sorted(name.split()[0] for name in names) == ["z0", "z2", "z3"]


def test_an_image_starts_as_it_was_encoded_and_comes_back(shown: Shown, vae: VAE) -> None:
    encoded = decoded(vae, shown.content["codes"][0])
    assert np.abs(shown.pixels() - encoded).max() <= 1
    shown.slider(1).fill("200")
    assert np.abs(shown.pixels() - encoded).max() > 5
    shown.tab.get_by_role("button", name="Back to the image").click()
    assert np.abs(shown.pixels() - encoded).max() <= 1


def test_keys_move_a_slider_and_choose_an_image(shown: Shown) -> None:
    before = shown.pixels()
    shown.slider(0).focus()
    shown.tab.keyboard.press("Home")
    told = shown.content["sliders"][0]
    assert shown.value(0) == told["low"]
    shown.tab.keyboard.press("ArrowRight")
    assert shown.value(0) == pytest.approx(told["low"] + (told["high"] - told["low"]) / 200)
    # What a screen reader says, and what stands beside the slider.
    text = f"{shown.value(0):+.2f}".replace("-", "\N{MINUS SIGN}")
    assert shown.slider(0).get_attribute("aria-valuetext") == text
    assert shown.tab.locator(".move .value").first.inner_text() == text
    assert np.abs(shown.pixels() - before).max() > 5
    shown.tab.get_by_role("radio", name="Image 1").focus()
    shown.tab.keyboard.press("ArrowRight")
    assert shown.tab.get_by_role("radio", name="Image 2").is_checked()


class Waves(torch.nn.Module):
    """A decoder of another kind, whose pictures are smooth, as those of a trained one are."""

    def __init__(self) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        waves = torch.rand(LATENTS, 3, 2, generator=torch.Generator().manual_seed(0)) / 4
        self.basis = torch.sin(waves[..., :1, None] * rows + waves[..., 1:, None] * columns)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.einsum("nl,lchw->nchw", latents, self.basis))


@pytest.mark.slow
def test_pictures_drawn_beforehand_move_one_latent_at_a_time(
    browser: sync_api.Browser, run: Path, dataset: Dataset, tmp_path: Path
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    decoder = Waves()
    torch.jit.script(decoder).save(str(RunFolder(folder).decoder))
    shown = open_page(browser, write_report(folder, dataset))
    start = shown.slider(1).input_value()
    before = shown.pixels()
    shown.slider(1).fill("0")
    shown.slider(2).fill("10")
    assert shown.slider(1).input_value() == start
    code = list(shown.content["codes"][0])
    code[shown.content["sliders"][2]["latent"]] = shown.content["sliders"][2]["high"]
    expected = 255 * decoder(torch.tensor([code]))[0].permute(1, 2, 0).numpy()
    # WebP shares a colour among four pixels.
    off = np.abs(shown.pixels() - expected).mean()
    assert off < 6
    assert np.abs(before - expected).mean() > 3 * off
    assert "11 places of one latent at a time" in shown.tab.inner_text(".move .note")
    assert shown.logged == []


def test_without_scripts_the_page_says_that_nothing_moves(
    browser: sync_api.Browser, report: Path
) -> None:
    shown = open_page(browser, report, java_script_enabled=False)
    text = shown.tab.locator("section.move").inner_text()
    assert "without scripts nothing moves" in text
    assert "Back to the image" not in text


@pytest.mark.parametrize("width", [375, 768, 1440])
def test_the_section_fits_the_window(browser: sync_api.Browser, report: Path, width: int) -> None:
    shown = open_page(browser, report, viewport={"width": width, "height": 800})
    shown.settle()
    right = shown.tab.evaluate(
        "Math.max(...[...document.querySelectorAll('.move *')]"
        ".map(part => part.getBoundingClientRect().right))"
    )
    assert right <= width
