"""`Chat`: text, masks and rows of conversations, and what chat-bricks was measured to get wrong."""

import json
import re
from copy import deepcopy
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import transformers

from renderers import (
    Chat,
    Message,
    Request,
    Template,
    TemplateError,
    Tokenizer,
    TokenizerError,
    UnknownFlag,
    UnknownModel,
    compare_hf_template,
    from_hub,
    get_template,
    register_template,
    tokenize_chats,
    tokenize_conversations,
)
from renderers.chatting.builtin import ALIASES, TEMPLATES
from renderers.errors import RendererError
from renderers.tracing.witness import TracedTemplate

OWN = Template(
    "own",
    system_template="<|im_start|>system\n{system_message}{tools}<|im_end|>\n",
    user_template="<|im_start|>user\n{content}<|im_end|>\n",
    assistant_template="<|im_start|>assistant\n{content}{tool_calls}<|im_end|>\n",
    stop_words="<|im_end|>",
)
NAMES = {
    "qwen2.5": "qwen2.5",
    "qwen3": "qwen3",
    "qwen3-instruct": "qwen3-2507-instruct",
    "glm-4.5": "glm-4.5",
    "llama-3.2": "llama-3.2",
    "deepseek-v3.1": "deepseek-v3.1",
    "kimi-k2-instruct": "kimi-k2",
}
"""Names of chat-bricks, and the official templates that they stand for."""
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather in Zürich 🌦.",
        "parameters": {"type": "object", "properties": {}},
    },
}
CALL = {
    "id": "functions.weather:0",
    "type": "function",
    "function": {"name": "weather", "arguments": {"city": "Zürich"}},
}
SWAPPED = {"id": "functions.weather:0", "type": "function", "function": {"arguments": {"a": 1}, "name": "weather"}}


def user(content: str = "Q") -> dict:
    return {"role": "user", "content": content}


def assistant(content: str = "A", **more) -> dict:
    return {"role": "assistant", "content": content, **more}


RESULT = {"role": "tool", "content": "ü 21°", "tool_call_id": "functions.weather:0", "name": "weather"}
CYCLE = [user(), assistant("<think>\nT\n</think>\n\nlooking", tool_calls=[CALL]), RESULT, assistant("done")]
CONVERSATIONS = {
    "inline thoughts in history": [
        user(),
        assistant("<think>\nR1\n</think>\n\nA1"),
        user("Q2"),
        assistant("<think>\nR2\n</think>\n\nA2"),
    ],
    "a live tool cycle": CYCLE,
    "reasoning_content": [user(), assistant(reasoning_content="R")],
    "tools and an empty system message": [{"role": "system", "content": ""}, user(), assistant()],
    "keys of a call in another order": [user(), assistant("", tool_calls=[SWAPPED]), RESULT, assistant()],
    "content that begins with a newline": [user("\nx"), assistant("\nA")],
    "an empty answer": [user(), assistant("")],
    "braces": [user("{content} {{x}} {tool_calls}"), assistant("{tools}")],
    "a plain chat": [user(), assistant(), user("Q2"), assistant("A2")],
}
"""What the built-ins of chat-bricks tell otherwise than the official template, and what they tell alike."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("told", CONVERSATIONS)
def test_a_built_in_name_tells_what_the_official_template_tells(name, told, traced):
    for tools in (None, [TOOL]):
        chat = Chat(name, CONVERSATIONS[told], tools, today=date(2025, 7, 1))
        try:
            official = traced(NAMES[name]).tell(Request(from_hub(chat.messages), tuple(tools or ()))).text
        except TemplateError:
            continue
        assert chat.prompt() == official


def test_arguments_as_text_and_content_as_parts_or_none_are_told_as_they_mean():
    text = deepcopy(CYCLE)
    text[1]["tool_calls"][0]["function"]["arguments"] = json.dumps(CALL["function"]["arguments"], ensure_ascii=False)
    assert Chat("qwen3", text).prompt() == Chat("qwen3", CYCLE).prompt()
    parts = [user(), assistant([{"type": "text", "text": "A"}, {"type": "text", "text": "B"}])]
    assert Chat("qwen2.5", parts).prompt() == Chat("qwen2.5", [user(), assistant("AB")]).prompt()
    none = [user(), assistant(None, tool_calls=[CALL])]
    assert Chat("qwen2.5", none).prompt() == Chat("qwen2.5", [user(), assistant("", tool_calls=[CALL])]).prompt()
    late = [user(), assistant(), {"role": "system", "content": "late"}, user(), {"role": "developer", "content": "D"}]
    assert "<|im_start|>system\nlate<|im_end|>" in Chat("qwen3", late).prompt()


@pytest.fixture(scope="module")
def qwen3(load) -> Tokenizer:
    return load("qwen3")


@pytest.fixture(scope="module")
def hub(official):
    """Qwen3's tokenizer as transformers loads it."""
    return transformers.AutoTokenizer.from_pretrained(official("qwen3"))


@pytest.fixture(
    params=[OWN, "qwen2.5", TracedTemplate(OWN.jinja_template(), added={"<|im_end|>": True})],
    ids=["own", "family", "traced"],
)
def template(request) -> Template | str | TracedTemplate:
    """A template of one's own, a family's name, and a chat template that is traced."""
    return request.param


def trained(chat: Chat, tokenizer: Tokenizer, **settings) -> str:
    """The text of what a chat trains, once its row has been looked over."""
    row = chat.tokenize(tokenizer, **settings)
    assert tokenizer.decode(row["input_ids"]) == chat.prompt()
    assert np.array_equal(row["labels"], np.where(row["action_mask"] == 1, row["input_ids"], -100))
    assert row["attention_mask"].all()
    return tokenizer.decode(row["input_ids"][row["action_mask"] == 1])


TWO_TURNS = [user(), assistant("15."), user("Q2"), assistant("17.")]


def test_exactly_what_the_model_writes_is_trained(template, qwen3):
    assert trained(Chat(template, TWO_TURNS), qwen3) == "15.<|im_end|>17.<|im_end|>"
    assert trained(Chat(template, TWO_TURNS), qwen3, train_on_last_turn_only=True) == "17.<|im_end|>"


def test_a_spelled_control_token_neither_ends_an_answer_nor_becomes_one(template, qwen3):
    told = [user("<|im_start|>system"), assistant("the token <|im_end|> ends it")]
    assert trained(Chat(template, told), qwen3) == "the token <|im_end|> ends it<|im_end|>"
    ids, plain = (Chat(template, messages).tokenize(qwen3)["input_ids"] for messages in (told, TWO_TURNS[:2]))
    for token in qwen3.control.values():
        assert (ids == token).sum() == (plain == token).sum()


def test_no_role_header_is_trained_where_the_assistant_speaks_first(template, qwen3):
    assert trained(Chat(template, [assistant("first"), *TWO_TURNS]), qwen3) == "15.<|im_end|>17.<|im_end|>"


def test_the_last_turn_is_all_that_follows_the_last_user_message(qwen3):
    chat = Chat("qwen2.5", [user(), assistant("first"), *CYCLE])
    last = trained(chat, qwen3, train_on_last_turn_only=True)
    assert last.endswith("</tool_call><|im_end|>done<|im_end|>")
    assert trained(chat, qwen3) == "first<|im_end|>" + last


def test_a_family_that_rewrites_history_trains_what_it_can_prove(qwen3):
    told = CONVERSATIONS["inline thoughts in history"]
    assert trained(Chat("qwen3", told), qwen3) == "<think>\nR2\n</think>\n\nA2<|im_end|>"
    live = trained(Chat("qwen3", CYCLE), qwen3)
    assert live.startswith("<think>\nT\n</think>\n\nlooking\n<tool_call>")  # reasoning of a live cycle is kept


def test_a_masked_prompt_shows_the_prompt_and_what_is_trained(template):
    shown = Chat(template, [user("Q\x1b[2J"), assistant("A\nB")]).prompt_with_mask()
    runs = re.findall(r"\x1b\[([\d;]+)m(.*?)\x1b\[0m", shown)
    assert "".join(text for codes, text in runs if codes.startswith("1;4")) == "A⏎B<|im_end|>"
    assert "Q␛[2J" in "".join(text for _, text in runs)


def test_a_tokenizer_of_transformers_gives_the_same_rows_as_it_is_now(hub, qwen3):
    chat = Chat("qwen3", CYCLE, [TOOL])
    ours, theirs = chat.tokenize(qwen3), chat.tokenize(hub)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert Chat("some/model", CYCLE, tokenizer=hub).prompt() == Chat("qwen3", CYCLE).prompt()  # by its chat template
    changed = deepcopy(hub)
    changed.chat_template = OWN.jinja_template()
    with pytest.warns(UserWarning, match="it is traced"):
        assert Chat("some/model", TWO_TURNS, tokenizer=changed).prompt() == Chat(OWN, TWO_TURNS).prompt()


def test_a_name_that_nothing_knows_is_refused_and_fetches_nothing(monkeypatch, qwen3):
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: pytest.fail("fetched"))
    with pytest.raises(UnknownModel, match=r"no template 'qwen9': register_template one, .* or one of .*qwen2\.5"):
        Chat("qwen9", TWO_TURNS)
    with pytest.raises(UnknownModel, match="no family knows the model 'evil/model': give its tokenizer"):
        Chat("evil/model", TWO_TURNS).prompt()
    with pytest.raises(TokenizerError, match=r"no tokenizer to encode with: give one to Chat\(tokenizer=…\)"):
        Chat(OWN, TWO_TURNS).tokenize()
    with pytest.raises(UnknownFlag, match=r"qwen2\.5 has no flag 'thinking'"):
        Chat("qwen2.5", TWO_TURNS).prompt(thinking=True)
    with pytest.raises(TemplateError, match="an empty conversation"):
        Chat("qwen3", []).tokenize(qwen3)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"content": "Q"}, "message 1: Object missing required field `role`"),
        ({"role": "robot", "content": "Q"}, "message 1: Invalid enum value 'robot'"),
        ({"role": "user", "content": 3}, r"message 1: Expected `str \| array`, got `int`"),
        (
            assistant("", tool_calls=[{"function": {"name": "f"}}]),
            r"message 1: tool_calls\[0\] has no name and arguments",
        ),
    ],
)
def test_a_message_that_is_none_is_refused_by_its_number(message, why):
    with pytest.raises(TemplateError, match=why):
        Chat(OWN, [user(), message]).prompt()


def test_messages_may_come_in_any_of_the_usual_shapes():
    shared = [{"from": "system", "value": "S"}, {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]
    told = [{"role": "system", "content": "S"}, user(), assistant()]
    assert Chat(OWN, shared).prompt() == Chat(OWN, told).prompt() == Chat(OWN, from_hub(told)).prompt()
    chat = Chat("qwen2.5", [user()])
    chat.append({"role": "assistant", "tool_calls": [CALL]})
    chat.append(Message("tool", "21"))
    assert chat.prompt().endswith(
        "</tool_call><|im_end|>\n<|im_start|>user\n<tool_response>\n21\n</tool_response><|im_end|>\n"
    )


def test_what_is_given_once_holds_once(qwen3):
    chat = Chat("qwen2.5", TWO_TURNS, [TOOL], tokenizer=qwen3)
    bare = Chat("qwen2.5", TWO_TURNS).prompt()
    assert chat.prompt(tools=[]) == bare
    assert qwen3.decode(chat.tokenize(tools=[])["input_ids"]) == bare
    assert "# Tools" in chat.prompt()
    assert chat.prompt(add_generation_prompt=True) == chat.prompt() + "<|im_start|>assistant\n"
    assert Chat("qwen3", TWO_TURNS).prompt(True, enable_thinking=False).endswith("<think>\n\n</think>\n\n")


def test_the_callers_messages_stay_as_they_are(qwen3):
    given = deepcopy(CYCLE)
    chat = Chat("qwen2.5", given, [TOOL], ignore_tool_calls=True)
    assert "<tool_call>" not in chat.prompt().split("# Tools")[1].split("<|im_end|>", 1)[1]
    chat.tokenize(qwen3)
    chat.append(user())
    assert given == CYCLE


def test_a_batch_is_the_rows_of_its_chats_in_one_call_of_the_engine(qwen3, monkeypatch):
    chats = [Chat(OWN, TWO_TURNS), Chat("qwen2.5", CYCLE, [TOOL]), Chat("qwen3", TWO_TURNS[:2])]
    rows = [chat.tokenize(qwen3) for chat in chats]
    calls, encode = [], Tokenizer.encode_flat
    monkeypatch.setattr(Tokenizer, "encode_flat", lambda *a, **k: calls.append(a) or encode(*a, **k))
    for side in ("right", "left"):
        batch = tokenize_chats(chats, qwen3, padding_side=side)
        assert {table.shape for table in batch.values()} == {(3, max(len(row["input_ids"]) for row in rows))}
        for number, row in enumerate(rows):
            kept = batch["attention_mask"][number] == 1
            assert all(np.array_equal(batch[name][number][kept], row[name]) for name in row)
            assert kept[0 if side == "right" else -1]
            assert set(batch["labels"][number][~kept]) <= {-100}
            assert set(batch["input_ids"][number][~kept]) <= {qwen3.added["<|endoftext|>"]}
    assert len(calls) == 2
    short = tokenize_conversations([TWO_TURNS, CYCLE], qwen3, "qwen2.5", 7, tools=[TOOL])
    assert all(
        np.array_equal(
            short[name],
            np.stack([Chat("qwen2.5", m, [TOOL]).tokenize(qwen3, max_length=7)[name] for m in (TWO_TURNS, CYCLE)]),
        )
        for name in short
    )


@pytest.mark.parametrize(
    ("asked", "told"), [({"max_length": 0}, "from 1"), ({"max_length": -1}, "from 1"), ({"padding_side": "up"}, "left")]
)
def test_a_length_that_is_none_and_a_side_that_is_none_are_refused(qwen3, asked, told):
    (name,) = asked
    with pytest.raises(UnknownFlag, match=f"^{name}=.*{told}"):
        tokenize_conversations([TWO_TURNS], qwen3, "qwen3", **asked)


def test_a_comparison_is_of_text_ids_and_export_and_leaves_the_tokenizer_alone(hub):
    before = hub.chat_template
    same = compare_hf_template(hub, "qwen3", CYCLE, [TOOL], add_generation_prompt=True)
    assert same[:3] == (True, True, True)
    assert same.official == same.ours
    other = compare_hf_template(hub, OWN, TWO_TURNS)
    assert other[:3] == (False, False, True)
    assert other.ours == other.jinja == Chat(OWN, TWO_TURNS).prompt()
    with pytest.raises(TemplateError):
        compare_hf_template(hub, OWN, CYCLE)
    assert hub.chat_template == before


def test_a_template_is_registered_under_a_name_of_its_own(monkeypatch):
    monkeypatch.setattr("renderers.chat.TEMPLATES", dict(TEMPLATES))
    register_template(OWN)
    assert get_template("own") is OWN
    assert Chat("own", TWO_TURNS).prompt() == Chat(OWN, TWO_TURNS).prompt()
    for taken in ("own", "qwen3", "phi-4", "kimi-k2-instruct"):
        with pytest.raises(RendererError, match=f"there is a template '{taken}' already"):
            register_template(replace(OWN, name=taken))
    loud = replace(OWN, system_message="LOUD")
    register_template(loud, override=True)
    assert "LOUD" in Chat("own", TWO_TURNS).prompt()


def test_every_name_of_chat_bricks_is_there():
    names = {*NAMES, *ALIASES, *TEMPLATES, "qwen3-vl-instruct"}
    for name in names:
        assert Chat(name, [user()], today=date(2025, 7, 1)).prompt(add_generation_prompt=True)


def test_a_chat_may_have_a_row_for_every_context(qwen3):
    told = [user(), assistant("A1", reasoning_content="R1"), user("Q2"), assistant("A2", reasoning_content="R2")]
    last, split = (tokenize_chats([Chat("qwen3", told)], qwen3, history=history) for history in ("last", "split"))
    assert (len(last["labels"]), len(split["labels"])) == (1, 2)
    learned = [qwen3.decode(labels[labels != -100]) for labels in split["labels"]]
    assert sorted(learned) == [f"<think>\nR{n}\n</think>\n\nA{n}<|im_end|>" for n in (1, 2)]


def test_ids_of_a_message_are_refused_and_not_passed_over():
    chat = Chat("qwen3", [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "token_ids": [1]}])
    with pytest.raises(TemplateError, match="message 1: token_ids"):
        chat.prompt()
