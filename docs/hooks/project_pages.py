"""Make pages of the files at the root of the repository, and say which version is documented."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
LINK = re.compile(r"\]\((?!https?:|#)([\w/.-]+?)(#[\w-]+)?\)")


def _version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def citation() -> str:
    """The entry for BibTeX, from ``CITATION.cff``."""
    given = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    authors = " and ".join(f"{{{author['name']}}}" for author in given["authors"])
    fields = {
        "title": given["title"], "author": authors, "version": given["version"],
        "license": given["license"], "url": given["repository-code"],
    }  # fmt: skip
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join(["@software{isinglass,", *lines, "}"])


def _with_links(text: str, repository: str) -> str:
    """Links from the root of the repository, as links from the documentation."""

    def link(found: re.Match[str]) -> str:
        target, part = found.group(1), found.group(2) or ""
        if target.startswith("docs/"):
            return f"]({target.removeprefix('docs/')}{part})"
        page = {file: name for name, file in PAGES.items()}.get(target)
        return f"]({page}{part})" if page else f"]({repository}/blob/main/{target}{part})"

    return LINK.sub(link, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Say the version at the foot of every page."""
    config.copyright = f"isinglass {_version()} · MIT licence"
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add changelog and contributing."""
    for uri, source in PAGES.items():
        text = _with_links((ROOT / source).read_text(), config.repo_url or "")
        files.append(File.generated(config, uri, content=text))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Let the edit links lead to the files themselves."""
    for uri, source in PAGES.items():
        page = files.src_uris[uri].page
        if isinstance(page, Page):
            page.edit_url = f"{config.repo_url}/edit/main/{source}"
    return nav


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what the project is cited by."""
    return markdown.replace("<!-- citation -->", f"```bibtex\n{citation()}\n```")
