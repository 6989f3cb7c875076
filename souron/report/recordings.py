"""Overview of a data set of recordings: ``data.html``; spectrograms, and what is listened to."""

import math
from pathlib import Path

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from souron.data import recordings
from souron.data.dataset import Dataset
from souron.data.log_mel import FRAMES, RATE, log_mel, mels_of
from souron.data.recordings import Recording
from souron.kinds.sound import Sound
from souron.report import plots
from souron.report.page import Fact, Plot, page, parts_and_groups, plot, write
from souron.utils import units
from souron.utils.messages import _
from souron.utils.plotting import as_png, new_figure, style_axes

SHOWN = 4  # recordings to see and to hear
BANDS = 80
TICKS = (250, 500, 1000, 2000, 4000, 8000)  # Hz
LONGEST = 12.0  # seconds of a recording that are shown


def recordings_page(cases: Dataset, folder: Path) -> Path:
    """Write ``data.html`` into ``folder``; return the page's path. Raises UserError."""
    lengths = recordings.seconds(cases)
    texts = list(cases.target or [""] * len(cases))
    headings = {
        "examples": _("Examples to listen to"),
        "lengths": _("Lengths"),
        "parts": _("Parts and groups"),
        "skipped": _("Recordings that were left out"),
    }
    there = {"parts": parts_and_groups(cases, _("{count} recordings")), "skipped": cases.skipped}
    every = max(1, len(cases) // SHOWN)
    text = page(
        "data_recordings.html",
        title=cases.name,
        eyebrow=_("data"),
        facts=[
            Fact(_("recordings"), units.whole(len(cases))),
            Fact(_("of sound"), units.seconds(sum(lengths))),
            Fact(_("speakers"), units.whole(len(set(cases.group))) if cases.group else "?"),
            Fact(_("words"), units.whole(sum(len(text.split()) for text in texts))),
            Fact(_("left out"), units.whole(len(cases.skipped))),
        ],
        contents=[(name, title) for name, title in headings.items() if there.get(name, True)],
        headings=headings,
        examples=[
            (cases.file[row], texts[row], spectrogram(cases.input[row]), player(cases.input[row]))
            for row in range(0, len(cases), every)[:SHOWN]
        ],
        histogram=plot(
            plots.histogram(torch.tensor(lengths), _("seconds")), _("how many recordings have how many seconds")
        ),
        **there,
    )
    return write(folder / "data.html", text)


def player(recording: Recording) -> Markup:
    """Return a player of the beginning of a recording."""
    samples = recording.samples[: int(LONGEST * RATE)].numpy()
    return Markup(Sound(samples, RATE)._repr_html_())  # it holds numbers only


def spectrogram(recording: Recording) -> Plot:
    """Return the spectrogram of the beginning of a recording."""
    figure = new_figure(7.2, 2.3)
    axes = figure.subplots()
    _draw(axes, recording)
    style_axes(axes, _("time (s)"), _("Hz"))
    axes.grid(False)
    words = _("spectrogram: energy by time and frequency, dark where it is loud")
    return plot(as_png(figure), words)


def _draw(axes: object, recording: Recording) -> float:
    """Draw a spectrogram on axes; return the seconds shown."""
    samples = recording.samples[: int(LONGEST * RATE)]
    mel = log_mel(samples, BANDS).numpy()
    seconds = mel.shape[1] / FRAMES
    axes.imshow(  # type: ignore[attr-defined]
        mel, cmap=plots.BLUES, origin="lower", aspect="auto", extent=(0, seconds, 0, BANDS), interpolation="nearest"
    )
    top = float(mels_of(torch.tensor(RATE / 2)))
    places = [float(mels_of(torch.tensor(float(hertz)))) / top * BANDS for hertz in TICKS]
    axes.set_yticks(places, [units.whole(hertz) for hertz in TICKS])  # type: ignore[attr-defined]
    return seconds


def listening(recording: Recording, attention: Tensor, text: str = "") -> Plot:
    """Return a spectrogram above the places where a system listened, (tokens, time).

    The tokens are named where they are the words or the characters of ``text``, else counted.
    """
    known = attention.isfinite()
    rows, columns = int(known.any(1).sum()), int(known.any(0).sum())
    seen = attention[:rows, :columns]
    seen = seen / seen.amax(1, keepdim=True).clamp(min=1e-9)
    figure = new_figure(7.2, 4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    _draw(above, recording)
    style_axes(above, "", _("Hz"))
    below.imshow(
        seen.numpy(),
        cmap=plots.BLUES,
        aspect="auto",
        interpolation="nearest",
        extent=(0, recording.seconds, rows + 0.5, 0.5),
    )
    named = next((names for names in (text.split(), list(text)) if len(names) == rows), [])
    step = max(1, math.ceil(rows / (24 if named else 10)))
    below.set_yticks(np.arange(1, rows + 1, step), named[::step] or None)
    style_axes(below, _("time (s)"), _("token of the text"))
    for axes in (above, below):
        axes.grid(False)
        axes.set_xlim(0, min(recording.seconds, LONGEST))
    return plot(
        as_png(figure),
        _("spectrogram, and below it where the system listened for each of {count} tokens").format(count=rows),
    )
