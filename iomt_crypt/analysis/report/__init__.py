"""The security report of an image: measured, and written as HTML, PDF and JSON.

::

    report = make_report(Path("ct.dcm"), Settings(n_trials=100))
    write_report(report, Path("reports/ct"))

Needs the packages of the extra ``report``. The reports show the plain image and nothing else of a patient. What the
figures mean: docs/REPORT.md.
"""

from iomt_crypt.analysis.report.content import Check, Report, Row, Section, Verdict
from iomt_crypt.analysis.report.experiment import make_report
from iomt_crypt.analysis.report.folder import check_absent, write_index, write_report
from iomt_crypt.analysis.report.page import Entry
from iomt_crypt.analysis.report.setting import Settings

__all__ = [
    "Check",
    "Entry",
    "Report",
    "Row",
    "Section",
    "Settings",
    "Verdict",
    "check_absent",
    "make_report",
    "write_index",
    "write_report",
]
