"""Prefixes of one conversation that share what they tell have the text of each prefix told alone."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from assets_tests.renderers.walking import (
    AFTER,
    DEEP,
    FOUND,
    GATHERED,
    MACRO,
    NEW,
    OLD,
    SEARCH,
    SOURCES,
    SPLIT,
    STRANGE,
    WALK,
)
from renderers.tracing.environment import REFUSALS
from renderers.tracing.runs import common
from renderers.tracing.shared import NONE, Prefixes, Told
from renderers.tracing.twin import Compiled, compiled

ROLES = ("system", "user", "assistant", "tool", "assistant", "tool", "tool", "assistant", "user", "user", "assistant")
CONVERSATION = [{"role": role, "content": f"{number}."} for number, role in enumerate(ROLES * 2)]


def given(messages: list, prompt: bool, switch: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": messages, "add_generation_prompt": prompt, **switch}


def plainly(ways: Compiled, *asked: Any) -> str | None:
    """The text of what is given; None where it is refused."""
    try:
        return "".join(ways.plain.root_render_func(ways.plain.new_context(given(*asked))))
    except REFUSALS:
        return None


def shared(source: str, **more: Any) -> Prefixes:
    """The prefixes of the conversation, told in stages even where the whole is refused."""
    ways = compiled(source)
    whole = plainly(ways, CONVERSATION, False, more) or ""
    prefixes = Prefixes(ways, CONVERSATION, whole, lambda prompt, switch: given([], prompt, {**more, **switch}))
    prefixes.staged = bool(ways.shared.stages)
    return prefixes


def text(told: Told | None) -> str | None:
    assert not told or told.size == len(told.text)
    assert not told or told.same == common(told.text, told.whole)
    return told and told.text


SWITCH: Mapping[str, Any] = {"n": 1}


def asked(conversation: list, order: int = 1) -> Iterator[tuple[int, bool, Mapping[str, Any]]]:
    """Every prefix, with the prompt and without, and under a switch too."""
    for length in list(range(1, len(conversation) + 1))[::order]:
        for prompt in (True, False):
            for switch in (NONE, SWITCH):
                yield length, prompt, switch


@pytest.mark.parametrize("order", [1, -1, 3], ids=["growing", "shrinking", "leaping"])
@pytest.mark.parametrize("looked_at", SOURCES)
def test_a_prefix_reads_as_if_told_alone(looked_at, order):
    prefixes, ways = shared(SOURCES[looked_at]), compiled(SOURCES[looked_at])
    for _ in range(2):
        for length, prompt, switch in asked(CONVERSATION, order):
            alone = plainly(ways, CONVERSATION[:length], prompt, switch)
            assert text(prefixes.tell(length, prompt, switch)) == alone
            assert prefixes.alone(CONVERSATION[:length], prompt) == plainly(ways, CONVERSATION[:length], prompt, {})
    assert prefixes.staged or looked_at in STRANGE


@pytest.mark.parametrize("looked_at", SOURCES)
def test_a_prefix_may_end_where_it_parts_from_the_whole(looked_at):
    prefixes, ways = shared(SOURCES[looked_at]), compiled(SOURCES[looked_at])
    for length, prompt, switch in asked(CONVERSATION):
        alone = plainly(ways, CONVERSATION[:length], prompt, switch)
        told = prefixes.tell(length, prompt, switch, stop=len(prefixes.of.whole))
        assert alone is None or (told and told.same == common(alone, prefixes.of.whole))
        assert not told or alone is None or alone.startswith(told.text)
        assert not told or told.rest or text(told) == alone


def counting(body: str) -> tuple[Prefixes, list[int]]:
    """Prefixes, and a note of each step."""
    counted = list[int]()
    return shared(WALK.replace("BODY", "{{ count() }}" + body), count=lambda: counted.append(1) or ""), counted


def test_a_loop_goes_on_where_it_would_go_on_alike():
    prefixes, counted = counting("{{ 'L' if loop.last }}")
    counted.clear()
    for length in range(1, len(CONVERSATION) + 1):
        prefixes.tell(length, True)
    assert len(counted) == len(CONVERSATION) - 1, "the last step of each prefix, but for the whole"


def test_steps_that_ask_nothing_of_the_rest_are_told_once():
    prefixes, counted = counting("")
    counted.clear()
    for length, prompt, _ in asked(CONVERSATION):
        prefixes.tell(length, prompt)
    assert not counted, "for the whole conversation they were told before"


def test_a_search_is_run_once_wherever_it_finds_something():
    prefixes = shared(SEARCH.replace("DONE", FOUND) + WALK)
    for length in range(2, len(CONVERSATION) + 1):
        prefixes.tell(length, True)
    setting = prefixes._setting(NONE)
    assert (len(setting.begin.wide), setting.begin.exact) == (1, {})


def test_a_search_by_what_a_macro_tells_is_run_once():
    prefixes = shared(MACRO + DEEP + WALK.replace("BODY", AFTER))
    for length in range(2, len(CONVERSATION) + 1):
        prefixes.tell(length, True)
    begin = prefixes._setting(NONE).begin
    assert (len(begin.wide), begin.exact) == (1, {})


def test_what_is_gathered_is_told_once():
    counted = list[int]()
    source = GATHERED + WALK.replace("messages", "told").replace("BODY", "{{ count() }}")
    prefixes = shared(source, count=lambda: counted.append(1) or "")
    counted.clear()
    for length in range(2, len(CONVERSATION) + 1):
        prefixes.tell(length, True)
    assert not counted, "for the whole conversation they were told before"


def test_steps_that_look_at_no_flag_are_lent_to_settings_with_another():
    prefixes, counted = counting("{{ n if loop.index == 7 }}")
    counted.clear()
    for length in (6, 9, 9):
        prefixes.tell(length, True, SWITCH)
    assert len(counted) == 3, "the seventh, and those after it, once"


def test_a_place_is_asked_for_once_wherever_it_is():
    prefixes = shared(SPLIT + OLD.replace("BODY", "") + NEW.replace("BODY", ""))
    for length in range(2, len(CONVERSATION) + 1):
        prefixes.tell(length, True)
    begin = prefixes._setting(NONE).begin
    assert (len(begin.wide), begin.exact) == (1, {})


def test_of_a_conversation_that_is_not_a_prefix_nothing_is_shared():
    prefixes = shared(WALK)
    other = [{"role": "user", "content": "other"}]
    assert (text(prefixes.tell(2, False)) or "").startswith("[system:0.")
    assert (prefixes.alone(other, False) or "").startswith("[user:other")


def test_what_a_telling_looked_at_is_known_as_far_as_it_was_told():
    source = "{% if f %}!{% endif %}" + WALK.replace("BODY", "{{ m.role if loop.last and g }}") + "{{ h }}"
    prefixes = shared(source)
    for length in (2, 5, 4):  # later ones take up what was told before
        prefixes.tell(length, False, {"f": 1}, stop=len(prefixes.of.whole))
        assert (prefixes.asks(["f"], prefixes.watched), prefixes.asks(["h"], prefixes.watched)) == (True, False)
        prefixes.tell(length, False)
        assert all(prefixes.asks(names, prefixes.watched) for names in (["g"], ["h"], ["f", "g"], ["unheard of"]))


def test_a_macro_with_the_same_arguments_is_asked_once():
    prefixes = shared(
        "{% macro tell(m) %}{{ m.content.upper() }}{% endmacro %}" + WALK.replace("BODY", "{{ tell(m) }}")
    )
    for length, prompt, _ in asked(CONVERSATION):
        prefixes.tell(length, prompt)
    assert len(prefixes.of.spelled) == len(CONVERSATION)


def test_a_refusal_holds_for_all_lengths_that_nothing_asked_about():
    refused = list[int]()
    source = "{% if messages|length > 3 %}{{ refuse() }}{{ raise_exception('no') }}{% endif %}" + WALK
    prefixes = shared(source, refuse=lambda: refused.append(1) or "")
    refused.clear()
    assert [text(prefixes.tell(length, True)) for length in (5, 7, 4)] == [None] * 3
    assert not refused, "the whole conversation was refused before"
    assert (text(prefixes.tell(2, True)) or "").startswith("[system")
