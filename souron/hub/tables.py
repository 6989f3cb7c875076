"""Single published files that are not a data set of a task: sources and locations."""

import os
from dataclasses import dataclass
from pathlib import Path

from souron.utils.files import cache_folder


@dataclass(frozen=True)
class Table:
    """A published file, accepted only with the SHA-256 of the published one."""

    idea: str  # English
    ja: str
    licence: str
    megabytes: int
    url: str  # pinned to a commit
    sha256: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


TABLES = {
    "work": Table(
        "Tasks of 923 occupations with labels of exposure by people and by GPT-4",
        "923 の職業の作業。人と GPT-4 による言語モデルへの曝露のラベル付き",
        "MIT; O*NET: CC BY 4.0",
        4,
        "https://raw.githubusercontent.com/openai/GPTs-are-GPTs/"
        "0471612fef3cc22b74fb884d27bff9dbd3770582/data/full_labelset.tsv",
        "094378905e1f3349e50a9a83dc69643a2ef227954d611c8316a46da08cb3d8de",
    )
}


def places(name: str) -> list[Path]:
    """List the folders to search: the user's own, then the cache."""
    own = os.environ.get("SOURON_DATA")
    return [*([Path(own).expanduser() / name] if own else []), cache_folder() / "data" / name]


def where(name: str) -> Path | None:
    """Return the folder that contains the file of that name in ``TABLES``, or None."""
    return next((p for p in places(name) if (p / TABLES[name].file).is_file()), None)
