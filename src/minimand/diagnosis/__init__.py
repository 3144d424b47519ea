"""Facts that a run's evidence shows, with advice; the check of a loss, and the choice of one."""

from minimand.diagnosis.checks import Finding, findings
from minimand.diagnosis.loss_check import check_loss
from minimand.diagnosis.recommendation import Recommendation, recommend

__all__ = ["Finding", "Recommendation", "check_loss", "findings", "recommend"]
