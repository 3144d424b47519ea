"""The report: one HTML page that says what was found, shows the evidence and how to repeat it.

`render` makes the page; `minimand.report.charts` holds its charts, for notebooks too. Importing
this package loads Altair and Jinja2, so import it where a report is about to be written.
"""

from __future__ import annotations

from minimand.report.page import render, verdict

__all__ = ["render", "verdict"]
