"""The reproduced reports, which the commands pass to minigpt/reports."""

from minigpt.reproductions.report_a import ReportA
from minigpt.reproductions.report_b import ReportB

REPRODUCTIONS = (ReportA(), ReportB())
