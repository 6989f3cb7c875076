"""Everything that was made here in one list: runs, comparisons and the pages of studies; searched, filtered, sorted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markupsafe import Markup

from souron import registry
from souron.data import display_names
from souron.studio.jobs.job_queue import state_name
from souron.studio.runs import run_list, trash
from souron.studio.runs.run_list import Page, Run
from souron.studio.runs.run_view import in_own_language, kind_of, moment, plain, run_state
from souron.studio.shared import Studio
from souron.utils import units
from souron.utils.messages import LANGUAGES, N_, _, use_language

EACH = 50  # results on a page of the list
LONGEST = 200  # characters of a search
STATES = ("finished", "unfinished", "damaged")
FILTERS = {"kind": N_("kind"), "task": N_("task"), "data": N_("data"), "state": N_("state")}
SORTS = {  # name in the address -> the head of its column
    "name": N_("name"),
    "system": N_("system"),
    "data": N_("data"),
    "value": N_("measure"),
    "made": N_("when"),
    "seconds": N_("trained"),
    "size": N_("size"),
    "state": N_("state"),
}
DOWN = ("made", "size", "seconds")  # the largest first, unless asked otherwise
ASKED = ("q", "sort", "part", *FILTERS)


@dataclass(frozen=True)
class Item:
    """One result: a run or a comparison, or else a page that belongs to none."""

    run: Run | None
    page: Page | None
    kind: str  # "run", "comparison", or that of the page
    name: str
    made: float
    task: str = ""
    systems: tuple[str, ...] = ()
    data: str = ""
    state: str = "finished"

    @classmethod
    def of_run(cls, run: Run) -> "Item":
        kind, task = ("comparison", "") if run.compares else ("run", run.task)
        return cls(run, None, kind, run.name, run.made, task, run.systems, run.data, run.state)

    @property
    def comparable(self) -> bool:
        """Return whether it is a run that may be compared with another one of its task."""
        return self.kind == "run" and self.state == "finished" and self.run is not None and self.run.result is not None


def items(studio: Studio) -> list[Item]:
    """Return all results, newest first."""
    found = [Item.of_run(run) for run in run_list.runs(studio.project)]
    found += [Item(None, page, page.kind, page.name, page.made) for page in run_list.pages(studio.project)]
    return sorted(found, key=lambda item: (-item.made, item.name))


def kind_name(item: Item) -> str:
    if item.page is not None:
        return kind_of(item.page)
    return {"run": _("run"), "comparison": _("comparison")}[item.kind]


def state_text(state: str) -> str:
    return {"finished": _("finished"), "unfinished": _("not finished"), "damaged": _("damaged")}[state]


def searched(item: Item) -> str:
    """Return what a search looks at: name, system, data, task, kind and state, in each language."""
    more = (item.name, *item.systems, item.data)
    return _facts(item.kind, item.task, item.data, item.state, item.page) + plain("\n".join(more))


@lru_cache(4096)
def _facts(kind: str, task: str, data: str, state: str, page: Page | None) -> str:
    texts = [kind, task]
    item = Item(None, page, kind, "", 0.0)
    for language in LANGUAGES:
        with use_language(language):
            texts += [kind_name(item), run_list.task_name(task) if task else "", state_text(state)]
            texts.append(display_names.called(data))
    return plain("\n".join(texts)) + "\n"


def chosen(found: Sequence[Item], query: Mapping[str, str]) -> list[Item]:
    """Return the results that match the search and the filters of an address."""
    words = plain(query.get("q", "")[:LONGEST]).split()
    wanted = {name: query[name] for name in FILTERS if query.get(name)}

    def fits(item: Item) -> bool:
        own = {"kind": item.kind, "task": item.task, "data": item.data, "state": item.state}
        if any(own[name] != value for name, value in wanted.items()):
            return False
        text = searched(item) if words else ""
        return all(word in text for word in words)

    return [item for item in found if fits(item)]


def ordered(found: Sequence[Item], sort: str) -> list[Item]:
    """Return the results in the order of an address: a column's name, with ``-`` the other way round."""
    name = sort.removeprefix("-")
    if name not in SORTS:
        return list(found)
    other = sort.startswith("-")
    keyed = [(_key(item, name), item) for item in found]
    having = [pair for pair in keyed if pair[0] is not None]
    having.sort(key=lambda pair: pair[0], reverse=(name in DOWN) != other)
    return [item for _key_of, item in having] + [item for key, item in keyed if key is None]


def _key(item: Item, name: str) -> Any:
    """Return what a result is sorted by; None where it has none, which comes last."""
    run = item.run
    if name == "made":
        return item.made
    if name == "size":
        return run_list.weight(run) if run is not None else None
    if name == "seconds":
        return run.seconds if run is not None else None
    if name == "value":  # the best of each measure first
        if run is None or run.result is None or run.result.value != run.result.value:
            return None
        better = registry.metric(run.result.measure).higher_is_better
        return run.result.measure, -run.result.value if better else run.result.value
    text = {"name": item.name, "system": ", ".join(item.systems), "data": item.data, "state": item.state}[name]
    return plain(text) or None


def listing(studio: Studio, query: Mapping[str, str], every: Sequence[Item] | None = None) -> Markup:
    """Return the page of the list that an address asks for; ``every`` are all results, if they are read already."""
    every = items(studio) if every is None else every
    found = ordered(chosen(every, query), query.get("sort", ""))
    if not found:
        return Markup('<p role="status">{}</p>').format(
            _("Nothing was made here yet.") if not every else _("No result matches.")
        )
    last = (len(found) - 1) // EACH
    asked = query.get("part", "")
    page = min(max(int(asked) - 1, 0), last) if asked.isdecimal() and len(asked) < 9 else 0
    some = found[page * EACH : (page + 1) * EACH]
    caption = _("{count} results").format(count=units.whole(len(found)))
    if last:
        caption = _("{first} to {last} of {count} results").format(
            first=units.whole(page * EACH + 1), last=units.whole(page * EACH + len(some)), count=units.whole(len(found))
        )
    heads = Markup("").join(_head(studio, query, name, _(title)) for name, title in SORTS.items())
    rows = Markup("").join(row(studio, item) for item in some)
    return Markup(
        '<div class="scroll" tabindex="0"><table><caption role="status">{}</caption><thead><tr>'
        '<th scope="col"><span class="unseen">{}</span></th>{}</tr></thead><tbody>{}</tbody></table></div>{}'
    ).format(caption, _("select"), heads, rows, _turning(studio, query, page, last))


def address(studio: Studio, query: Mapping[str, str], **changed: Any) -> str:
    """Return the address of the list with a search and filters."""
    kept = {name: query[name] for name in ASKED if query.get(name)}
    return studio.url("runs", **{**kept, **changed})


def _head(studio: Studio, query: Mapping[str, str], name: str, title: str) -> Markup:
    now = query.get("sort") or "made"
    here = now.removeprefix("-") == name
    way = f"-{name}" if now == name else name
    down = (name in DOWN) == (now == name)
    mark = Markup(' aria-sort="{}"').format("descending" if down else "ascending") if here else ""
    arrow = (" ↓" if down else " ↑") if here else ""
    link = address(studio, query, sort="" if way == "made" else way, part="")
    return Markup('<th scope="col"{}><a href="{}" data-go>{}{}</a></th>').format(mark, link, title, arrow)


def _turning(studio: Studio, query: Mapping[str, str], page: int, last: int) -> Markup:
    """Return links to the pages before and after."""
    if not last:
        return Markup()
    links = [
        Markup('<a href="{}" data-go>{}</a>').format(address(studio, query, part=to + 1 if to else ""), text)
        for to, text in ((page - 1, _("← before")), (page + 1, _("after →")))
        if 0 <= to <= last
    ]
    return Markup('<p class="actions">{}</p>').format(Markup("").join(links))


def row(studio: Studio, item: Item) -> Markup:
    """Return the row of a result: what is selected by it, and its facts under their heads."""
    run, pick = item.run, Markup()
    if run is not None:
        pick = Markup('<input type="checkbox" autocomplete="off" value="{}" data-task="{}" aria-label="{}">').format(
            f"{run.task}/{run.name}", item.task if item.comparable else "", _("select {name}").format(name=item.name)
        )
        link = Markup('<a href="{}">{}</a>').format(studio.url("runs", run=f"{run.task}/{run.name}"), item.name)
    else:
        assert item.page is not None
        file = studio.address(in_own_language(studio, item.page.file))
        link = Markup('<a href="{}" target="_blank" rel="noopener">{}</a>').format(file, item.name)
        link = link if file else Markup("{}").format(item.name)
    what = run_list.task_name(item.task) if item.task else kind_name(item)
    state: str = "" if run is None else run_state(run)
    if run is not None and run.state == "unfinished":
        busy = trash.user_of(studio.jobs, run.folder)
        state = state if busy is None else state_name(busy, busy.state)
    cells = (
        Markup("{}<br><small>{}</small>").format(link, what),
        ", ".join(item.systems),
        display_names.called(item.data),
        str(run.result or "") if run is not None else "",
        moment(item.made),
        units.seconds(run.seconds) if run is not None and run.seconds is not None else "",
        units.size(run_list.weight(run)) if run is not None else "",
        state,
    )
    told = Markup("").join(
        Markup('<td data-head="{}">{}</td>').format(_(title), cell)
        for title, cell in zip(SORTS.values(), cells, strict=True)
    )
    return Markup("<tr><td>{}</td>{}</tr>").format(pick, told)


def controls(every: Sequence[Item], query: Mapping[str, str]) -> Markup:
    """Return the search box and a list of choices for each filter, set as in the address."""
    names = {
        "kind": {item.kind: kind_name(item) for item in every},
        "task": {item.task: run_list.task_name(item.task) for item in every if item.task},
        "data": {item.data: display_names.called(item.data) for item in every if item.data},
        "state": {state: state_text(state) for state in STATES if any(item.state == state for item in every)},
    }
    choices = Markup("").join(_choice(name, _(title), names[name], query) for name, title in FILTERS.items())
    return Markup(
        '<div class="filters"><label>{}<input type="search" name="q" maxlength="{}" value="{}" placeholder="{}">'
        "</label>{}</div>"
    ).format(_("search"), LONGEST, query.get("q", "")[:LONGEST], _("name, system, data, task, state"), choices)


def _choice(name: str, title: str, values: Mapping[str, str], query: Mapping[str, str]) -> Markup:
    now = query.get(name, "")
    known = {**values, **({now: now} if now and now not in values else {})}
    shown = list(known.values())
    options = Markup("").join(
        Markup('<option value="{}"{}>{}</option>').format(
            value,
            Markup(" selected") if value == now else "",
            text if shown.count(text) == 1 else f"{text} ({value})",  # two folders of one name
        )
        for value, text in sorted(known.items(), key=lambda pair: plain(pair[1]))
    )
    return Markup('<label>{}<select name="{}"><option value="">{}</option>{}</select></label>').format(
        title, name, _("all"), options
    )
