"""The reports that are reproduced, as commands hand them to minigpt/reports."""

from minigpt.reproductions.report_a import ReportA
from minigpt.reproductions.report_b import ReportB

REPRODUCTIONS = (ReportA(), ReportB())
