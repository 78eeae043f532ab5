from pathlib import Path

from evaluator.report.template import environment
from tests.browser import browse, needs_chromium

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
{{ policy(*scripts) }}
<title>nothing ran</title>
<p>Text</p>
<script>document.title = "a stranger's"</script>
<img src="data:," onerror="document.title = 'an attribute ran'">
"""


def render(folder: Path, **scripts: str) -> Path:
    (folder / "page.html.jinja").write_text(PAGE)
    for name, source in scripts.items():
        (folder / f"{name}.js").write_text(source)
    page = folder / "page.html"
    names = [f"{name}.js" for name in scripts]
    page.write_text(environment(folder).get_template("page.html.jinja").render(scripts=names))
    return page


def test_a_page_without_scripts_allows_none(tmp_path: Path) -> None:
    text = render(tmp_path).read_text()
    assert "default-src 'none'" in text
    assert "script-src" not in text


@needs_chromium
def test_a_browser_runs_the_scripts_named_and_no_other(tmp_path: Path) -> None:
    # Each sees the whole page, and the one before it; characters that HTML or gin escape stay.
    one = 'document.title = `one & "two" ${document.querySelector("p").textContent} é < {{ 1 }}`;\n'
    page = render(tmp_path, one=one, other='document.title += ", both ran";\n')
    dom = browse(page, tmp_path / "profile", "--dump-dom").stdout
    assert '<title>one &amp; "two" Text é &lt; {{ 1 }}, both ran</title>' in dom
