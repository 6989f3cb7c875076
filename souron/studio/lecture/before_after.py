"""One test case of a run, answered before and after its training."""

import copy
from pathlib import Path
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.studio.lecture import generated
from souron.utils.messages import _

SHOWN = 3  # labels of a classifier
MOST_TEXT = 2000  # characters of a test case


def compared(run: Path) -> Markup:
    """Return the answer to one test case of a run before and after its training.

    Before means: by the same network with random weights.
    """
    import torch

    from souron.studio import answers
    from souron.studio.model_cache import models

    with models.answering(str(run)) as model:
        system = model.system
        torch.manual_seed(0)
        fresh = copy.copy(model)
        fresh.japanese = model.japanese
        fresh.system, fresh.folder, fresh.checked = type(system)(system.config, system.spec).eval(), None, None
        pairs = ((_("before: random weights"), fresh), (_("after training"), model))
        if hasattr(system, "drawing"):
            shown = [(title, _sampled(one.system)) for title, one in pairs]
        else:
            given = _test_case(run, system)
            if given is None:
                return Markup()
            shown = [
                (title, answers.cards([answers.beside(given, one.answer(given))], SHOWN, look=False))
                for title, one in pairs
            ]
    parts = Markup("").join(Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(*pair) for pair in shown)
    return Markup('<h3>{}</h3><div class="sides">{}</div>').format(_("One test case, before and after"), parts)


def _sampled(system: Any) -> Markup:
    from souron.evaluation.generators import sampling

    return generated.side_by_side(
        system, sampling.done(sampling.draw(system, sampling.Noise(0, range(2), system.device)))
    )


def _test_case(run: Path, system: Any) -> Any:
    """Return the first test case of a run as input; None where it cannot be shown."""
    from souron.data import load
    from souron.kinds.picture import Picture
    from souron.kinds.text import Text
    from souron.runs import folder, prepare

    task = registry.load_task(system.task)
    side = getattr(system.spec, "side", None)
    cases = load.load(folder.read_args(run)["data"], side, formats=task.formats, target=task.target)
    split = prepare.read_split(run, prepare.coloured(cases, getattr(system.spec, "channels", 0)), task)
    if not len(split.test):
        return None
    one = cases.input[int(split.test[0])]
    if isinstance(one, str):
        return Text(one[:MOST_TEXT]) if task.takes is Text else None
    return Picture.of(one) if cases.images and task.takes is Picture else None
