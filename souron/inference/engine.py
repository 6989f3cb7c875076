"""Answer faster: eager at first, from the second answer on with an engine that was checked.

    engine = Engine(system, mode="auto")
    for image in images:
        with engine.answering():
            system.predict(image)
    engine.name          # of the latest answer: "eager", "openvino bf16"

The first answer is recorded: which modules are called from outside, with which arguments. These are
converted in a background thread, or read from the cache, and checked on cases of the run
(``building``). Then they take the place of the modules' ``forward``, for these arguments alone;
every other call stays as it was. Where anything fails, the network goes on answering itself, and
one line says why.
"""

import atexit
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from souron.evaluation.familiarity import Sensor
from souron.inference import building, built, cases
from souron.inference.building import SAMPLING, Build, Cancelled
from souron.inference.dispatch import Counter, Dispatch
from souron.inference.graph import Features, keep_quiet
from souron.inference.modes import EAGER
from souron.inference.outer_calls import Calls, part_of, recording
from souron.inference.refusal import Refused, last_line
from souron.utils import extras, hardware
from souron.utils.messages import _

GAIN = 0.5  # of an answer's seconds, which an engine is expected to save
LEAST_GAIN = 1.0  # times as fast as the network, unless a person named the precision
READING = 1.0  # seconds until a stored build answers
BUILDING = 5.0  # seconds until a new one answers, without its check
LAST = 20.0  # seconds that the end of the program waits for a step of a build

running: "weakref.WeakSet[Engine]" = weakref.WeakSet()


@dataclass
class Plan:
    """The answers that are expected, for which an engine is worth its time or not.

    ``inputs`` is how many answers are expected, None where that is unknown. ``wait``: answers wait
    for the build. Otherwise it is made in the background.
    """

    inputs: int | None = None
    wait: bool = False


class Engine:
    """The engine of one system."""

    def __init__(
        self,
        system: Any,
        network: Any = None,
        *,
        mode: str = "auto",
        folder: Path | None = None,
        sensor: Sensor | None = None,
        layers: Sequence[str] = (),
        plan: Plan | None = None,
        notice: Callable[[str], None] = lambda text: None,
        parts: cases.Parts | None = None,
    ) -> None:
        """Prepare an engine for ``network``, which answers with the weights of ``system``.

        They are the same unless ``network`` was fused. ``sensor`` is what listens at the
        ``layers`` of a familiarity check.
        """
        self.system, self.network = system, system if network is None else network
        self.mode, self.folder, self.plan, self.notice = mode, folder, plan or Plan(), notice
        self.sensor, self.layers, self.parts = sensor, tuple(layers), parts
        self.lock, self.count = threading.Lock(), Counter()
        self.calls: Calls | None = None  # of the first answer
        self.build: Build | None = None
        self.dispatches: list[Dispatch] = []
        self.thread: threading.Thread | None = None
        self.cancelled = threading.Event()
        self.state = "off" if mode == "off" or system.device.type != "cpu" else "new"
        self.reason = ""  # why it was refused

    @property
    def name(self) -> str:
        """Return what gave this thread's latest answer."""
        return EAGER if self.build is None or not self.count.fast else f"openvino {self.build.precision}"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Give one answer within this block."""
        self.count.fast = self.count.eager = 0
        with self.lock:
            begin, record = self.state == "recorded", self.state == "new"
            if begin:
                self.state = "building"
            elif record:
                self.state = "recording"
        if begin:
            self._start()
        if not record:
            yield
            return
        try:
            with recording(self.network) as calls:
                yield
        except BaseException:
            self.state = "new"  # an unreadable case shows nothing
            raise
        self._recorded(calls)

    def _recorded(self, calls: Calls) -> None:
        """Decide after the first answer whether an engine is worth its time."""
        self.calls = calls
        inputs = self.plan.inputs
        if inputs is not None and (inputs < 2 or (self._saved(inputs) < READING and not self.plan.wait)):
            self.state = "off"
        elif not extras.installed("fast"):
            self._refuse(_('no engine is installed: pip install "souron[fast]"'))
        else:
            self.state = "recorded"

    def _saved(self, inputs: int) -> float:
        """Return the seconds that an engine is expected to save."""
        return GAIN * (inputs - 1) * (self.calls.seconds if self.calls else 0.0)

    def prepare(self, calls: Calls) -> None:
        """Read or build at once, so that every answer from now on is given in the same way."""
        if self.state == "new":
            self.plan = Plan(wait=True)
            self._recorded(calls)
            if self.state == "recorded":
                self.state = "building"
                self._start()

    def _start(self) -> None:
        """Make or read the build in a thread, and wait for it where answers do.

        A thread of its own has no autocast, no inference mode and no check that listens.
        """
        try:
            copy = building.shared_copy(self.system)  # in this thread, where nothing computes
        except Refused as refused:
            self._refuse(str(refused))
            return
        running.add(self)
        keep_quiet()
        run = copy_context().run  # in this language
        self.thread = threading.Thread(target=run, args=(self._obtain, copy), name="engine", daemon=True)
        self.thread.start()
        if self.plan.wait:
            try:
                self.wait()
            except KeyboardInterrupt:
                self.cancelled.set()
                raise

    def _obtain(self, copy: Any) -> None:
        """Read a build or make one, and attach it; whatever is raised leaves the network as it is."""
        try:
            self._attach(self._read_or_made(copy))
        except Cancelled:
            self.state = "off"
        except Refused as refused:
            self._refuse(str(refused))
        except Exception as error:  # an engine's own trouble is no trouble of the answers
            self._refuse(f"{type(error).__name__}: {last_line(error)}")

    def _read_or_made(self, copy: Any) -> Build:
        """Return a build of the first precision that agrees. Raises Refused."""
        assert self.calls is not None
        ladder = self._ladder()
        for precision in ladder:
            place = built.home() / built.key(copy, self.calls, precision, self.layers)
            try:
                build = self._of_precision(copy, precision, place)
                if build is not None and self.mode == "auto" and build.record["faster"] < LEAST_GAIN:
                    raise Refused(_("it is not faster on this computer"))
            except Refused as refused:
                if precision == ladder[-1]:
                    raise
                self.notice(_("{precision} is not used: {why}").format(precision=precision, why=refused))
            else:
                if build is not None:
                    return build
        raise Cancelled

    def _of_precision(self, copy: Any, precision: str, place: Path) -> Build | None:
        """Return the build of one precision; None where it is not stored and not to be made. Raises Refused."""
        if not place.exists() and not self._makes(precision):
            return None
        with built.alone(place):
            if (known := built.refusal(place)) is not None:
                raise Refused(known)
            if place.exists():
                try:
                    return built.read(place, copy, precision)
                except Refused as damaged:
                    self.notice(str(damaged))
            if not self._makes(precision):
                return None
            try:
                build = self._made(copy, precision)
            except Refused as refused:
                if refused.lasting:
                    built.write_refusal(place, str(refused))
                raise
            try:
                built.write(place, build)
            except OSError as error:
                self.notice(_("the build is not kept: {why}").format(why=error.strerror or error))
            return build

    def _ladder(self) -> list[str]:
        """Return the precisions to try, the fastest first."""
        assert self.calls is not None
        if self.mode == "f32" or max(map(len, self.calls.by_name.values()), default=0) > SAMPLING:
            return ["f32"]
        lower = ["bf16"] if hardware.bf16() or self.mode == "bf16" else []
        return (["int8"] if self.mode in ("auto", "int8") else []) + lower + ["f32"]

    def _makes(self, precision: str) -> bool:
        """Return whether a build that is not stored is made: int8 only on request."""
        if self.mode == "auto" and precision == "int8":
            return False
        inputs = self.plan.inputs
        if self.plan.wait and self.mode == "auto":
            return False  # stored builds alone, so that what answers does not depend on the time
        if self.plan.wait or inputs is None:
            return True
        seconds = self.calls.seconds if self.calls else 0.0
        return self._saved(inputs) > BUILDING + 2 * cases.MOST * seconds

    def _made(self, copy: Any, precision: str) -> Build:
        assert self.calls is not None
        if precision == "int8":
            from souron.inference import int8

            return int8.build(copy, self.calls, self.folder, self.layers, self.cancelled.is_set, self.parts)
        return building.build(copy, self.calls, precision, self.folder, self.layers, self.cancelled.is_set, self.parts)

    def _attach(self, build: Build) -> None:
        """Let the build answer from the next call on."""
        try:
            made = [
                Dispatch(part_of(self.network, name), graphs, self._heard, self.count, self.distrust)
                for name, graphs in build.graphs.items()
            ]
        except KeyError as error:  # a fused network that lacks a module
            raise Refused(last_line(error)) from error
        if self.cancelled.is_set():
            raise Cancelled
        self.build, self.dispatches, self.state = build, made, "attached"
        for dispatch in made:
            dispatch.attach()
        for graph in (graph for graphs in build.graphs.values() for graph in graphs):
            graph.model = None  # what is compiled holds what it needs
        self.notice(sentence(build))

    def _heard(self, features: Features) -> None:
        if self.sensor is not None:
            self.sensor.take(features)

    def distrust(self, reason: str) -> None:
        """Let the network answer itself from now on, and say why."""
        self._refuse(reason)
        for dispatch in self.dispatches:
            dispatch.detach()

    def _refuse(self, reason: str) -> None:
        with self.lock:
            if self.state == "refused":
                return
            self.state, self.reason = "refused", reason
        self.notice(_("answers are computed by PyTorch alone: {why}").format(why=reason))

    def of(self, network: Any, sensor: Sensor | None) -> "Engine":
        """Return the same engine for a fused copy of the network."""
        return Engine(
            self.system,
            network,
            mode=self.mode,
            folder=self.folder,
            sensor=sensor,
            layers=self.layers,
            plan=self.plan,
            notice=self.notice,
            parts=self.parts,
        )

    def close(self) -> None:
        """Detach, and stop a build after its present step."""
        self.cancelled.set()
        for dispatch in self.dispatches:
            dispatch.detach()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for a build in the background."""
        if self.thread is not None:
            self.thread.join(seconds)


def sentence(build: Build) -> str:
    """Return what is said when an engine begins to answer."""
    record = build.record
    source = cases.source_names().get(str(record["source"]), "").format(count=record["cases"])
    return _("OpenVINO answers from now on ({precision}, checked on {cases})").format(
        precision=build.precision, cases=source
    )


@atexit.register
def _end() -> None:
    """Stop builds before the interpreter ends: a thread in a library's code would crash it."""
    for engine in list(running):
        engine.cancelled.set()
    for engine in list(running):
        engine.wait(LAST)
