"""Japanese sentences with marked names of persons, places, organisations and times.

Nakayama: Hironsan Corpus (2016). https://pypi.org/project/hironsancorpus/

500 sentences, segmented into words by MeCab. Of the package only the text file is kept: the pickle
in it is never opened. The last tenth is the test part, as defined by its author, the tenth before
it validation.
"""

from souron.data.dataset import Dataset
from souron.data.formats import tagged_texts
from souron.data.load import found
from souron.data.readers.text_files import Faults, made

ja = "固有表現（人名・地名・組織名・日付など）に印のついた日本語の文"
labels_ja = {
    "ART": "作品・製品",
    "DAT": "日付",
    "LOC": "場所",
    "MON": "金額",
    "ORG": "組織",
    "PER": "割合",
    "PSN": "人名",
    "TIM": "時刻",
}
task = "tag"
licence = "MIT"
source = "https://pypi.org/project/hironsancorpus/"
cases = 500
needs = ("iob_sents.txt",)
package = (
    "pypi:hironsancorpus==0.1.2",
    "hironsancorpus-0.1.2.tar.gz",
    "9ea6a147c7f62433c19492eeaef1da846e038722e01f7c8dc40c406ee7504ae1",
    "hironsan/corpus",
)
keeps = ("iob_sents.txt",)
megabytes = 1

TENTH = 0.1


def load(side: int | None = None) -> Dataset:
    faults = Faults()
    file = found("entities") / needs[0]
    told = made(tagged_texts.sentences(file), tagged_texts.tagged, faults)
    test = round(len(told) * TENTH)
    parts = ["train"] * (len(told) - 2 * test) + ["val"] * test + ["test"] * test
    rows = [one._replace(part=part) for one, part in zip(told, parts, strict=True)]
    return tagged_texts.of("entities", rows, faults, source=source, licence=licence)
