"""Charts and pictures inside a page, so that it needs no other file."""

import base64
import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.style
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

_WEBP_QUALITY = 88


def own_style(**settings: Any) -> AbstractContextManager[None]:
    """Matplotlib's defaults and a few settings, whatever the user's `matplotlibrc` says.

    That could ask for LaTeX, and would change a page's bytes from one user to the next.

    Args:
        settings: Such as `font_size=10`, for `font.size`.
    """
    named = {name.replace("_", ".", 1): value for name, value in settings.items()}
    return matplotlib.style.context(["default", named])


def inline_svg(figure: Figure, prefix: str, styles: Mapping[str, str]) -> Markup:
    """Writes a figure as an `<svg>` that takes colours and typeface from the page around it.

    So the page's style sheet decides them, in light as in dark.

    Args:
        figure: Drawn with stand-ins for its colours.
        prefix: Begins every id, since ids must differ from chart to chart.
        styles: What stands on the page for each stand-in, such as `#010101` to `var(--ink)`.

    Returns:
        The element, hidden from screen readers: the page describes it.
    """
    file = io.StringIO()
    nothing = {"Creator": None, "Date": None, "Format": None, "Type": None}
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        FigureCanvasSVG(figure).print_svg(file, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    # Outside XML the namespaces mean nothing.
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 aria-hidden="true"', svg, count=1)
    for stand_in, style in styles.items():
        svg = svg.replace(stand_in, style)
    # Matplotlib escapes what it writes.
    return Markup(svg)


def webp(picture: Image.Image) -> bytes:
    """A picture as a tenth of its PNG's bytes, for a page with many."""
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=_WEBP_QUALITY)
    return file.getvalue()


def webp_of_png(png: bytes) -> bytes:
    """The same of a picture that is a PNG already."""
    return webp(Image.open(io.BytesIO(png)))


def data_uri(content: bytes, kind: str) -> str:
    """Writes a picture's bytes as an address; `kind` is `png` or `webp`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
