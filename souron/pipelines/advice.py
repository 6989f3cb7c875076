"""Advice on a first training and a first comparison on a reader's own data.

The advice is a system with options that a beginner should want, and the systems to compare it
with: ``souron data check`` ends with it, and the studio starts it at one press.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from souron import registry
from souron.hub import zoo
from souron.utils import units
from souron.utils.messages import _

FEW = 500  # cases below which cross-validation says more than one small test part
MANY = 5000  # cases from which a training is bounded by time instead of passes
OTHER = "cnn"  # the small classifier that starts from scratch


@dataclass(frozen=True)
class Advice:
    """A first training, and the systems to compare with it at an equal budget."""

    system: str
    options: Mapping[str, str] = field(default_factory=dict)  # of ``souron train``
    compared: tuple[str, ...] = ()  # systems of ``souron compare``
    compare_options: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""  # a sentence in the reader's language

    def command(self, data: str) -> list[str]:
        """Return the words of the training after ``souron``."""
        return ["train", self.system, f"data={data}", *(f"{name}={value}" for name, value in self.options.items())]

    def comparison(self, data: str) -> list[str]:
        """Return the words of the comparison after ``souron``; [] where there is nothing to compare."""
        options = [f"{name}={value}" for name, value in self.compare_options.items()]
        return ["compare", *self.compared, f"data={data}", *options] if len(self.compared) > 1 else []


def task_of(target: str) -> str:
    """Return the task of data whose cases are annotated so; "" for none.

    ``target`` is the name of a file of ``data/targets``.

    >>> task_of("boxes"), task_of("classes"), task_of("")
    ('detect', 'classify', '')
    """
    known = registry.tasks().items()
    return next((name for name, task in known if target and target in (task.target, task.fits)), "")


def advise(task: str, cases: int, groups: int = 0) -> Advice | None:
    """Return advice for so many cases of so many patients or other groups (0: none are known).

    None for a task without systems.

    >>> advise("classify", 75, 20).system
    'efficientnet_lite'
    """
    about = registry.tasks().get(task)
    if about is None:
        return None
    if about.transfers:
        return _transfer(about.first_system, cases, groups)
    of_task = [entry for entry in registry.entries().values() if entry.task == task]
    sizes = {registry.find(name)[0].name: name for name in zoo.names()}  # as they come ready trained
    of_task.sort(key=lambda entry: (entry.name != about.first_system, entry.name not in sizes))
    names = [sizes.get(entry.name) or registry.full_name(entry, _small(entry)) for entry in of_task]
    if not names:
        return None
    return Advice(
        names[0],
        {"budget": "2min"},
        tuple(names[:2]),
        {"budget": "1min", "seeds": "2"},
        _("{cases}: {system} first, trained for {time}.").format(
            cases=_counted(cases, groups), system=names[0], time=units.seconds(120)
        ),
    )


def _transfer(system: str, cases: int, groups: int) -> Advice:
    few = cases < FEW
    text = _(
        "{cases}: transfer learning, where a network that knows a million photographs only learns your classes anew."
    )
    more = _("Since a small test part says little, every case is tested once in cross-validation.") if few else ""
    once = {"folds": "5", "repeats": "1", "learning-curve": "0"} if few else {}
    return Advice(
        system,
        {"pretrained": "true", "freeze": "true", "budget": "1min" if cases >= MANY else "200ep", **once},
        (f"{system}:frozen", OTHER),
        {"budget": "5s", "seeds": "2", "folds": "5"} if few else {"budget": "30s", "seeds": "3"},
        " ".join(filter(None, [text.format(cases=_counted(cases, groups)), more])),
    )


def _counted(cases: int, groups: int) -> str:
    if groups > 1:
        return _("{count} cases of {groups} patients or groups").format(
            count=units.whole(cases), groups=units.whole(groups)
        )
    return _("{count} cases").format(count=units.whole(cases))


def _small(entry: registry.Entry) -> str:
    return "tiny" if "tiny" in entry.sizes else "small" if "small" in entry.sizes else entry.sizes[0]
