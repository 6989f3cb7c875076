"""The page "Any file": the answer of the best system for a file, and what it has learnt from."""

import tempfile
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron.hub import zoo
from souron.studio.shared import Studio, remarks
from souron.utils.messages import N_, UserError, _

SAMPLES = {  # name -> what it shows
    "cat.png": N_("a photograph"),
    "volume.nii.gz": N_("a CT volume"),
    "prompt.txt": N_("a text"),
    "melody.mid": N_("a melody"),
    "scene.gif": N_("a film"),
}
MOST_ANSWERS = 12  # of one file, such as the frames of a video
MOST_OTHERS = 12  # systems that are offered
SHOWN = 5  # labels of a classifier


def sent(studio: Studio, file: Path, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer for an own file. Raises UserError."""
    return answer(studio, file, query.get("system", ""))


def sampled(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer for one of ``SAMPLES``. Raises UserError."""
    from souron.lecture import samples

    name = str(asked.get("sample"))
    if name not in SAMPLES:
        raise UserError("missing", _("there is no example {name}").format(name=name[:100]), expected=", ".join(SAMPLES))
    with tempfile.TemporaryDirectory(prefix="anything-") as folder:
        samples.write(Path(folder), f"souron predict {name}")
        return answer(studio, Path(folder) / name, str(asked.get("system") or ""))


def answer(studio: Studio, file: Path, system: str = "") -> dict[str, Any]:
    """Return the answer for a file with what can be said of it. Raises UserError.

    ``system`` has to be one of those that can answer for such a file.
    """
    from souron.kinds.codecs import moving
    from souron.pipelines import default_system
    from souron.studio import answers
    from souron.studio.model_cache import models

    choice = default_system.choose(str(file), studio.project)
    able = [choice.system, *choice.others]
    if system and system not in able:
        raise UserError(
            "system", _("{system} does not answer for such a file").format(system=system), expected=", ".join(able)
        )
    chosen = system or choice.system
    with models.answering(chosen) as model:
        if moving.is_video(file):
            found = list(islice(default_system.predict(model, [str(file)]), MOST_ANSWERS))
            shown = [answers.Answer(str(path), kind) for path, kind in found]
        else:
            shown = list(islice(answers.answered(model, [file], {}), MOST_ANSWERS))
        kind = model.asked.given
        learnt = model.learnt_from
    about = zoo.about(chosen) or (_("trained on {data}").format(data=learnt) if learnt else "")
    folder = zoo.where(chosen)
    weak = remarks(zoo.weaknesses(folder)) if folder is not None else Markup()
    return {
        "what": str(_(kind.noun)),
        "system": chosen,
        "name": Path(chosen).name,
        "html": answers.cards(shown, SHOWN, look=False) + Markup('<p class="faint">{}</p>').format(about) + weak,
        "rows": [[Path(one.file).name, answers.short(one.said)] for one in shown],
        "others": [[one, Path(one).name] for one in able if one != chosen][:MOST_OTHERS],
        "options": studio.url("use", **{"run" if "/" in chosen else "system": chosen}),
    }
