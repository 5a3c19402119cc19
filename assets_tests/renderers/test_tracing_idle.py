"""A loop in which nothing can happen any more ends, and tells what it would have told."""

import jinja2
import pytest
from jinja2 import nodes

from renderers.tracing.environment import PlainEnvironment
from renderers.tracing.idle import cut_short

LOOP = (
    "{% set ns = namespace(on=true, at=-1, n=0) %}{% for m in messages[::-1] %}STEP{% endfor %}{{ ns.at }} {{ ns.n }}"
)
FOUND = "{% set ns.on = false %}{% set ns.at = index %}"
INDEX = "{% set index = messages|length - 1 - loop.index0 %}"
IDLE = {
    "a search": INDEX + "{% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}",
    "more conditions": INDEX + "{% if ns.on and m.role and m.role == 'user' %}" + FOUND + "{% endif %}",
    "nothing but the condition": INDEX + "{% if ns.on %}" + FOUND + "{% endif %}",
}
BUSY = {
    "nothing": "",
    "it writes": INDEX + "{{ m.role }}{% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}",
    "it writes blanks": INDEX + " {% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}",
    "it counts on": INDEX + "{% set ns.n = ns.n + 1 %}{% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}",
    "something else": INDEX + "{% if ns.on and m.role == 'user' %}" + FOUND + "{% else %}{% set ns.n = 1 %}{% endif %}",
    "one or the other": INDEX + "{% if ns.on or m.role == 'user' %}" + FOUND + "{% endif %}",
    "the item is asked": INDEX + "{% if m.role and ns.on %}" + FOUND + "{% endif %}",
    "the item is counted": "{% set index = m.role|length %}{% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}",
    "it is set on the way": INDEX + "{% set ns = loop %}{% if ns.first and m.role %}{{ index }}{% endif %}",
    "another namespace": INDEX + "{% if ns.on and m.role %}{{ index }}{% set ns = namespace(on=false) %}{% endif %}",
    "two conditions": (INDEX + "{% if ns.on and m.role == 'user' %}" + FOUND + "{% endif %}")
    + "{% if ns.at < 2 %}{% set ns.on = true %}{% endif %}",
}
RANGES = {
    "not found": "{% if not ns.n and i > 1 %}{% set ns.n = i %}{% endif %}",
    "not found, alone": "{% if not ns.n %}{{ i }}{% set ns.n = i %}{% endif %}",
    "found": "{% if ns.n %}{% elif i > 1 %}{% set ns.n = i %}{% else %}{{ i }}{% endif %}",
}
BUSY_RANGES = {
    "it goes on": "{{ i }}{% if not ns.n and i > 1 %}{% set ns.n = i %}{% endif %}",
    "something else": "{% if not ns.n and i > 1 %}{% set ns.n = i %}{% else %}{{ i }}{% endif %}",
    "something, once found": "{% if ns.n %}{{ i }}{% elif i > 1 %}{% set ns.n = i %}{% endif %}",
    "another namespace": "{% if not ns.n %}{{ i }}{% set ns = namespace(n=1) %}{% endif %}",
    "its own number": "{% if not i.real %}{{ i }}{% endif %}",
    "the loop": "{% if not loop.first %}{{ i }}{% endif %}",
    "another number first": "{% if i > 1 and not ns.n %}{% set ns.n = i %}{% endif %}",
}
LAZY = LOOP.replace("messages[::-1]", "messages|map(attribute='role')|map('upper')")
MESSAGES = [{"role": role} for role in ("user", "assistant", "user", "tool", "assistant", "tool")]


def vanilla() -> jinja2.Environment:
    """Without anything of ours."""
    return jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])


@pytest.mark.parametrize("what", [*IDLE, *BUSY])
def test_a_loop_that_ends_early_tells_the_same(what):
    source = LOOP.replace("STEP", (IDLE | BUSY)[what])
    for count in range(len(MESSAGES) + 1):
        told = {"messages": MESSAGES[:count]}
        assert PlainEnvironment().from_string(source).render(told) == vanilla().from_string(source).render(told)


@pytest.mark.parametrize("what", [*RANGES, *BUSY_RANGES])
def test_a_loop_over_a_range_ends_where_nothing_can_happen(what):
    source = "{% set ns = namespace(n=0) %}{% for i in range(5) %}STEP{% endfor %}{{ ns.n }}"
    source = source.replace("STEP", (RANGES | BUSY_RANGES)[what])
    assert PlainEnvironment().from_string(source).render() == vanilla().from_string(source).render()
    assert bool(cut_short(vanilla().parse(source)).find(nodes.Break)) == (what in RANGES)


def test_a_loop_over_what_may_refuse_goes_to_its_end():
    for loop in (LAZY, LOOP.replace("[::-1]", "[::-1] if m.role"), LOOP.replace("[::-1]", "|reverse")):
        assert not cut_short(vanilla().parse(loop.replace("STEP", IDLE["a search"]))).find(nodes.Break)


@pytest.mark.parametrize("what", [*IDLE, *BUSY])
def test_only_a_loop_in_which_nothing_else_happens_ends_early(what):
    tree = cut_short(vanilla().parse(LOOP.replace("STEP", (IDLE | BUSY)[what])))
    assert bool(tree.find(nodes.Break)) == (what in IDLE)
