"""Which variables a template asks for: those are its flags, and what it sets itself is none."""

import pytest

from renderers.tracing.asked import variables
from renderers.tracing.environment import PlainEnvironment


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("{% if x %}{% set y = 1 %}{% else %}{% set y = 2 %}{% endif %}{{ y }}", "x"),
        ("{% if x %}{% set y = 1 %}{% endif %}{{ y }}", "x y"),
        ("{% if x %}{% set y = 1 %}{% elif z %}{% set y = 2 %}{% endif %}{{ y }}", "x y z"),
        ("{% set y = y | default(true) %}{{ y }}", "y"),
        ("{% if y is not defined %}{% set y = 1 %}{% endif %}{{ y }}", "y"),
        ("{% for m in messages %}{% set y = m %}{{ y }}{% endfor %}", "messages"),
        ("{% for m in messages %}{% set y = m %}{% endfor %}{{ y }}", "messages y"),
        ("{% for m in messages %}{{ y }}{% set y = m %}{% endfor %}", "messages y"),
        ("{% for m in messages if y %}{% set y = m %}{% else %}{{ z }}{% endfor %}", "messages y z"),
        ("{% macro f(a, b=c) %}{{ a }}{{ b }}{{ d }}{% endmacro %}{% set d = 1 %}{{ f(1) }}", "c"),
        ("{% set d = 1 %}{% macro f(a) %}{{ a }}{{ d }}{% endmacro %}{{ f(1) }}", ""),
        ("{% set n = namespace(k=x) %}{% set n.k = y %}{{ n.k }}", "x y"),
        ("{% if x %}{% set y %}{{ z }}{% endset %}{% else %}{% set y = 1 %}{% endif %}{{ y }}", "x z"),
        (
            "{% generation %}{% if x %}{% set y = 1 %}{% else %}{% set y = 2 %}{% endif %}{% endgeneration %}{{ y }}",
            "x y",
        ),
        ("{% if x %}{% set a, b = z %}{% else %}{% set a, b = 1, 2 %}{% endif %}{{ a }}{{ b }}", "x z"),
    ],
)
def test_a_template_asks_for_what_it_may_read_before_it_sets_it(source, asked):
    assert variables(PlainEnvironment().parse(source)) - {"namespace"} == set(asked.split())
