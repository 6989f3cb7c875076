"""The reports: one offline HTML file for a run, a comparison or a data set."""

from souron.reporting.check_page import check_page
from souron.reporting.comparison_page import comparison_html, comparison_report
from souron.reporting.data_page import data_page
from souron.reporting.generation_page import drawn_html
from souron.reporting.run_page import run_html, run_report

__all__ = [
    "check_page",
    "comparison_html",
    "comparison_report",
    "data_page",
    "drawn_html",
    "run_html",
    "run_report",
]
