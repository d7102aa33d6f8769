"""Give every name of the reference a page, and the page that lists it a table of summaries.

A page of ``docs/api/`` lists names as mkdocstrings reads them, ``::: isinglass.units.Spin``. Names
that follow one another become one table; each row leads to a page that is made here.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

SOURCE = Path(__file__).parents[2] / "src"
# A directive with options of its own stays where it is.
LISTED = re.compile(r"^::: (isinglass(?:\.\w+)+)\n(?! {4})", re.MULTILINE)
RUN = re.compile(r"(?:^::: isinglass(?:\.\w+)+\n(?! {4})\n*)+", re.MULTILINE)
TEMPLATE = """\
---
title: {name}
tags: [{public}]
source: {source}
---

::: {path}
    options:
      heading_level: 1
      summary: true
"""


@dataclass(frozen=True)
class Listed:
    """A class or function of the reference."""

    path: str
    """Where it is defined, ``isinglass.units.spin.Spin``."""

    public: str
    """Where it is imported from, ``isinglass.units.Spin``."""

    file: Path
    line: int
    summary: str

    @property
    def name(self) -> str:
        """The name itself."""
        return self.path.rpartition(".")[2]

    @property
    def slug(self) -> str:
        """The name of its page; a function may be called as a class is, but for a capital."""
        return self.name if self.name[0].isupper() else f"{self.name}-function"


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _file(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exports(module: str, name: str) -> bool:
    """Whether a package lists the name in its ``__all__``."""
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
        and name in ast.unparse(node.value).replace("'", " ").split()
        for node in _tree(_file(module)).body
    )


def _defined(module: str, name: str) -> tuple[str, ast.ClassDef | ast.FunctionDef]:
    """The module that defines a name which this one may only hand on."""
    for node in _tree(_file(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
    for node in _tree(_file(module)).body:
        if isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names):
            return _defined(node.module or "", name)
    raise LookupError(f"{module} has no class or function {name}")


@cache
def listed(path: str) -> Listed:
    """Reads what the reference says of a name, without importing it."""
    module, _, name = path.rpartition(".")
    home, node = _defined(module, name)
    parts = module.split(".")
    packages = [".".join(parts[: size + 1]) for size in range(1, len(parts))]
    public = next((package for package in packages if _exports(package, name)), module)
    words = (ast.get_docstring(node) or "").partition("\n\n")[0]
    return Listed(path, f"{public}.{name}", _file(home), node.lineno, " ".join(words.split()))


def _pages(markdown: str) -> list[Listed]:
    return [listed(path) for path in LISTED.findall(markdown + "\n")]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every name that a page of ``api/`` lists."""
    for lister in [file for file in files if re.fullmatch(r"api/[\w-]+\.md", file.src_uri)]:
        for entry in _pages(lister.content_string):
            source = f"{entry.file.relative_to(SOURCE.parent)}#L{entry.line}"
            text = TEMPLATE.format(
                name=entry.name, public=entry.public, path=entry.path, source=source
            )
            uri = f"{lister.src_uri.removesuffix('.md')}/{entry.slug}.md"
            files.append(File.generated(config, uri, content=text))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Show a made page under the section of the page that lists it."""
    edit = f"{config.repo_url}/edit/main/"
    for lister in files.documentation_pages():
        if not re.fullmatch(r"api/[\w-]+\.md", lister.src_uri) or lister.page is None:
            continue
        for entry in _pages(lister.content_string):
            made = files.src_uris[f"{lister.src_uri.removesuffix('.md')}/{entry.slug}.md"]
            if isinstance(made.page, Page):
                made.page.parent = lister.page.parent
                made.page.edit_url = edit + str(entry.file.relative_to(SOURCE.parent))
    return nav


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Put a table where names follow one another."""
    if not re.fullmatch(r"api/[\w-]+\.md", page.file.src_uri):
        return markdown
    folder = page.file.src_uri.removeprefix("api/").removesuffix(".md")

    def table(run: re.Match[str]) -> str:
        rows = []
        for entry in _pages(run.group()):
            told = entry.summary.replace("|", r"\|")
            rows.append(f"| [`{entry.name}`]({folder}/{entry.slug}.md) | {told} |")
        return "\n".join(["| name | what it is or does |", "|---|---|", *rows]) + "\n\n"

    return RUN.sub(table, markdown + "\n")


def on_page_content(html: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Say below the title of a made page how the name is imported and where it is written."""
    if "source" not in page.meta:
        return html
    package, _, name = page.meta["tags"][0].rpartition(".")
    source = f'<a href="{config.repo_url}/blob/main/{page.meta["source"]}">Source</a>'
    line = f"<pre><code>from {package} import {name}</code></pre><p>{source}</p>"
    title, mark, rest = html.rpartition("</h1>")  # the theme gives a page without title one
    return title + mark + line + rest
