"""English read aloud by 40 people, with its text (LibriSpeech, dev-clean).

Panayotov, Chen, Povey, Khudanpur: LibriSpeech: an ASR corpus based on public domain audio books
(2015). https://www.openslr.org/12/

2 703 sentences, 5.4 hours; all of a speaker stay on one side of a split.
"""

from dataclasses import replace

from souron.data.dataset import Dataset
from souron.data.formats import recordings
from souron.data.load import found

ja = "40人が読み上げた英語と、その文 (LibriSpeech dev-clean)"
task = "transcribe"
licence = "CC-BY-4.0"
source = "https://www.openslr.org/12/"
cases = 2703
needs = ("dev-clean",)
inside = ("", "LibriSpeech")
downloads = ("https://www.openslr.org/resources/12/dev-clean.tar.gz", "md5:42e2234ba48799c1f50f24a7926300a1")
keeps = (".flac", ".txt")
megabytes = 338


def load(side: int | None = None) -> Dataset:
    cases = recordings.load(found("librispeech") / "dev-clean")
    return replace(cases, name="librispeech", source=source, licence=licence)
