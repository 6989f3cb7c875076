"""The image of ``speech.md``, in both languages: ``python docs/speech.py [RUN]``.

Without the folder of a run of ``whisper`` on ``synthetic_digits`` it trains one for some minutes.
"""

import base64
import sys
import tempfile
from pathlib import Path

from souron import model as models_api
from souron.data import load
from souron.report.recordings import listening
from souron.runs import train
from souron.utils.messages import use_language

STATIC = Path(__file__).parent / "_static"
WORDS = 4  # of the recording that is shown


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(sys.argv[1]) if sys.argv[1:] else None
        if run is None:
            run = train.train("whisper", "synthetic_digits", budget="3min", project=folder).folder
        system = models_api.load(run).system
    cases = load.load("synthetic_digits")
    test = [row for row, part in enumerate(cases.part) if part == "test"]
    row = next(row for row in test if len(cases.target[row].split()) == WORDS)
    seen = system.attention(cases.input[row], cases.target[row])
    for language, ending in (("en", ""), ("ja", ".ja")):
        with use_language(language):
            made = listening(cases.input[row], seen, cases.target[row])
        data = base64.b64decode(made.uri.partition("base64,")[2])
        (STATIC / f"speech-heard{ending}.png").write_bytes(data)


if __name__ == "__main__":
    main()
