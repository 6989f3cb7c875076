"""An endpoint for each action of texts, made from its options: ``POST /studies/NAME``.

The texts of a request reach the action as ``Text``, never as names of files. Of the options only
numbers, switches, choices and texts may be set: files, models and devices are chosen by whoever
runs the server. Nothing is written. One action runs at a time, in a thread, and ends with its
request.
"""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from contextvars import copy_context
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.requests import Request
from starlette.responses import Response

from souron import registry
from souron.kinds.signature import Option
from souron.kinds.text import Text
from souron.registry import ActionEntry
from souron.serve import requests, responses, uploads
from souron.serve.service import Service
from souron.utils.files import as_json
from souron.utils.messages import UserError, _, unknown_option

GIVEN = "given"
PLAIN = (int, float, bool)


def add(app: FastAPI, service: Service) -> None:
    for entry in registry.actions().values():
        if entry.texts:
            _add(app, service, entry)


def _add(app: FastAPI, service: Service, entry: ActionEntry) -> None:
    """Add the route of one action."""
    form = body_of(entry)
    content = {uploads.JSON: {"schema": form.model_json_schema(), "example": example(entry)}}

    @app.post(
        f"/studies/{entry.name}",
        summary=_(entry.title),
        description=_("The JSON of the action, as souron {name} --json prints it.").format(name=entry.name),
        response_description=_("the action's record, and its result as a sentence"),
        responses={200: {"content": {uploads.JSON: {"schema": ANSWER}}}, **responses.errors()},
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )
    async def action(request: Request) -> Response:
        return await requests.answer(
            request, service, read(request, service, entry, form), lambda asked: conduct(service, entry.name, *asked)
        )


ANSWER = {
    "type": "object",
    "properties": {"sentence": {"type": "string"}},
    "required": ["sentence"],
    "additionalProperties": True,
}


def offered(entry: ActionEntry) -> list[Option]:
    """Return the options that a request may set."""
    return [one for one in entry.options if one.text or one.among or one.type in PLAIN]


def body_of(entry: ActionEntry) -> type[BaseModel]:
    """Return the form of a request: the texts, and each option that may be set."""
    themselves = _("texts themselves, not names of files")
    least, most = entry.given.least, entry.given.most
    fields: dict[str, Any] = {GIVEN: (list[str], Field(min_length=least, max_length=most, description=themselves))}
    for option in offered(entry):
        help = _(option.help)
        about = Field(
            option.default,
            alias=option.name,
            ge=option.low,
            le=option.high,
            description=f"{help}: {themselves}" if option.text else help,
        )
        fields[f"option_{option.name}"] = (_kind(option), about)
    return create_model(entry.name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _kind(option: Option) -> Any:
    if option.among:
        return Literal[option.among]
    if option.text:
        return list[str] if option.type is tuple else str
    return option.type


def example(entry: ActionEntry) -> dict[str, Any]:
    """Return a request with a place for each text."""
    lists = [one.name for one in entry.options if one.text and one.type is tuple]
    return {GIVEN: ["..."] * max(1, entry.given.least), **{name: ["..."] for name in lists}}


async def read(
    request: Request, service: Service, entry: ActionEntry, form: type[BaseModel]
) -> tuple[list[Text], dict[str, Any]]:
    """Read what is given and the options from the body of a request. Raises UserError."""
    body = await uploads.json_body(request, service.limits.file)
    try:
        asked = form.model_validate_json(body).model_dump(by_alias=True, exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise misunderstood(entry, first["type"], first["loc"], first["input"]) from error
    for option in entry.options:
        if option.text and option.name in asked:
            asked[option.name] = _texts(option.name, asked[option.name])
    given = _texts(GIVEN, asked.pop(GIVEN))
    count = sum(len(each) for each in (given, *asked.values()) if isinstance(each, tuple))
    uploads.check_count(count, service.limits)
    return list(given), asked


def _texts(name: str, said: str | Sequence[str]) -> Any:
    """Return each text under a name by which the answer can refer to it: ``sources-1``."""
    if isinstance(said, str):
        return Text(said, name)
    return tuple(Text(text, f"{name}-{number}") for number, text in enumerate(said, 1))


def misunderstood(entry: ActionEntry, why: str, where: Sequence[Any], value: Any) -> UserError:
    """Return the error of a body that does not fit: ``why`` in pydantic's words, and where."""
    name = str(where[0]) if where else ""
    options = {option.name: option for option in offered(entry)}
    if why == "extra_forbidden":
        return unknown_option(name[:100], [GIVEN, *options], "/docs")
    if name == GIVEN and why == "missing":
        found = _("{argument} is missing").format(argument=GIVEN)
        return UserError("argument", found, expected=as_json(example(entry)))
    if name == GIVEN or name in options:
        option = options.get(name)
        return UserError(
            "value",
            _("{name}={value} is not understood").format(name=name, value=as_json(value)[:100]),
            expected=as_json(example(entry))
            if option is None or option.text
            else option.allowed or option.type.__name__,
        )
    found = _("the JSON is not as expected")
    return UserError("broken upload", found, expected=as_json(example(entry)))


async def conduct(service: Service, name: str, given: Sequence[Text], options: Mapping[str, Any]) -> dict[str, Any]:
    """Run an action in the service's thread; if cancelled, it stops at its next event."""
    cancelled = threading.Event()
    run = copy_context().run  # in this request's language
    future = service.actions.submit(run, _conduct, name, given, options, cancelled)
    try:
        return await asyncio.wrap_future(future)
    finally:
        cancelled.set()


def _conduct(
    name: str, given: Sequence[Text], options: Mapping[str, Any], cancelled: threading.Event
) -> dict[str, Any]:
    action = registry.load_action(name)(writes=False)
    record = None
    with closing(action.run(given, action.read(options))) as events:
        for event in events:
            if cancelled.is_set():
                return {}
            record = event.record
    assert record is not None, f"{name}: the last event carries no Record"
    return {**record.as_json(), "sentence": " ".join(record.sentences())}
