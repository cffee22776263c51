"""Turns the documentation into a site.

    python -m sphinx -W --keep-going -n -c docs . site

The sources are the files as the code host shows them, with the repository as their folder, so that every link leads to
the same place there and here. The start page is the README, and the navigation is the list in docs/README.md.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.pycode import ModuleAnalyzer

import dynmemo
from dynmemo import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

project = "dynmemo"
author = "The dynmemo developers"
copyright = author  # noqa: A001
release = version = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/**", "notebooks/*.ipynb"]
exclude_patterns = [".*", "site", "dist", "node_modules", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the outputs are committed, made by scripts/pictures.py

html_theme = "furo"
html_title = f"dynmemo {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
pygments_style, pygments_dark_style = "default", "github-dark"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_use_rtype = False
# What stands in backticks or in a signature leads to the reference where that has it. Types of other packages have
# their pages elsewhere, and a build asks no network for them.
default_role = "py:obj"
nitpick_ignore_regex = [("py:(obj|class)", ".*")]
linkcheck_anchors = False


def add_navigation(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the lists of docs/README.md behind the start page as tables of contents, one for each of its sections."""
    if docname != root_doc:
        return
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    source[0] += "\n```{toctree}\n:hidden:\n\nAll pages <docs/README.md>\n```\n"
    for caption, pages in re.findall(r"^## (.+?)$(.+?)(?=^## |\Z)", listed, re.MULTILINE | re.DOTALL):
        links = re.findall(r"^- \[(.+?)\]\((.+?)\)", pages, re.MULTILINE)
        names = "\n".join(f"{title} <docs/{page}>" for title, page in links)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n"


def start_page(app: Sphinx, failed: Exception | None) -> None:
    """The README is what a server shows for the folder."""
    if failed is None and app.builder.name == "html":
        shutil.copy(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def find_fields(app: Sphinx) -> None:
    """Let autodoc find what stands below the fields of public classes, which say that they come from `dynmemo`.

    It looks for that in the source of the module that a class names.
    """
    public = {name: getattr(dynmemo, name) for name in dynmemo.__all__}  # which loads their modules
    package = ModuleAnalyzer.for_module("dynmemo")
    package.analyze()
    for name in [name for name in sys.modules if name.startswith("dynmemo.")]:
        module = ModuleAnalyzer.for_module(name)
        module.analyze()
        package.attr_docs.update({key: docs for key, docs in module.attr_docs.items() if key[0] in public})
        package.tagorder.update({tag: n for tag, n in module.tagorder.items() if tag.partition(".")[0] in public})


def keep_colons(app: Sphinx, what: str, name: str, public: object, options: object, lines: list[str]) -> None:
    """Let napoleon not take for a type what stands before a colon in the first line below a field."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def shorter_signature(app: Sphinx, what: str, name: str, *given: Any) -> tuple[str | None, str | None]:
    """No names of type variables for the arguments of a call, and no arguments of what only the decorator makes."""
    signature, returns = given[-2:]
    if what == "class" and name.endswith("CachedFunction"):
        return "", None
    return signature and re.sub(r": [~\w.]*\bP(\.\w+)?(?=[,)])", "", signature), returns


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-signature", shorter_signature)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("builder-inited", find_fields)
    app.connect("source-read", add_navigation)
    app.connect("build-finished", start_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
