"""The pictures of ``maps.md``, in both languages: ``python docs/maps.py`` (half a minute)."""

import base64
import os
import re
import tempfile
from pathlib import Path

from souron.runs import compare, train
from souron.utils.messages import use_language

STATIC = Path(__file__).parent / "_static"


def main() -> None:
    for language, ending in (("en", ""), ("ja", ".ja")):
        with tempfile.TemporaryDirectory() as folder, use_language(language):
            os.chdir(folder)
            maps = compare.compare(["pca", "tsne", "umap"], "digits", seeds=1)
            keep(maps.folder, "maps", f"maps-compared{ending}.png")
            single = train.train("tsne", "digits")
            keep(single.folder, "map", f"maps-shuffled{ending}.png")
            tree = train.train("hierarchical", "digits")
            keep(tree.folder, "dendrogram", f"maps-dendrogram{ending}.png")


def keep(run: Path, section: str, name: str) -> None:
    """Save the first picture of a report's section."""
    page = (run / "report.html").read_text(encoding="utf-8")
    after = page.partition(f'id="{section}"')[2]
    [data] = re.findall(r'src="data:image/png;base64,([^"]+)"', after)[:1]
    (STATIC / name).write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    main()
