"""The command line: thin over the library, one folder for each command."""

from isinglass.cli.app import app, run

__all__ = ["app", "run"]
