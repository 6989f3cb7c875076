"""The tools of an assistant on this computer: the actions that only read, over standard input and output.

Model Context Protocol (2024). https://modelcontextprotocol.io

Each action with ``reads_only`` is a tool; its schema is made from what the action is given and its options. A
result is the record's sentences and caveats, and its JSON; an error says what was found, what was
expected and what to do. One tool runs at a time.
"""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import run as in_loop
from anyio.to_thread import run_sync
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations

import souron
from souron import registry
from souron.kinds.signature import Option
from souron.kinds.text import Text
from souron.mcp.confined import confine, inside
from souron.registry import ActionEntry
from souron.utils.files import as_json, there
from souron.utils.messages import UserError, _, near, unknown_option

GIVEN = "given"


def serve(folders: Sequence[Path]) -> None:
    """Answer on standard input and output until they close; only ``folders`` are read."""
    confine(folders)
    anyio.run(_serve, folders)


async def _serve(folders: Sequence[Path]) -> None:
    busy = anyio.Lock()

    async def list_tools(context: Any, asked: Any) -> ListToolsResult:
        return ListToolsResult(tools=[tool_of(entry) for entry in tools_by_name().values()])

    async def call_tool(context: Any, asked: Any) -> CallToolResult:
        stopped = threading.Event()

        def conduct() -> CallToolResult:
            try:
                return answered(*_conducted(asked.name, asked.arguments or {}, folders, advance, stopped))
            except UserError as error:
                return refused(error)
            except Exception as error:  # the assistant is to see it, and the server goes on
                return refused(UserError("bug", f"{type(error).__name__}: {error}", exit=1))

        def advance(fraction: float, text: str) -> None:
            in_loop(context.session.report_progress, fraction, 1.0, text)

        async with busy:
            try:
                return await run_sync(conduct, abandon_on_cancel=True)
            finally:
                stopped.set()

    server: Server = Server(
        "souron",
        version=souron.__version__,
        instructions=_(
            "souron measures AI systems offline. Pass a result's sentence and caveats on as they are: "
            '"cannot tell" is an answer.'
        ),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.clear()  # its only one reports each call to OpenTelemetry
    async with stdio_server() as (reads, writes):
        await server.run(reads, writes, server.create_initialization_options())


def tools_by_name() -> dict[str, ActionEntry]:
    """Return the actions that only read.

    >>> "verdict" in tools_by_name(), "tune" in tools_by_name()
    (True, False)
    """
    return {name: entry for name, entry in registry.actions().items() if entry.reads_only}


def offered(entry: ActionEntry) -> list[Option]:
    """Return the options of a tool: those of its action that write nothing beside the page."""
    return [option for option in entry.options if not option.writes]


def tool_of(entry: ActionEntry) -> Tool:
    """Return the description of a tool, with the JSON Schema of its arguments."""
    given = {
        "type": "array",
        "items": {"type": "string"},
        "description": f"{entry.given.metavar}: {_(entry.given.help)}",
        "minItems": entry.given.least,
    }
    if entry.given.most is not None:
        given["maxItems"] = entry.given.most
    properties = {option.name: {"description": _(option.help), **option.json_schema()} for option in offered(entry)}
    return Tool(
        name=entry.name,
        title=_(entry.title),
        description="\n".join([_(entry.title), *entry.examples]),
        input_schema={
            "type": "object",
            "properties": {GIVEN: given, **properties},
            "required": [GIVEN] if entry.given.least else [],
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(read_only_hint=entry.lookup, destructive_hint=False, open_world_hint=False),
    )


def _conducted(
    name: str, arguments: Mapping[str, Any], folders: Sequence[Path], advance: Any, stopped: threading.Event
) -> tuple[Any, list[Any]]:
    """Run an action to its end and return its record, and those of the parts before it. Raises UserError."""
    if (entry := tools_by_name().get(name)) is None:
        known = near(name, [*tools_by_name()])
        raise UserError("tool", _("there is no tool named {name!r}").format(name=name), expected=known)
    options = {key: value for key, value in arguments.items() if key != GIVEN}
    for option in entry.options:
        if option.writes and option.name in options:
            raise unknown_option(option.name, [each.name for each in offered(entry)])
    for word in _words(arguments):
        inside(word, folders)
    action = registry.load_action(name)(None if entry.lookup else "runs")
    action.camera = False
    action.tell = lambda event: advance(event.fraction, event.text)
    given: list[Any] = [str(word) for word in arguments.get(GIVEN) or []]
    entry.given.check(given, entry.examples[0])
    if entry.texts:
        given = [_text(word, f"{GIVEN}-{number}") for number, word in enumerate(given, 1)]
    for option in entry.options:
        if option.text and isinstance(options.get(option.name), list):
            words = enumerate(options[option.name], 1)
            options[option.name] = tuple(_text(word, f"{option.name}-{number}") for number, word in words)
    record, parts = None, []
    with closing(action.run(given, action.read(options))) as events:
        for event in events:
            if stopped.is_set():
                raise UserError("interrupted", _("interrupted"), exit=130)
            advance(event.fraction, event.text)
            record = event.record
            parts += [record] if entry.streams and record is not None else []
    assert record is not None, f"{name}: the last event carries no Record"
    if action.writes:
        record.write()
    return record, parts[:-1]


def _text(word: Any, name: str) -> Any:
    """Return the name of a file as it is, and any other text as itself, under a name."""
    return word if there(str(word)) else Text(str(word), name)


def _words(value: Any) -> Iterator[str]:
    """Yield every text in JSON, and what stands behind an ``=`` or between commas in it."""
    if isinstance(value, str):
        yield value
        yield from (part.strip() for word in value.split("=") for part in word.split(","))
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _words(part)


def answered(record: Any, parts: Sequence[Any] = ()) -> CallToolResult:
    """Return a record: its sentences and caveats, and its JSON; those of its ``parts`` first."""
    records = [*parts, record]
    caveats = [note for one in records for note in one.notes()]
    lines = [line for one in records for line in one.sentences()]
    lines += [_("caveat: {text}").format(text=note) for note in caveats]
    told = {**record.as_json(), "sentence": " ".join(record.sentences()), "notes": caveats}
    told |= {"answers": [part.as_json() for part in parts]} if parts else {}
    page = {"page": record.report} if record.report else {}
    return _result("\n".join(lines), {**told, **page})


def refused(error: UserError) -> CallToolResult:
    return _result(str(error), {"error": error.as_json()}, is_error=True)


def _result(text: str, told: Mapping[str, Any], is_error: bool = False) -> CallToolResult:
    content: list[Any] = [TextContent(type="text", text=text)]
    return CallToolResult(content=content, structured_content=json.loads(as_json(told)), is_error=is_error)
