"""Reports: one offline HTML file for a run, a comparison or a data set."""

from souron.report.comparison import comparison_html, comparison_report, comparison_translated
from souron.report.data_check import check_page
from souron.report.dataset import data_page
from souron.report.ready import ready_page
from souron.report.run import run_html, run_report, run_translated
from souron.report.sample_sheet import drawn_html

__all__ = [
    "check_page",
    "comparison_html",
    "comparison_report",
    "comparison_translated",
    "data_page",
    "drawn_html",
    "ready_page",
    "run_html",
    "run_report",
    "run_translated",
]
