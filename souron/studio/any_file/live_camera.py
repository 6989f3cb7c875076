"""The camera on the page "Any file": a classifier, a detector or a pose network answers again and again.

The page's script sends one frame, waits for its answer, and sends the next. A frame is decoded in
memory, and neither written to a disk nor kept.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from souron import registry
from souron.studio.security import uploads
from souron.studio.shared import Studio
from souron.utils.messages import UserError, _

KINDS = ("Labels", "Boxes", "Poses")  # of answers that can be read within a moment
SHOWN = 5  # labels of a classifier


def systems(studio: Studio) -> list[str]:
    """Return the systems that answer the camera, the default first."""
    from souron.pipelines import default_system

    choice = default_system.pictures(studio.project)
    return [name for name in (choice.system, *choice.others) if registry.gives(_task(name)) in KINDS]


def _task(name: str) -> str:
    """Return the task of a system, or of a run by its folder."""
    return Path(name).parent.name if "/" in name else registry.find(name)[0].task


def offered(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the systems as pairs (name, title with the training data)."""
    from souron.pipelines import default_system

    pairs = [(name, default_system.learnt_from(name)) for name in systems(studio)]
    return {"systems": [[name, f"{Path(name).name} – {data}" if data else Path(name).name] for name, data in pairs]}


def answered(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Answer one frame: ``image`` in base64, by ``system``. Raises UserError."""
    from souron.kinds.picture import Picture
    from souron.studio import answers
    from souron.studio.model_cache import models

    able, system = systems(studio), str(asked.get("system") or "")
    if system not in able:
        raise UserError(
            "system", _("{system} does not answer the camera").format(system=system[:100]), expected=", ".join(able)
        )
    image = Picture(uploads.encoded_image(str(asked.get("image") or "")))
    begun = time.perf_counter()
    with models.answering(system) as model:
        said = model.answer(image)
        one = answers.Answer("", said, learnt=model.learnt_from)
    shown = answers.unchecked([one]) + answers.said(one, SHOWN, folded=False)
    return {"html": shown, "seconds": round(time.perf_counter() - begun, 3)}
