"""Scores: notes by time, pitch and voice. MIDI and MusicXML are read and written.

A score shows itself as a piano roll and can be played: ``sound`` sums a few partials of each tone,
a simple synthesiser that needs no recordings.
"""

import base64
import functools
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np

from souron import __version__
from souron.kinds import files
from souron.kinds.codecs import midi, musicxml, provenance
from souron.kinds.codecs.notation import MOST_NOTES, MOST_PARTS, TEMPO, Notation, Note
from souron.kinds.codecs.provenance import Mark
from souron.kinds.kind import Kind
from souron.kinds.sound import Sound
from souron.utils import units
from souron.utils.messages import N_, _

WRITTEN = (".mid", ".midi", ".musicxml", ".xml", ".wav", ".png")
RATE = 22_050  # samples per second
PARTIALS = (1.0, 0.45, 0.22, 0.1, 0.05)  # loudness of the tone's multiples
ATTACK, RELEASE = 0.03, 0.12  # seconds
LOUDEST = 0.8
MOST_HEARD = 600  # seconds; a longer piece is cut
IN_HTML = 90  # seconds that a page holds
LINE = 16.0  # quarters in a line of the piano roll
MOST_LINES = 16
NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
VOICES = {"Soprano": N_("Soprano"), "Alto": N_("Alto"), "Tenor": N_("Tenor"), "Bass": N_("Bass")}


@dataclass(frozen=True, eq=False)
class Score(Kind):
    """Notes in parts, the highest part first; starts and lengths in quarters.

    Without a note it is an empty sheet: a system that composes then starts from nothing.
    """

    widget = "score"
    noun = N_("sheet music")
    suffix = ".mid"
    formats = (*midi.SUFFIXES, *musicxml.SUFFIXES)
    kept = True
    blank = True

    tones: Sequence[Note] = ()
    parts: Sequence[str] = ()
    tempo: float = TEMPO  # quarters a minute
    bar: float = 4.0  # quarters in a bar
    pickup: float = 0.0  # quarters before the first bar line
    title: str = ""
    given: Sequence[bool] = ()  # for each note, whether it was given before a system continued
    mark: Mark | None = None  # provenance of a system's output: it is kept in each file
    file: str = ""
    remark: str = field(default="", kw_only=True)  # what a system left out of the given score
    also: list[str] = field(default_factory=list, init=False)  # files beside the one that was saved

    def __post_init__(self) -> None:
        object.__setattr__(self, "tones", tuple(Note(*note) for note in self.tones))
        object.__setattr__(self, "parts", tuple(map(str, self.parts)))
        if len(self.tones) > MOST_NOTES or len(self.parts) > MOST_PARTS:
            raise files.wrong(
                _("{notes} notes in {parts} parts").format(notes=len(self.tones), parts=len(self.parts)),
                _("at most {notes} notes in {parts} parts").format(notes=MOST_NOTES, parts=MOST_PARTS),
            )
        if self.given and len(self.given) != len(self.tones):
            raise files.wrong(
                _("{names} names for {count} things").format(names=len(self.given), count=len(self.tones)),
                _("a name for each"),
            )
        for note in self.tones:
            numbers = 0 <= note.part < len(self.parts) and 0 <= note.pitch < 128
            if not numbers or not 0 <= note.start < 1e6 or not 0 < note.length < 1e6:
                raise files.wrong(
                    _("a note that cannot be: {note}").format(note=tuple(note)), _("part, start, length, pitch 0..127")
                )
        if not 10 <= self.tempo <= 500 or not 0 < self.bar <= 64 or not 0 <= self.pickup < 64:
            raise files.wrong(
                _("{tempo} quarters a minute, {bar} in a bar").format(tempo=self.tempo, bar=self.bar), "10..500, 0..64"
            )

    @classmethod
    def read(cls, path: Path, **how: Any) -> Self:
        """Read a MIDI or MusicXML file, recognised by content. Raises UserError."""
        raw = files.content(path, musicxml.MOST_BYTES)
        return cls.of((midi if raw[:4] == b"MThd" else musicxml).parsed(raw, path), str(path))

    @classmethod
    def of(cls, piece: Notation, file: str = "", **about: Any) -> Self:
        """Create a score from a piece as a codec reads it."""
        return cls(*piece, file=file, **about)

    @property
    def notation(self) -> Notation:
        return Notation(self.tones, self.parts, self.tempo, self.bar, self.pickup, self.title)

    @property
    def quarters(self) -> float:
        return max((note.start + note.length for note in self.tones), default=0.0)

    @property
    def seconds(self) -> float:
        return self.quarters * 60 / self.tempo

    @property
    def bars(self) -> int:
        """Number of bars, the last one counted where it has begun; a pickup is none."""
        return math.ceil((self.quarters - self.pickup) / self.bar - 1e-6) if self.tones else 0

    def sound(self, most: float = MOST_HEARD) -> Sound:
        """Synthesise the first ``most`` seconds, similar to a sung vowel."""
        second = 60 / self.tempo
        heard = min(self.seconds, most)
        samples = np.zeros(int((heard + RELEASE) * RATE) + 1, np.float32)
        for note in self.tones:
            first = int(note.start * second * RATE)
            length = min(int((note.length * second + RELEASE) * RATE), len(samples) - first)
            if length > 0:
                samples[first : first + length] += _tone(note.pitch, note.length * second)[:length]
        return Sound(samples * (LOUDEST / max(1e-9, float(np.abs(samples).max()))), RATE)

    def roll(self) -> bytes:
        """Return the piano roll as PNG.

        Pitches run upwards, bars from left to right, with a colour for each part. Notes that were
        given have a dark edge.
        """
        from matplotlib.text import Text

        from souron.utils import fonts, plotting

        lines = max(1, min(MOST_LINES, math.ceil((self.quarters - 1e-6) / self._line)))
        pitches = [note.pitch for note in self.tones] or [60]
        low, high = min(pitches) - 2, max(pitches) + 2
        height = 0.45 + lines * max(1.3, 0.055 * (high - low))
        figure = plotting.new_figure(9.6, min(height, 30.0))
        shown = np.atleast_1d(figure.subplots(lines, 1, sharey=True))
        for line, axes in enumerate(shown):
            plotting.style_axes(axes, "", "")
            self._draw_line(axes, line * self._line, low, high)
        shown[-1].set_xlabel(_("bar"), color=plotting.INK, fontsize=9)
        for text in figure.findobj(Text):
            text.set_fontfamily(fonts.families())
        names = [fonts.short(called(name), 20) for name in self.parts[:24]]
        if names:
            from matplotlib.patches import Patch

            patches = [
                Patch(color=COLOURS[k % len(COLOURS)], label=fonts.drawable(name)) for k, name in enumerate(names)
            ]
            legend = figure.legend(
                handles=patches,
                loc="outside upper center",
                ncols=min(8, len(names)),
                frameon=False,
                fontsize=8.5,
                labelcolor=plotting.INK,
            )
            for text in legend.get_texts():
                text.set_fontfamily(fonts.families())
        stream = io.BytesIO()
        figure.savefig(stream, format="png", facecolor=plotting.PAPER, dpi=plotting.DOTS // 2)
        return stream.getvalue()

    @property
    def _line(self) -> float:
        """Length of a line in quarters: whole bars."""
        return max(1, round(LINE / self.bar)) * self.bar

    def _draw_line(self, axes: Any, start: float, low: int, high: int) -> None:
        end = start + self._line
        first = self.pickup - self.bar if self.pickup else 0.0
        there = range(math.ceil((start - first) / self.bar - 1e-6), 1 + int((end - first) / self.bar))
        bars = [bar for bar in there if first + (bar - 1) * self.bar < self.quarters - 1e-6]
        for bar in bars:
            axes.axvline(first + bar * self.bar, color="#9aa2ab", linewidth=0.8, zorder=0)
        octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 in (0, 4, 7)]
        axes.set_yticks(octaves, [pitch_name(pitch) for pitch in octaves], fontsize=7)
        number = [bar + (not self.pickup) for bar in bars]
        axes.set_xticks([first + bar * self.bar for bar in bars], [str(n or "") for n in number])
        axes.set_xlim(start - 0.05, end + 0.05)
        axes.set_ylim(low - 0.5, high + 0.5)
        axes.grid(visible=False, axis="x")
        for place, note in enumerate(self.tones):
            if note.start < end and note.start + note.length > start:
                known = bool(self.given) and self.given[place]
                axes.broken_barh(
                    [(note.start + 0.02, max(0.03, note.length - 0.06))],
                    (note.pitch - 0.42, 0.84),
                    facecolor=COLOURS[note.part % len(COLOURS)],
                    edgecolor="#1f2328" if known else "none",
                    linewidth=0.9,
                )

    def save(self, path: Path) -> None:
        """Save as MIDI, MusicXML, sound (``.wav``), or piano roll (``.png``)."""
        suffix = files.ending(path, WRITTEN)
        if suffix == ".wav":
            if not self.tones:
                raise files.wrong(_("a score without notes"), _("a piece with notes"))
            self.sound().save(path)
        elif suffix == ".png":
            files.write(path, self.roll())
        elif suffix in midi.SUFFIXES:
            files.write(path, midi.write(self.notation))
        else:
            told = [("souron", json.dumps(self.mark.as_json()))] if self.mark else []
            files.write(path, musicxml.write(self.notation, f"souron {__version__}", told))
            return
        if self.mark:
            provenance.add(path, self.mark)

    def write_beside(self, path: Path) -> None:
        """Save sound, MusicXML and piano roll beside a MIDI file."""
        for suffix in (".wav", ".musicxml", ".png") if self.tones else ():
            beside = path.with_suffix(suffix)
            if not beside.exists():
                self.save(beside)
                self.also.append(str(beside))

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "parts": list(self.parts),
            "tempo": self.tempo,
            "bar": self.bar,
            "pickup": self.pickup,
            "bars": self.bars,
            "seconds": self.seconds,
            "notes": [list(note) for note in self.tones],
            **({"remark": self.remark} if self.remark else {}),
            **({"mark": self.mark.as_json()} if self.mark else {}),
            **({"also": self.also} if self.also else {}),
        }

    def __str__(self) -> str:
        if not self.tones:
            return _("a score without notes")
        told = _("score, parts: {parts}, notes: {notes}, bars: {bars}, {time}").format(
            parts=len(self.parts), notes=len(self.tones), bars=self.bars, time=units.seconds(self.seconds)
        )
        return f"{told}; {self.remark}" if self.remark else told

    def _repr_html_(self) -> str:
        words = escape(str(self))
        if not self.tones:
            return f"<p>{words}</p>"
        drawn = base64.b64encode(self.roll()).decode()
        heard = base64.b64encode(self.sound(IN_HTML).encoded()).decode()
        label = escape(_("the piece to be heard"), quote=True)
        return (
            f"<figure><img src='data:image/png;base64,{drawn}' alt='{words}' "
            "style='max-width:100%'>"
            f"<audio controls aria-label='{label}' src='data:audio/wav;base64,{heard}' "
            f"style='width:100%'></audio><figcaption>{words}</figcaption></figure>"
        )


def called(part: str) -> str:
    """Return a part's name, translated where it is a voice of a choir.

    >>> called("Soprano"), called("Violin")
    ('Soprano', 'Violin')
    """
    return _(VOICES[part]) if part in VOICES else part


def pitch_name(pitch: int) -> str:
    """Return the name of a MIDI pitch.

    >>> pitch_name(60), pitch_name(61)  # the middle C
    ('C4', 'C♯4')
    """
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}"


@functools.lru_cache(maxsize=256)
def _tone(pitch: int, seconds: float) -> np.ndarray:
    """Synthesise one tone with its release, (n,) float32, in equal temperament, A4 = 440 Hz."""
    time = np.arange(int((seconds + RELEASE) * RATE) + 1, dtype=np.float32) / RATE
    basic = 440 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros_like(time)
    for number, loudness in enumerate(PARTIALS, 1):
        if number * basic < RATE / 2:
            tone += loudness * np.sin(2 * np.pi * number * basic * time)
    rise = np.minimum(1, time / ATTACK)
    fall = np.clip((seconds + RELEASE - time) / RELEASE, 0, 1)
    return tone * rise * fall * np.exp(-0.5 * time)
