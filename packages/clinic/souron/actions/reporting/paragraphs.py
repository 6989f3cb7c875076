"""Write the Methods and the Results of a run as a paper would print them, from its receipt alone."""

from souron.actions.reporting import facts
from souron.actions.reporting.source import Source

METHODS = (
    "data", "patients", "study_dates", "excluded", "partitions", "preprocessing", "model", "initial", "training",
    "selection", "threshold", "exam_data", "blind", "seen_before", "statistics", "software", "machine",
)  # fmt: skip
RESULTS = ("prevalence", "results", "subgroups", "calibration")


def methods(source: Source) -> str:
    """Return the paragraph on data, partitions, model, training, threshold, statistics and software."""
    return facts.told(source, METHODS)


def results(source: Source) -> str:
    """Return the paragraph on the measures with intervals, their cases and patients, subgroups and calibration."""
    return facts.told(source, RESULTS)
