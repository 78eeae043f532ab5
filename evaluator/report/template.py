"""What the pages of runs, comparisons, studies and audits are rendered by."""

from pathlib import Path

import jinja2


def environment(folder: Path) -> jinja2.Environment:
    """Finds a page's template, and the style sheet that all pages share.

    Args:
        folder: Holds the template.

    Returns:
        To be given the page's own filters and globals. A name that a template lacks is an error.
    """
    return jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
