import io

import numpy as np
from PIL import Image

from evaluator.report.inline_images import webp_of_png
from evaluator.report.traversals import strip_png


def test_a_strip_is_smaller_as_webp_and_looks_the_same():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    images = np.broadcast_to(ramp[None, :, None, None], (7, 64, 64, 3))
    noise = np.random.RandomState(0).normal(0, 0.02, images.shape)
    png = strip_png((images + noise).clip(0, 1).astype(np.float32))
    webp = webp_of_png(png)
    assert len(webp) < len(png) / 4
    before, after = (
        np.asarray(Image.open(io.BytesIO(content)).convert("RGBA")).astype(float)
        for content in (png, webp)
    )
    assert (before[..., 3] == after[..., 3]).all()
    shown = before[..., 3] == 255
    assert np.abs(before - after)[shown].mean() < 6
