"""The picture of scenes in ``data.md``, in both languages: ``python docs/scenes.py``.

Drawn figures on smooth noise: the stamps' licence is another one.
"""

from pathlib import Path

from PIL import Image

from souron.data.composing import stock, words
from souron.data.composing.composer import Composer, Scene
from souron.kinds.codecs import image
from souron.kinds.graphics import overlay
from souron.kinds.picture import Picture

STATIC = Path(__file__).parent / "_static"
SIDE, SHOWN = 256, 256  # pixels
NUMBERS = (9, 27, 33)


def main() -> None:
    made = Composer(SIDE, 0, source=stock.drawn())
    scenes = [made.scene(number) for number in NUMBERS]
    for ending, english in (("", True), (".ja", False)):
        sheet = Image.new("RGB", (len(scenes) * SHOWN, 2 * SHOWN))
        for column, scene in enumerate(scenes):
            for row, picture in enumerate(marked(scene, english)):
                sheet.paste(picture.resize((SHOWN, SHOWN)), (column * SHOWN, row * SHOWN))
        sheet.save(STATIC / f"scenes{ending}.png", optimize=True)


def marked(scene: Scene, english: bool) -> tuple[Image.Image, Image.Image]:
    """The scene with its boxes, and with its masks."""
    boxes, areas = (overlay.Canvas(Picture(image.as_image(scene.image))) for _row in range(2))
    for box, label, mask in zip(scene.boxes, scene.labels.tolist(), scene.masks, strict=True):
        word = words.WORDS[scene.categories[label]]
        name, colour = word.one.split()[-1] if english else word.ja, overlay.colour(label)
        boxes.box(box.tolist(), name, colour)
        areas.area(mask.numpy(), name, colour)
    return boxes.image, areas.image


if __name__ == "__main__":
    main()
