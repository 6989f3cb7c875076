"""Open language models: published facts, and estimates for this computer.

The facts are in ``models.toml``, each with its source page. For models on this computer, their own
files take precedence. The speed is an upper bound: generating a token reads all weights in use from
memory once, so the rate is at most memory bandwidth / bytes of the weights.
"""

import re
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from souron.hub import fetch, packages
from souron.utils import hardware
from souron.utils.messages import N_, UserError, _, near

BITS = 4.5  # per weight in common 4-bit files, scales included
ROOM = 1.2  # factor on the weights, for cache and program
PROBE = 1.0  # seconds
MOST_LOCAL = 50  # most local models listed
UNKNOWN = "unknown"
IN_FILE = "file"  # the source of facts from a model's own files
QUANTISED = re.compile(r"[.-](i?q\d\w*|f16|bf16|f32)$", re.IGNORECASE)  # in a GGUF file name
WORDS = {
    "yes": N_("yes"),
    "no": N_("no"),
    "conditions": N_("with conditions"),
    "limited": N_("a little"),
    UNKNOWN: N_("unknown"),
}
# prefix of a licence in lower case -> commercial use, summary
LICENCES = {
    "closed": (
        "conditions",
        N_("The weights are not published: it runs at its maker's alone, where everything that is typed is sent."),
    ),
    "apache": ("yes", N_("Free to use, change and pass on, also for money; keep its notices.")),
    "mit": ("yes", N_("Free to use, change and pass on, also for money; keep its notices.")),
    "bsd": ("yes", N_("Free to use, change and pass on, also for money; keep its notices.")),
    "cc0": ("yes", N_("Free for any use.")),
    "cc-by-nc": ("no", N_("Not for commercial use; name its authors.")),
    "cc-by-sa": ("yes", N_("Also for money; name its authors, and pass changes on alike.")),
    "cc-by": ("yes", N_("Also for money; name its authors.")),
    "llama license": ("no", N_("For research only, on request.")),
    "llama": (
        "conditions",
        N_(
            "Also for money, with a policy of what it must not be used for; a service of more than "
            "700 million users a month needs a licence of its own."
        ),
    ),
    "gemma": ("conditions", N_("Also for money, with a policy of what it must not be used for.")),
    "hai-def": (
        "conditions",
        N_(
            "For health and life sciences, with a policy of use; what is made "
            "with it for clinics needs its own validation."
        ),
    ),
    "bigscience": ("conditions", N_("Also for money, with a list of uses that are forbidden.")),
    "lfm": ("conditions", N_("Also for money up to a yearly revenue of 10 million dollars.")),
    "qwen research": ("no", N_("For research only; commercial use needs another licence.")),
    "opt": ("no", N_("For research only.")),
    "non-commercial": ("no", N_("Not for commercial use.")),
}


@dataclass(frozen=True)
class Row:
    """One model; "" and 0 where unknown."""

    name: str
    year: int = 0
    parameters: float = 0.0  # billions
    active: float = 0.0  # billions active per token; 0: all
    licence: str = ""
    commercial: str = UNKNOWN
    safety: str = UNKNOWN
    context: int = 0  # tokens
    languages: tuple[str, ...] = ()
    count: int = 0  # number of languages, where ``languages`` lists only some
    page: str = ""
    at: dict[str, str] = field(default_factory=dict)  # cell -> its source
    path: str = ""  # on this computer
    bytes: int = 0  # of its files there
    quantised: str = ""
    template: str = ""
    runs: bool | None = None  # whether souron has this decoder; None: unknown

    @property
    def four_bits(self) -> float:
        """The bytes of its weights at 4 bits."""
        return self.parameters * 1e9 * BITS / 8

    @property
    def memory(self) -> float:
        """The bytes of memory needed at 4 bits."""
        return self.four_bits * ROOM

    @property
    def memory_bf16(self) -> float:
        """The bytes of memory needed in souron itself, which uses bf16."""
        return self.parameters * 1e9 * 2 * ROOM

    def tokens_per_second(self, bandwidth: float) -> float:
        """Return the upper bound of the rate at 4 bits; ``bandwidth`` in bytes per second.

        Infinite where the size is unknown.
        """
        used = (self.active or self.parameters) * 1e9 * BITS / 8
        return bandwidth / used if used else float("inf")

    def source(self, cell: str) -> str:
        """Return the source of a cell: a page, ``IN_FILE``, or "" for none."""
        return self.at.get(cell, self.page)

    def as_json(self, bandwidth: float, free: float) -> dict[str, Any]:
        cells = ("year", "parameters", "licence", "commercial", "safety", "context", "languages")
        known = self.parameters > 0
        return {
            "name": self.name,
            "year": self.year or None,
            "parameters": round(self.parameters * 1e9) or None,
            "active_parameters": round((self.active or self.parameters) * 1e9) or None,
            "bytes": self.bytes or None,
            "bytes_at_4_bits": round(self.four_bits) or None,
            "licence": self.licence or UNKNOWN,
            "commercial": self.commercial,
            "safety": self.safety,
            "context": self.context or None,
            "languages": list(self.languages),
            "languages_in_all": self.count or len(self.languages) or None,
            "memory": round(self.memory) or None,
            "memory_bf16": round(self.memory_bf16) or None,
            "fits": self.memory <= free if known else None,
            "tokens_per_second_forecast": self.tokens_per_second(bandwidth) if known else None,
            "path": self.path or None,
            "sources": {cell: self.source(cell) for cell in cells},
        }


@cache
def published() -> tuple[Row, ...]:
    """Return the models of ``models.toml``, by year and name."""
    text = (Path(__file__).parent / "models.toml").read_text(encoding="utf-8")
    rows = [Row(**{**each, "languages": tuple(each["languages"])}) for each in tomllib.loads(text)["model"]]
    return tuple(sorted(rows, key=lambda row: (row.year, row.name.lower())))


def local(folder: Path) -> tuple[list[Row], list[tuple[str, UserError]]]:
    """List models on this computer: fetched ones, and those in a folder and its ``models/``.

    Also returns those that cannot be read, with their errors.
    """
    places = [where for name in packages.MODELS if (where := fetch.where(name)) is not None]
    for base in (folder, folder / "models"):
        places += sorted(base.glob("*.gguf"))
        places += [file.parent for file in sorted(base.glob("*/config.json"))]
    rows, broken = [], []
    for place in dict.fromkeys(path.resolve() for path in places[:MOST_LOCAL]):
        try:
            rows.append(described(place))
        except UserError as error:
            broken.append((str(place), error))
    return rows, broken


def described(path: Path) -> Row:
    """Describe a model's file or folder, completed by published facts of the same name.

    Raises UserError.
    """
    from souron.hub import open_models

    about = open_models.glance(path)
    called = {_plain(about.name), _plain(QUANTISED.sub("", path.stem if path.is_file() else ""))}
    row = next((row for row in published() if _plain(row.name) in called), Row(about.name))
    at = dict(row.at)
    said: dict[str, Any] = {
        "parameters": about.parameters / 1e9,
        "context": about.context,
        "licence": about.licence,
        "languages": about.languages,
    }
    said = {name: value for name, value in said.items() if value}
    if "languages" in said:
        said["count"] = 0
    if "licence" in said:
        said["commercial"] = commercial(about.licence)
    at |= dict.fromkeys(said, IN_FILE)
    return replace(
        row,
        **said,
        at=at,
        path=str(path),
        bytes=about.bytes,
        quantised=about.quantised,
        template=about.template,
        runs=about.structure is not None,
    )


def _plain(name: str) -> str:
    """Normalise a name: SmolLM2 135M Instruct equals smollm2-135m-instruct."""
    return re.sub(r"[\W_]+", "", name).lower()


def find(name: str) -> Row:
    """Return a model by its name in the table, its fetch name, or its file. Raises UserError."""
    from souron.hub import open_models

    row = next((row for row in published() if row.name.lower() == name.lower()), None)
    if row is not None and not Path(name).exists():
        return row
    try:
        return described(open_models.find(name))
    except UserError:
        if Path(name).exists() or name in packages.MODELS:
            raise
        names = [row.name for row in published()]
        raise UserError(
            "model",
            _("no model is named {name!r}, and there is no such file").format(name=name),
            expected=near(name, names)
            if near(name, names) != ", ".join(names)
            else _("a name of the table, a .gguf file or a folder"),
            fix="souron models",
            exit=3,
        ) from None


def commercial(licence: str) -> str:
    return _licence(licence)[0]


def says(licence: str) -> str:
    """Return a short summary of a licence; "" of an unknown one."""
    told = _licence(licence)[1]
    return _(told) if told else ""


def _licence(licence: str) -> tuple[str, str]:
    name = licence.lower().strip()
    return next((LICENCES[key] for key in LICENCES if name.startswith(key)), (UNKNOWN, ""))


@lru_cache(maxsize=1)
def bandwidth() -> float:
    """Measure the memory bandwidth in bytes per second, for one second.

    It times a matrix-vector product, the main operation of token generation.
    """
    import numpy as np

    matrix = np.ones((4096, 8192), np.float32)  # 134 MB: larger than any cache
    vector = np.ones(8192, np.float32)
    best, end = 0.0, time.perf_counter() + PROBE
    while time.perf_counter() < end:
        begun = time.perf_counter()
        matrix @ vector
        best = max(best, matrix.nbytes / (time.perf_counter() - begun))
    return best


def fitting(free: float) -> float:
    """Return the billions of parameters at 4 bits that fit into ``free`` bytes."""
    return free / ROOM / (BITS / 8) / 1e9


def here() -> tuple[float, float]:
    """Return the memory bandwidth in bytes per second, and the free bytes."""
    return bandwidth(), float(hardware.memory()[1])


def rate(row: Row, speed: float) -> str:
    """Format the upper bound of tokens per second."""
    value = row.tokens_per_second(speed)
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def word(value: str) -> str:
    """Return the text of a cell in the reader's language."""
    known = WORDS.get(value, value)
    return _(known)


def languages(row: Row) -> str:
    named: Sequence[str] = row.languages
    if row.count > len(named):
        return _("{count}, as {names}").format(count=row.count, names=" ".join(named[:3]))
    return " ".join(named) or _(UNKNOWN)


def forecast(row: Row, speed: float, free: float) -> str:
    """Return a sentence on whether it fits into memory, and its speed."""
    if not row.parameters:
        return _("Its size is unknown.")
    if row.memory <= free:
        return _(
            "At 4 bits it needs {memory:.1f} GB of memory, {free:.1f} GB are free; forecast: at "
            "most {speed} tokens a second."
        ).format(memory=row.memory / 1e9, free=free / 1e9, speed=rate(row, speed))
    size = fitting(free)
    return _(
        "It does not fit: at 4 bits it needs {memory:.1f} GB of memory, {free:.1f} GB are free. A "
        "model of {size:.1f} billion parameters fits; forecast: at most {speed} tokens a second."
    ).format(memory=row.memory / 1e9, free=free / 1e9, size=size, speed=rate(Row("", parameters=size), speed))


def remark(speed: float, free: float) -> str:
    """Return a note on the estimates of the table."""
    return _(
        "Memory and speed are forecasts at 4 bits: {free:.1f} GB are free here, and {speed:.0f} GB "
        "a second come from memory. souron itself holds weights in 16 bits, which takes 3.6 times "
        "as much."
    ).format(free=free / 1e9, speed=speed / 1e9)
