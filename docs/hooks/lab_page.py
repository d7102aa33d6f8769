"""Add the lab as one page, as ``isinglass lab --export`` writes it."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from isinglass.cli.lab.data import page_data
from isinglass.cli.lab.page import build_page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page beside those of the documentation."""
    files.append(File.generated(config, "lab-export.html", content=build_page(page_data())))
    return files
