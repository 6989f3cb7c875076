"""The picture of the READMEs, from what ``souron tour`` shows: ``python docs/tour.py``."""

import base64
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from souron.actions.tour import highlights
from souron.report.page import Plot
from souron.utils import fonts
from souron.utils.messages import LANGUAGES, _, use_language

PLACE = Path(__file__).parent / "_static"
SHOWN = {"photograph": 0, "detection": 0, "organs": 1, "sentence": 0}  # part -> its image
SIDE, GAP, BELOW = 300, 12, 60  # pixels


def main() -> None:
    parts = [part for part in highlights.PARTS if part.name in SHOWN]
    for language in LANGUAGES:
        sheet = Image.new("RGB", (len(parts) * (SIDE + GAP) + GAP, SIDE + GAP + BELOW), "white")
        draw = ImageDraw.Draw(sheet)
        with use_language(language):
            for number, part in enumerate(parts):
                *_before, last = part.run(Path())
                plot = last.record.images[SHOWN[part.name]]
                left = GAP + number * (SIDE + GAP)
                sheet.paste(square(plot), (left, GAP))
                for line, text in enumerate((_(part.title), plot.alt)):
                    font, place = written(14 if line else 16), (left, SIDE + GAP + 6 + 24 * line)
                    draw.text(place, shortened(text, font), "#59626c" if line else "#1f2328", font)
        ending = ".jpg" if language == "en" else f".{language}.jpg"
        sheet.save(PLACE / f"tour{ending}", quality=88)


def square(plot: Plot) -> Image.Image:
    """Its middle, ``SIDE`` pixels a side; of a moving image a moment at an angle."""
    image = Image.open(io.BytesIO(base64.b64decode(plot.uri.partition(",")[2])))
    if getattr(image, "n_frames", 1) > 2:
        image.seek(2)
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))


def written(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(fonts.shipped()), size)


def shortened(text: str, font: ImageFont.FreeTypeFont) -> str:
    while font.getlength(text) > SIDE and len(text) > 1:
        text = text.rstrip("…")[:-1] + "…"
    return text


if __name__ == "__main__":
    main()
