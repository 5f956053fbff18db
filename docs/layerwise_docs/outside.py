"""Files outside of the folder of pages: the notebooks of `examples`, and links to documents of the repository.

A notebook is copied to `docs/notebooks` before the site is built. A link to a document that is a page of the site leads to
this page, a link to a page of HTML beside the source opens it, and every other link to a file lets readers download it.
"""

import shutil
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "docs" / "notebooks"
PAGES = {
    "README.md": "index",
    "README.zh.md": "zh/overview",
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
}


def setup(app: Sphinx) -> None:
    """Add the steps of this file to a build."""
    app.connect("builder-inited", copy_notebooks)
    app.connect("doctree-resolved", lead_to_pages)
    app.connect("build-finished", copy_pages)


def copy_notebooks(app: Sphinx) -> None:
    """Copy the notebooks into the folder of pages, and remove those that are gone; unchanged ones keep their date."""
    notebooks = {path.name: path for path in (ROOT / "examples").glob("*.ipynb")}
    NOTEBOOKS.mkdir(exist_ok=True)
    for copy in NOTEBOOKS.glob("*.ipynb"):
        if copy.name not in notebooks:
            copy.unlink()
    for name, path in notebooks.items():
        # A notebook in examples links to ../docs/reference/…, its copy in docs/notebooks to ../reference/….
        text = path.read_text(encoding="utf-8").replace("](../docs/", "](../")
        if not (NOTEBOOKS / name).exists() or (NOTEBOOKS / name).read_text(encoding="utf-8") != text:
            (NOTEBOOKS / name).write_text(text, encoding="utf-8")


def lead_to_pages(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Turn links to documents of the repository, and to pages of HTML, into links that open them."""
    for node in list(doctree.findall(addnodes.download_reference)):
        path = (Path(app.srcdir) / docname).parent.joinpath(node["reftarget"]).resolve()
        address = _address(app, docname, path)
        if address is not None:
            link = nodes.reference("", "", *node.children, internal=True, refuri=address)
            node.replace_self(link)


def _address(app: Sphinx, docname: str, path: Path) -> str | None:
    """Return where a link to a file leads, from the page `docname`; `None` where the file is downloaded."""
    page = PAGES.get(path.name) if path.parent == ROOT else None
    if page is not None:
        return app.builder.get_relative_uri(docname, page)
    if path.suffix != ".html" or not path.is_relative_to(app.srcdir):
        return None
    depth = docname.count("/")
    return "../" * depth + path.relative_to(app.srcdir).as_posix()


def copy_pages(app: Sphinx, error: Exception | None) -> None:
    """Copy the pages of HTML that stand beside the source to the same places of the site."""
    for page in Path(app.srcdir).rglob("*.html"):
        target = Path(app.outdir) / page.relative_to(app.srcdir)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, target)
