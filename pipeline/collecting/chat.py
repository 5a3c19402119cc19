"""`chat`: a model asked directly, without tools. Its session is one row of messages, as teich writes them.

Reasoning is taken from whichever field the server uses, and kept as `thinking`; why each answer ended stands with it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pipeline.collecting.agent import Api, Line, Site, World
from pipeline.collecting.runs import Clock, cut_short, trace_of, with_status
from pipeline.errors import TraceError
from pipeline.records import Prompt, Trace, TraceFile

Json = dict[str, Any]
LONGEST = 8192
"""Tokens of an answer that says nothing of it, where the API must be told."""
UNKNOWN: Mapping[Api, tuple[str, ...]] = {"chat": (), "responses": ("seed", "stop"), "messages": ("seed",)}
"""Sampling parameters that an API does not have."""
REASONING = ("reasoning_content", "reasoning", "thinking")


class Chat:
    """An `Agent`."""

    paid = True

    def run(self, prompt: Prompt, world: World, site: Site | None) -> Iterator[Trace]:
        assert site is not None
        _check(prompt, site.api)
        clock = Clock(world.collection.limits.timeout)
        with site.line(prompt) as line:
            talk = Talk(prompt, site.api)
            failure = _ask(talk, line, clock)
        yield _trace(talk, world, line, clock, failure)

    async def wait(self, prompt: Prompt, world: World, site: Site) -> Trace:
        """As `run`, among many who wait for a batch."""
        _check(prompt, site.api)
        clock, failure = Clock(world.collection.limits.timeout), ""
        with site.line(prompt) as line:
            talk = Talk(prompt, site.api)
            while talk.goes_on and not failure:
                answer = await line.said(site.api, talk.body())
                if answer.get("error"):
                    failure = str(answer["error"].get("message"))
                else:
                    talk.hear(answer, line)
        return _trace(talk, world, line, clock, failure)


def _check(prompt: Prompt, api: Api) -> None:
    if not prompt.model:
        raise TraceError("no_model", "model: nothing says which; set it, or collect.model")
    if prompt.github_repo:
        raise TraceError("unsupported", "github_repo: chat has no tools to look at it; use codex or pi")
    told = msgspec.to_builtins(prompt.sampling)
    if unknown := [name for name in UNKNOWN[api] if name in told]:
        why = f"sampling: {api} has no {', '.join(unknown)}; leave it out, or set collect.endpoint.api: chat"
        raise TraceError("unsupported", why)


class Talk:
    """A conversation, turn by turn, until one gets no whole answer."""

    def __init__(self, prompt: Prompt, api: Api):
        self.prompt, self.api = prompt, APIS[api]
        self.asked = [prompt.prompt, *prompt.follow_up_prompts]
        self.history = list[Any](self.api.first(prompt))
        self.said: list[Json] = []
        self.cut = False

    @property
    def goes_on(self) -> bool:
        return not self.cut and len(self.said) < len(self.asked)

    def body(self) -> Json:
        """The next request."""
        self.history.append({"role": "user", "content": self.asked[len(self.said)]})
        return self.api.body(self.prompt, self.history)

    def hear(self, answer: Json, line: Line) -> None:
        message, goes_on = self.api.read(answer)
        self.said.append(message)
        self.history += goes_on
        self.cut = cut_short(line.exchanges)


def _ask(talk: Talk, line: Line, clock: Clock) -> Exception | None:
    """Talk to the end, or to what stops it."""
    import openai

    client = openai.OpenAI(base_url=line.url, api_key="none", max_retries=0)  # the recorder tries again
    while talk.goes_on:
        try:
            patient = client.with_options(timeout=clock.left)
            answer = patient.post(talk.api.path, body=talk.body(), cast_to=object)
        except openai.OpenAIError as error:
            return error
        talk.hear(answer, line)  # pyright: ignore[reportArgumentType]
    return None


def _trace(talk: Talk, world: World, line: Line, clock: Clock, failure: Exception | str | None) -> Trace:
    import openai  # half a second, which the graph need not wait for

    prompt = talk.prompt
    if not talk.said:
        raise TraceError("no_answer", f"prompt: {failure or 'the model answers nothing'}; run it again")
    files = (TraceFile("chat.jsonl", msgspec.json.encode(_row(prompt, talk.said, line)) + b"\n"),)
    version, late = f"openai {openai.__version__}", isinstance(failure, openai.APITimeoutError)
    trace = trace_of(prompt, files, line, clock, format="chat", agent_version=version)
    return with_status(trace, world.formats, timed_out=late)


def _row(prompt: Prompt, said: list[Json], line: Line) -> Json:
    """The session: messages first, then the rest of teich's row."""
    messages: list[Json] = [{"role": "system", "content": prompt.system}] if prompt.system is not None else []
    for asked, answer in zip((prompt.prompt, *prompt.follow_up_prompts), said, strict=False):
        messages += [{"role": "user", "content": asked}, answer]
    more = {"follow_up_prompts": list(prompt.follow_up_prompts)} if prompt.follow_up_prompts else {}
    usage = {"input": line.usage.input, "output": line.usage.output, "reasoning": line.usage.reasoning}
    return {
        "messages": messages,
        "prompt": prompt.prompt,
        **more,
        "responses": [answer["content"] for answer in said],
        "response": said[-1]["content"],
        "model": prompt.model,
        "usage": {**usage, "cacheRead": line.usage.cached, "totalTokens": line.usage.input + line.usage.output},
        "metadata": {"trace_type": "chat", "model": prompt.model, "turn_count": len(said)},
    }


@dataclass(frozen=True)
class Spoken:
    """One of the APIs."""

    path: str
    first: Callable[[Prompt], list[Json]]
    """What the history begins with."""
    body: Callable[[Prompt, list[Json]], Json]
    read: Callable[[Json], tuple[Json, list[Json]]]
    """Answer -> the message of the session, and what the history goes on with."""


def _chat_body(prompt: Prompt, history: list[Json]) -> Json:
    told = msgspec.to_builtins(prompt.sampling)
    extra = told.pop("extra", {})
    return {"model": prompt.model, "messages": history, **told, **extra}


def _chat_read(answer: Json) -> tuple[Json, list[Json]]:
    choice = answer["choices"][0]
    message, text = choice["message"], choice["message"].get("content")
    parts = text if isinstance(text, list) else []
    thought = next((message[field] for field in REASONING if isinstance(message.get(field), str)), None)
    thought = thought or _texts(message.get("reasoning_details") or [part for part in parts if "thinking" in part])
    said = _texts([part for part in parts if "text" in part]) if parts else str(text or "")
    return _message(said, thought, choice.get("finish_reason")), [{"role": "assistant", "content": said}]


def _texts(parts: list[Json]) -> str:
    """The texts of parts, whatever servers call them."""
    told = (part.get("text") or part.get("summary") or part.get("thinking") or "" for part in parts)
    return "".join(one if isinstance(one, str) else _texts(one) for one in told)


def _responses_body(prompt: Prompt, history: list[Json]) -> Json:
    told = msgspec.to_builtins(prompt.sampling)
    extra, effort = told.pop("extra", {}), told.pop("reasoning_effort", None)
    if limit := told.pop("max_tokens", None):
        told["max_output_tokens"] = limit
    if effort:
        told |= {"reasoning": {"effort": effort, "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    system = {"instructions": prompt.system} if prompt.system is not None else {}
    return {"model": prompt.model, "input": history, "store": False, **system, **told, **extra}


def _responses_read(answer: Json) -> tuple[Json, list[Json]]:
    """The whole answer goes on: reasoning that cannot be read helps the model all the same."""
    items = answer["output"]
    said = "".join(part.get("text", "") for one in items if one["type"] == "message" for part in one["content"])
    thought = "\n\n".join(
        part["text"] for one in items if one["type"] == "reasoning" for part in one.get("content") or one["summary"]
    )
    finish = (answer.get("incomplete_details") or {}).get("reason") or answer.get("status")
    return _message(said, thought, finish), items


def _messages_body(prompt: Prompt, history: list[Json]) -> Json:
    told = msgspec.to_builtins(prompt.sampling)
    extra = told.pop("extra", {})
    if stop := told.pop("stop", None):
        told["stop_sequences"] = stop
    if effort := told.pop("reasoning_effort", None):
        told["output_config"] = {"effort": effort}
    system = {"system": prompt.system} if prompt.system is not None else {}
    return {"model": prompt.model, "max_tokens": LONGEST, "messages": history, **system, **told, **extra}


def _messages_read(answer: Json) -> tuple[Json, list[Json]]:
    """The whole answer goes on, as with Responses."""
    blocks = answer["content"]
    said = "".join(block["text"] for block in blocks if block["type"] == "text")
    thought = "\n\n".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    return _message(said, thought, answer.get("stop_reason")), [{"role": "assistant", "content": blocks}]


def _message(said: str, thought: str | None, finish: str | None) -> Json:
    thinking = {"thinking": thought} if thought else {}
    return {"role": "assistant", "content": said, **thinking, "finish_reason": finish}


def _system(prompt: Prompt) -> list[Json]:
    return [{"role": "system", "content": prompt.system}] if prompt.system is not None else []


APIS: Mapping[Api, Spoken] = {
    "chat": Spoken("/chat/completions", _system, _chat_body, _chat_read),
    "responses": Spoken("/responses", lambda prompt: [], _responses_body, _responses_read),
    "messages": Spoken("/messages", lambda prompt: [], _messages_body, _messages_read),
}
