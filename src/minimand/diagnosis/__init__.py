"""Facts that a run's evidence shows, each with advice."""

from minimand.diagnosis.checks import Finding, findings

__all__ = ["Finding", "findings"]
