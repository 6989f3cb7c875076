"""The picture of ``words.md``, drawn by what comes ready trained: ``python docs/drawn.py``."""

from pathlib import Path

import torch
from PIL import Image

from souron.evaluation.generators import sampling
from souron.kinds.codecs.image import as_image
from souron.runs import folder as run_folder

STATIC = Path(__file__).parent / "_static"
PROMPTS = (
    "a blue bird on the left, on grass",
    "草の上の左側に、一羽の青い鳥",
    "three blue coins on sand",
    "夜空の真ん中に、一輪の黄色い花",
    "two purple vehicles on snow",
    "a white person at the bottom, on grass",
    "a red bird on the right, on water",
    "青空に、二棟の赤い建物",
)
EACH, SEED, SHOWN = 4, 2, 96  # pictures, seed, pixels


def main() -> None:
    folder = run_folder.ready("latent_diffusion")
    assert folder is not None, "pip install --editable zoo"
    system = run_folder.load(folder)
    numbers = range(EACH * len(PROMPTS))
    noise = sampling.Noise(SEED, numbers)
    prompts = [PROMPTS[number % len(PROMPTS)] for number in numbers]
    with torch.no_grad():
        drawn = sampling.done(sampling.draw(system, noise, prompts))
    sheet = Image.new("RGB", (len(PROMPTS) * (SHOWN + 4), EACH * (SHOWN + 4)), "white")
    for number, image in enumerate(drawn):
        row, column = divmod(number, len(PROMPTS))
        tile = as_image(image).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
        sheet.paste(tile, (column * (SHOWN + 4), row * (SHOWN + 4)))
    sheet.save(STATIC / "drawn.png", optimize=True)


if __name__ == "__main__":
    main()
