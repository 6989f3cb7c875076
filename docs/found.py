"""The pictures of what ready-trained systems find, for their pages: ``python docs/found.py``."""

from pathlib import Path

from PIL import Image

from souron import registry
from souron.hub import zoo
from souron.kinds import signature
from souron.runs import folder as run_folder

PLACE = Path(__file__).parent / "_static" / "found"
SHOWN, SIDE = 3, 256  # examples, pixels


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    for name in map(registry.find, zoo.names()):
        folder = run_folder.ready(registry.full_name(*name))
        if folder is None or name[0].task in ("classify", "generate", "complete"):
            continue
        system = run_folder.load(folder)
        asked = signature.signature(type(system))
        assert asked is not None
        answers = [system.predict(asked.given.read(f)) for f in zoo.examples(folder)[:SHOWN]]
        sheet = Image.new("RGB", (len(answers) * (SIDE + 4) - 4, SIDE), "white")
        for place, answer in enumerate(answers):
            drawn = answer.drawn(answer.fullest) if hasattr(answer, "fullest") else answer.drawn()
            drawn.thumbnail((SIDE, SIDE))
            sheet.paste(drawn, (place * (SIDE + 4), 0))
        sheet.save(PLACE / f"{name[0].name}.jpg", quality=85)


if __name__ == "__main__":
    main()
