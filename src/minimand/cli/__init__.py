"""The command line."""

from minimand.cli.commands import main

__all__ = ["main"]
