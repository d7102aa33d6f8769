"""The command line: thin over the library, one module for each group of commands."""

from isinglass.cli.app import app, run

__all__ = ["app", "run"]
