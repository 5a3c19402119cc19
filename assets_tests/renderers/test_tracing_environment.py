"""The traced environment writes what the plain one writes, and nothing that was said becomes the template's words."""

from datetime import date

import pytest
from jinja2.filters import FILTERS
from transformers.utils.chat_template_utils import render_jinja_template

from renderers.errors import TemplateError
from renderers.tracing.places import Near, is_data
from renderers.tracing.strings import Text
from renderers.tracing.witness import TracedTemplate

TODAY = date(2025, 7, 1)
SAID = "<Ω> ж\n  Щ&  {} <i>ю</i> www.й.ru"
MESSAGES = [
    {
        "role": "user",
        "content": SAID,
        "n": 3,
        "list": ["Б", "б", "Д"],
        "dict": {"Ж": "ж", "Э": ["я"]},
        "parts": [{"t": "Ы"}],
    }
]
FILTERED = {
    "abs": "m.n|abs",
    "attr": "m.content|attr('upper')()",
    "batch": "m.list|batch(2, m.content)|list",
    "capitalize": "m.content|capitalize",
    "center": "m.content|center(60)",
    "count": "m.content|count",
    "d": "m.nothing|d(m.content)",
    "default": "m.nothing|default(m.content)",
    "dictsort": "m.dict|dictsort",
    "e": "m.content|e",
    "escape": "m.content|escape",
    "filesizeformat": "m.n|filesizeformat",
    "first": "m.content|first",
    "float": "m.n|float",
    "forceescape": "m.content|forceescape",
    "format": "m.content|format",
    "groupby": "m.parts|groupby('t')",
    "indent": "m.content|indent(2)",
    "int": "m.n|int",
    "items": "m.dict|items|list",
    "join": "m.list|join(m.content)",
    "last": "m.content|last",
    "length": "m.content|length",
    "list": "m.content|list",
    "lower": "m.content|lower",
    "map": "m.list|map('upper')|join",
    "max": "m.list|max",
    "min": "m.list|min",
    "pprint": "m.dict|pprint",
    "random": "[m.content]|random",
    "reject": "m.list|reject('eq', 'б')|list",
    "rejectattr": "m.parts|rejectattr('u')|list",
    "replace": "'-'|replace('-', m.content)",
    "reverse": "m.content|reverse",
    "round": "m.n|round",
    "safe": "m.content|safe",
    "select": "m.list|select|list",
    "selectattr": "m.parts|selectattr('t')|list",
    "slice": "m.list|slice(2, m.content)|list",
    "sort": "m.list|sort",
    "string": "m.dict|string",
    "striptags": "m.content|striptags",
    "sum": "m.parts|map(attribute='t')|map('list')|sum(start=[])",
    "title": "m.content|title",
    "tojson": "m.dict|tojson",
    "trim": "m.content|trim",
    "truncate": "m.content|truncate(9, true)",
    "unique": "m.list|unique|list",
    "upper": "m.content|upper",
    "urlencode": "m.content|urlencode",
    "urlize": "m.content|urlize",
    "wordcount": "m.content|wordcount",
    "wordwrap": "m.content|wordwrap(9)",
    "xmlattr": "{'x': m.content}|xmlattr",
}
"""Each filter of Jinja on something that was said."""
WRITTEN = [
    "m.content",
    "m.list",
    "m.dict.items()",
    "[m.dict.items()]",
    "m.content.split()",
    "m.content.split('\\n')[0]",
    "(m.content, m.n)",
    "{'[': m.content}",
    "m.content.encode()",
    "m.content.encode().decode()",
    "namespace(x=m.content).x",
    "dict(x=m.content)",
    "'[%s]' % m.content",
    "'[%s%s]' % (m.content, m.n)",
    "'[{}]'.format(m.content)",
    "'[{x}]'.format_map({'x': m.content})",
    "'[%s]'|format(m.content)",
    "'-'.join(m.list)",
    "'-'.join(m.content)",
    "'-'.replace('-', m.content)",
    "'[' + m.content",
    "'[' ~ m.content ~ m.n ~ m.list ~ none",
    "m.content * 2",
    "m.content[::-2]",
    "m.content[3]",
    "[m.content, [m.n]]|tojson",
    "strftime_now(m.content)",
    "joiner(m.content)()",
    "cycler(m.content).next()",
    "m.content.partition('ж')",
    "m.get('nothing', m.content)",
    "m.content if m.content is string else m.list",
]
OWN = set("[]-{}()', 0123456789.:xNoneBytes")
"""What the templates of these tests write themselves."""


def traced(source: str, messages=MESSAGES) -> Text:
    return TracedTemplate(source, today=TODAY).trace_hub(messages)


def runs(text: Text) -> list:
    starts = [0, *(end for end, _ in text._runs)]
    return [(str.__str__(text)[start:end], place) for start, (end, place) in zip(starts, text._runs, strict=False)]


def test_every_filter_of_jinja_is_tried():
    assert set(FILTERED) == set(FILTERS)


@pytest.mark.parametrize("expression", [*FILTERED.values(), *WRITTEN])
def test_what_was_said_stays_data_whatever_is_done_to_it(expression):
    source = "{% set m = messages[0] %}{{ " + expression + " }}"
    template = TracedTemplate(source, today=TODAY)
    made = template.trace_hub(MESSAGES)
    assert made == template.text_hub(MESSAGES)
    words = "".join(text for text, place in runs(made) if not is_data(place))
    assert set(words) <= OWN


SOURCES = [
    "{% for m in messages %}{{ m.role ~ loop.index ~ m.n }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% macro f(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call f(messages[0].content) %}in{% endcall %}",
    "{% set x %}a{{ messages[0].content }}b{% endset %}{{ x|trim }}{{ x|length }}",
    "{% filter upper %}a{{ messages[0].content }}{% endfilter %}",
    "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + m.n %}{% endfor %}{{ ns.n }}",
    "{%- for k, v in messages[0].dict.items() %}{{ k }}={{ v }}{% endfor -%}",
    "{% for c in messages[0].content %}{% if c == 'ж' %}{% break %}{% endif %}{{ c }}{% endfor %}",
    "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    "{{ messages[0].nothing }}{{ messages[0].n + 1 }}{{ 7 // 2 }}{{ true }}{{ none }}{{ undefined_thing }}",
    "{{ messages[0]['content'] is string }}{{ messages[0].dict is mapping }}{{ messages[0].list is sequence }}",
    "{{ strftime_now('%Y') is string }}{{ dict(a=1) }}{{ dict.fromkeys(['a']) }}{{ messages[0].n == 3 }}",
    "{{ messages | tojson(indent=2) }}{{ messages[0] }}",
    "{{ '{0.__class__}'.format(messages[0].content) }}{{ messages[0].content.format(messages[0]) }}",
    "{{ messages[0].dict.nothing is defined }}{{ messages[0].parts[0].t.upper().lower() }}",
    "{% for x in [nothing, messages[0].n] %}{{ x }}{% endfor %}",
    "{% if add_generation_prompt %}x{% endif %}{{ tools }}{{ documents }}",
]
REFUSED = [
    "{{ raise_exception('no: ' ~ messages[0].role) }}",
    "{{ messages[0].content.items() }}",
    "{{ messages[7].content }}",
    "{{ nothing.content }}",
    "{{ 'x' + none }}",
    "{{ messages[0].content + messages[0].n }}",
    "{{ messages[0].n + messages[0].content }}",
    "{{ messages[0].list + messages[0].content }}",
    "{{ messages[0].content + nothing }}",
    "{{ nothing + messages[0].content }}",
    "{{ ', '.join(messages) }}",
    "{{ ''.join(messages[0].n) }}",
    "{{ nothing | tojson }}",
    "{{ '%d' % messages[0].content }}",
    "{{ messages[0].content.__class__.mro() }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].pop('role') }}",
    "{% set ns = namespace(_x=1) %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{{ 1 / 0 }}",
]


def theirs(source: str) -> str:
    return render_jinja_template([MESSAGES], chat_template=source)[0][0]


@pytest.mark.parametrize("source", SOURCES)
def test_plain_and_traced_write_what_transformers_writes(source):
    template = TracedTemplate(source, today=TODAY)
    assert template.text_hub(MESSAGES) == theirs(source)
    assert template.trace_hub(MESSAGES) == theirs(source)


@pytest.mark.parametrize("source", REFUSED)
def test_plain_and_traced_refuse_in_the_words_of_transformers(source):
    with pytest.raises(Exception) as upstream:  # noqa: PT011 (templates raise what they like)
        theirs(source)
    template = TracedTemplate(source, today=TODAY)
    for run in (template.text_hub, template.trace_hub):
        with pytest.raises(TemplateError) as refused:
            run(MESSAGES)
        assert str(refused.value) == f"traced: {upstream.value}"
        assert type(refused.value.__cause__).__name__ == type(upstream.value).__name__


def test_words_stand_near_the_loop_item_they_were_written_for():
    made = traced("<{% for m in messages %}[{% for x in m.list %}-{% endfor %}]{% endfor %}>")
    near = Near(("messages", 0))
    items = [("-", Near(("messages", 0, "list", at))) for at in range(3)]
    assert runs(made) == [("<", None), ("[", near), *items, ("]", near), (">", None)]


def test_looking_ahead_does_not_move_where_words_stand():
    two = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    made = traced("{% for m in messages %}{% if not loop.last and loop.nextitem %}-{% endif %}+{% endfor %}", two)
    assert runs(made) == [("-", Near(("messages", 0))), ("+", Near(("messages", 0))), ("+", Near(("messages", 1)))]


def test_a_message_fetched_by_number_is_visited_too():
    made = traced("{% for k in range(1) %}{% set m = messages[k] %}-{% endfor %}")
    assert runs(made) == [("-", Near(("messages", 0)))]


def test_a_refusal_leaves_nothing_behind():
    template = TracedTemplate("{% for m in messages %}x{{ m.n + m.n }}{% endfor %}y")
    with pytest.raises(TemplateError):
        template.trace_hub([{"role": "user", "n": None}, {"role": "user"}])
    assert runs(template.trace_hub(MESSAGES))[-1] == ("y", None)


def test_words_are_near_the_item_they_were_written_at_in_a_macro_too():
    source = "{% macro f(all) %}{% for m in all %}{{ '[' + m.content }}{% endfor %}{% endmacro %}{{ f(messages) }}"
    near = [place for text, place in runs(traced(source)) if text == "["]
    assert near == [Near(("messages", index)) for index in range(len(MESSAGES))]
