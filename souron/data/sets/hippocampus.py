"""The hippocampus in MRI, its front and back part (Medical Segmentation Decathlon).

Antonelli and others: The Medical Segmentation Decathlon (2022).
https://doi.org/10.1038/s41467-022-30695-9

260 volumes of about 36 x 50 x 35 voxels of 1 mm, cut out around the hippocampus, from Vanderbilt
University; each is of another person.
"""

from dataclasses import replace

from souron.data.dataset import Dataset
from souron.data.formats import volumes
from souron.data.load import found
from souron.data.readers.settings import Reading

ja = "脳 MRI の海馬、前部と後部 (Medical Segmentation Decathlon)"
task = "segment_volume"
licence = "CC-BY-SA-4.0"
source = "http://medicaldecathlon.com/"
cases = 260
needs = ("imagesTr", "labelsTr", "dataset.json")
inside = ("Task04_Hippocampus", "")
downloads = (
    "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task04_Hippocampus.tar",
    "md5:9d24dba78a72977dbd1d2e110310f31b",
)
keeps = (".nii.gz", ".json")
megabytes = 28


def load(side: int | None = None) -> Dataset:
    cases = volumes.load(found("hippocampus"), Reading(side))
    return replace(cases, name="hippocampus", source=source, licence=licence)
