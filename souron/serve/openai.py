"""Requests and answers of OpenAI's API for a local language model.

Programs written for ``/v1/chat/completions``, ``/v1/completions`` and ``/v1/models`` can use it:
https://platform.openai.com/docs/api-reference/chat. Features that are not supported, such as tools
or several answers, are refused, never ignored.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, suppress
from contextvars import copy_context
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from souron.evaluation.language.conversation import LENGTH, MOST_DRAWN, MOST_LENGTH, Answer, Reply, Screen, Voice
from souron.evaluation.language.text_generation import Sampling
from souron.kinds.chat import Chat, Turn
from souron.serve import uploads
from souron.serve.service import Service, as_user_error
from souron.utils.files import as_json
from souron.utils.messages import UserError, _

MOST_STOPS, LONGEST_STOP = 4, 200
MOST_MESSAGES = 10_000
STATUS = {  # error code -> HTTP status; 400 for other codes
    "model": 404,
    "too large": 413,
    "content type": 415,
    "bug": 500,
    "memory": 500,
    "busy": 503,
    "timeout": 504,
}
ENDS = {"end": "stop", "length": "length", "context": "length", "user": "stop"}
DONE = "data: [DONE]\n\n"


def _one_text(content: Any) -> Any:
    """Return the text of a message, which OpenAI's clients may also send in parts."""
    if isinstance(content, list) and content:
        kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
        if set(kinds) == {"text"}:
            return "".join(str(part.get("text", "")) for part in content)
    return content


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value or []


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_one_text)]


class StreamOptions(BaseModel):
    include_usage: bool = False


class Asked(BaseModel):
    """Fields that both routes accept; unknown ones could change the answer and are refused."""

    model_config = ConfigDict(extra="forbid")

    model: str = ""
    max_tokens: int | None = Field(None, ge=1, le=MOST_LENGTH)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0.01, le=1)
    seed: int | None = Field(None, ge=0, le=MOST_DRAWN)
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]], BeforeValidator(_listed)] = (
        Field([], max_length=MOST_STOPS)
    )
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = 1
    user: str | None = None  # accepted without effect, like the next fields:
    metadata: dict[str, Any] | None = None
    store: Literal[False] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None

    def sampling(self, voice: Voice) -> Sampling:
        return voice.sampling(self.temperature, self.top_p, self.seed or 0)


class ChatAsked(Asked):
    messages: list[Message] = Field(min_length=1, max_length=MOST_MESSAGES)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_LENGTH)

    @property
    def length(self) -> int:
        return self.max_completion_tokens or self.max_tokens or LENGTH

    def ask(self, service: Service) -> Answer:
        """Return the answer in a conversation, which is not generated yet. Raises UserError."""
        roles = {"developer": "system"}
        turns = [Turn(roles.get(one.role, one.role), one.content) for one in self.messages]
        voice = voice_of(service)
        return voice.answer(Chat(turns).turns, self.length, self.sampling(voice), screen(service))


class TextAsked(Asked):
    prompt: Annotated[list[str], BeforeValidator(_listed)] = Field(min_length=1, max_length=1)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: None = None
    suffix: None = None

    @property
    def length(self) -> int:
        return self.max_tokens or LENGTH

    def ask(self, service: Service) -> Answer:
        """Return the continuation of a text, which is not generated yet. Raises UserError."""
        voice = voice_of(service)
        return voice.completion(self.prompt[0], self.length, self.sampling(voice), screen(service))


EXAMPLES: dict[type[Asked], dict[str, Any]] = {
    ChatAsked: {"model": "...", "messages": [{"role": "user", "content": "..."}]},
    TextAsked: {"model": "...", "prompt": "..."},
}


def voice_of(service: Service) -> Voice:
    """Return the voice of a service whose model is a language model."""
    assert service.voice is not None
    return service.voice


def screen(service: Service) -> Screen | None:
    """Return the filter of one answer; None if the service does not filter."""
    return service.filtered.screen() if service.filtered else None


async def answered(request: Request, service: Service, form: "type[ChatAsked | TextAsked]") -> Response:
    """Answer one request; the answers to several requests are generated one after the other."""
    try:
        if service.waiting >= service.limits.requests:
            raise UserError("busy", _("too many requests wait"), fix=_("again in a second"))
        async with asyncio.timeout(service.limits.seconds):
            asked = await read(request, service, form)
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(None, copy_context().run, asked.ask, service)
    except TimeoutError:
        return failed(_late(service))
    except UserError as error:
        return failed(error)
    chat = form is ChatAsked
    words = Words(service, answer, asked.stop)
    told = Told(service.name, chat, answer, bool(asked.stream_options and asked.stream_options.include_usage))
    if asked.stream:
        return StreamingResponse(streamed(words, told), media_type="text/event-stream")
    try:
        return respond(await whole(request, words, told))
    except UserError as error:
        return failed(error)


async def read(request: Request, service: Service, form: type[Any]) -> Any:
    """Read and validate the body of a request. Raises UserError."""
    body = await uploads.json_body(request, service.limits.request)
    try:
        asked = form.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            "request",
            _("the request is not understood: {where}: {why}").format(where=where, why=first["msg"]),
            expected=as_json(EXAMPLES[form]),
        ) from error
    if asked.model and asked.model != service.name:
        raise UserError(
            "model",
            _("there is no model {name!r} here").format(name=asked.model[:200]),
            expected=service.name,
            fix="/v1/models",
        )
    return asked


def _late(service: Service) -> UserError:
    return UserError(
        "timeout",
        _("there was no answer within {seconds} s").format(seconds=f"{service.limits.seconds:g}"),
        expected=_("a shorter answer, or a server with more time"),
        fix="souron serve ... timeout=120",
    )


class Words:
    """Parts of an answer as they are generated, within the service's time limit.

    The model generates in a thread of its own, and stops at a stop text or when the client is gone.
    """

    def __init__(self, service: Service, answer: Answer, stops: Sequence[str]) -> None:
        self.service, self.answer, self.stops = service, answer, stops
        self.text = ""
        self.ended_by_text = False

    async def __aiter__(self) -> AsyncIterator[str]:
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def tell(part: Any) -> None:
            with suppress(RuntimeError):  # the server has ended meanwhile
                loop.call_soon_threadsafe(parts.put_nowait, part)

        def write() -> None:
            try:
                for part in self.parts():
                    tell(part)
                tell(None)
                self.read_ahead()
            except Exception as error:
                tell(as_user_error(error))

        thread = threading.Thread(target=copy_context().run, args=(write,), daemon=True)
        self.service.waiting += 1
        thread.start()
        try:

            async def following() -> Any:
                return await asyncio.wait_for(parts.get(), self.service.limits.seconds)

            while (part := await following()) is not None:
                if isinstance(part, UserError):
                    raise part
                yield part
            self.service.served += 1
        except TimeoutError as error:
            raise _late(self.service) from error
        finally:
            self.answer.stop()
            self.service.waiting -= 1

    def read_ahead(self) -> None:
        """Read the conversation with this answer, with which the next question is expected to come."""
        prompt = self.answer.prompt
        ended = self.ended_by_text or self.answer.stopped_by in ("end", "length")
        if ended and self.text and prompt.turns and not prompt.dropped_turns:
            with suppress(UserError):  # a template that renders no conversation without a last question
                self.answer.voice.read_ahead((*prompt.turns, Turn("assistant", self.text)))

    def parts(self) -> Iterator[str]:
        """Yield the parts up to a stop text, holding back what may be the beginning of one."""
        told = 0
        with closing(iter(self.answer)) as coming:  # type: ignore[type-var]
            for part in coming:
                self.text += part
                found = [place for stop in self.stops if (place := self.text.find(stop)) >= 0]
                if found:
                    self.text, self.ended_by_text = self.text[: min(found)], True
                    break
                safe = len(self.text) - _begun(self.text, self.stops)
                if safe > told:
                    yield self.text[told:safe]
                    told = safe
        if len(self.text) > told:
            yield self.text[told:]


def _begun(text: str, stops: Sequence[str]) -> int:
    """Return the number of characters at the end that may be the beginning of a stop text."""
    return max((n for stop in stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)


class Told:
    """An answer in the format of OpenAI's API."""

    def __init__(self, name: str, chat: bool, answer: Answer, usage: bool) -> None:
        self.chat, self.answer, self.usage = chat, answer, usage
        self.about = {
            "id": ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
            "created": int(time.time()),
            "model": name,
            "system_fingerprint": answer.voice.engine,
        }

    def counts(self) -> dict[str, Any]:
        reply = self.answer.reply
        used = {
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.tokens,
            "total_tokens": reply.prompt_tokens + reply.tokens,
        }
        own = reply.as_json()
        return {
            "usage": used,
            "souron": {
                "dropped_turns": len(reply.dropped_turns),
                **{
                    name: own[name]
                    for name in (
                        "dropped_tokens",
                        "stopped_by",
                        "seconds_to_first",
                        "tokens_per_second",
                        "engine",
                        "seed",
                    )
                },
                **self.withheld(reply),
            },
        }

    def withheld(self, reply: Reply) -> dict[str, Any]:
        """Return the reasons why sentences were withheld, without the sentences."""
        if reply.withheld is None:
            return {}
        return {"withheld": [found.kind or "lexicon" for found in reply.withheld]}

    def whole(self, words: Words) -> dict[str, Any]:
        said = {"message": {"role": "assistant", "content": words.text}} if self.chat else {"text": words.text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": self.end(words)}
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self.about, "object": kind, "choices": [choice], **self.counts()}

    def part(self, delta: dict[str, str], end: str | None = None) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": delta} if self.chat else {"text": delta.get("content", "")}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": end}
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self.about, "object": kind, "choices": [choice]}

    def end(self, words: Words) -> str:
        if self.answer.reply.withheld:
            return "content_filter"
        return "stop" if words.ended_by_text else ENDS.get(self.answer.stopped_by, "stop")


async def streamed(words: Words, told: Told) -> AsyncIterator[str]:
    """Yield server-sent events; a disconnect cancels this and stops generation."""
    if told.chat:
        yield _event(told.part({"role": "assistant", "content": ""}))
    try:
        async for part in words:
            yield _event(told.part({"content": part}))
    except UserError as error:
        yield _event(problem(error))
        return
    yield _event({**told.part({}, told.end(words)), "souron": told.counts()["souron"]})
    if told.usage:
        yield _event({**told.part({}), "choices": [], "usage": told.counts()["usage"]})
    yield DONE


def _event(thing: Any) -> str:
    return f"data: {as_json(thing)}\n\n"


async def whole(request: Request, words: Words, told: Told) -> dict[str, Any]:
    """Return the complete answer. Raises UserError, and ClientDisconnect if the client is gone."""

    async def work() -> None:
        try:
            async with asyncio.timeout(words.service.limits.seconds):
                async for _part in words:
                    pass
        except TimeoutError as error:
            raise _late(words.service) from error

    async def leaving() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, gone = asyncio.create_task(work()), asyncio.create_task(leaving())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        working.result()
        return told.whole(words)
    finally:
        words.answer.stop()
        working.cancel()
        gone.cancel()


def respond(content: Any, status: int = 200) -> Response:
    return Response(as_json(content), status, media_type=uploads.JSON)


def problem(error: UserError) -> dict[str, Any]:
    """Return an error in the format of OpenAI's API, with souron's own fields added."""
    return {
        "error": {
            "message": str(error),
            "type": "server_error" if error.code in ("bug", "memory") else "invalid_request_error",
            "param": None,
            "code": "context_length_exceeded" if error.code == "context" else error.code,
            "found": error.found,
            "expected": error.expected,
            "try": error.fix,
        }
    }


def failed(error: UserError) -> Response:
    response = respond(problem(error), STATUS.get(error.code, 400))
    if response.status_code == 503:
        response.headers["retry-after"] = "1"
    return response
