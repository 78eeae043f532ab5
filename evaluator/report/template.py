"""What the pages of runs, comparisons, studies and audits are rendered by."""

import base64
import hashlib
from functools import partial
from pathlib import Path

import jinja2
from markupsafe import Markup


def environment(folder: Path) -> jinja2.Environment:
    """Finds a page's template, and the style sheet that all pages share.

    A template's head says `{{ policy() }}`, with the names of the page's scripts if it has any.
    They are files beside the template or here, and run when the whole page is there.

    Args:
        folder: Holds the template.

    Returns:
        To be given the page's own filters and globals. A name that a template lacks is an error.
    """
    loader = jinja2.FileSystemLoader([folder, Path(__file__).parent])
    made = jinja2.Environment(
        autoescape=True,
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.globals["policy"] = partial(_policy, made)
    return made


def _policy(environment: jinja2.Environment, *names: str, asks: bool = False) -> Markup:
    """The page's Content-Security-Policy, and inline the scripts that it names by their hash.

    Nothing else runs, whatever a run's name or a message that the page shows may hold, and nothing
    is loaded from anywhere, but for what a script `asks` the server that the page came from.
    """
    assert environment.loader is not None
    sources = [environment.loader.get_source(environment, name)[0] for name in names]
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
        for source in sources
    ]
    rules = ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    if hashes:
        rules.append(f"script-src {' '.join(hashes)}")
    if asks:
        rules.append("connect-src 'self'")
    lines = [f'<meta http-equiv="Content-Security-Policy" content="{"; ".join(rules)}">']
    # A module waits for the page, and its names are its own.
    lines += [f'<script type="module">{source}</script>' for source in sources]
    return Markup("\n".join(lines))
