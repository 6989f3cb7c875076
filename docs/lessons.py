"""The pictures of ``lessons.md``, in both languages: ``python docs/lessons.py`` (half a minute)."""

import tempfile
from pathlib import Path

from souron.data.load import load
from souron.data.preprocessing import preparation
from souron.evaluation import decision_surface, feature_maps
from souron.kinds.picture import Picture
from souron.report import lesson_plots, network_plots
from souron.report.drawing import Drawing

STATIC = Path(__file__).parent / "_static"
SOME = range(0, 1000, 100)  # rows of the digits


def main() -> None:
    from souron.utils.messages import use_language

    for language, ending in (("en", ""), ("ja", ".ja")):
        with use_language(language), tempfile.TemporaryDirectory() as folder:
            for name, drawn in images(Path(folder)).items():
                (STATIC / f"lesson-{name}{ending}.png").write_bytes(drawn.png)


def images(folder: Path) -> dict[str, Drawing]:
    """One of each lesson."""
    import souron

    digits = load("digits")
    run = souron.train("mlp", "digits", budget="5ep", project=str(folder))
    model = souron.load(run.folder)
    said = [model(Picture.of(digits.input[row])).best for row in SOME]
    moons = decision_surface.points("moons")
    network = decision_surface.network(moons, widths=(8,), rate=2e-2)
    seen = list(decision_surface.learn(network, moons, 400, at=[0, 10, 50, 150, 400]))
    cnn = souron.load("cnn").system
    clothes = Picture.of(load("fashion").input[0] if is_here("fashion") else digits.input[0])
    square = clothes.square(cnn.spec.side, cnn.spec.channels)[None]
    image = (square / 255 - cnn.spec.mean[0]) / cnn.spec.std[0]
    return {
        "1": lesson_plots.gallery(digits.input[list(SOME)], [f"{label} {share:.0%}" for label, share in said]),
        "2": lesson_plots.preparation(preparation(digits.input[:500], side=16)),
        "3": network_plots.surfaces(seen, moons),
        "4": network_plots.one_pixel(feature_maps.one_pixel(cnn, image, 12, 12, 3), image[0]),
        "5": lesson_plots.strengths(load("digits", 28).input[3]),
    }


def is_here(name: str) -> bool:
    from souron.data.load import names

    return names()[name].where() is not None


if __name__ == "__main__":
    main()
