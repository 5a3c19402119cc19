"""Templates that walk over messages, and look at one thing or another on the way. BODY, DONE: what they do there."""

WALK = "{% for m in messages %}[{{ m.role }}:{{ m.content }}BODY]{% endfor %}{{ messages|length }}{{ n }}"
SEARCH = (
    "{% set ns = namespace(on=true, at=messages|length - 1) %}{% for m in messages[::-1] %}"
    "{% set index = (messages|length - 1) - loop.index0 %}{% if ns.on and m.role == 'user' %}DONE"
    "{% set ns.at = index %}{% endif %}{% endfor %}"
)
FOUND = "{% set ns.on = false %}"
AFTER = "{{ '>' if loop.index0 > ns.at }}{{ ns.at == loop.index0 }}"
AHEAD = "{% for o in messages[loop.index:] %}{% if o.role == 'tool' %}{% set f.on = true %}{% endif %}{% endfor %}"
PLACE = (
    "{% set ns = namespace(at=-1) %}{% for i in RANGE %}{% if messages[i].role == 'user' %}SET{% endif %}{% endfor %}"
)
FROM_END = PLACE.replace("RANGE", "range(messages|length - 1, -1, -1)").replace("SET", "{% set ns.at = i %}{% break %}")
SPLIT = FROM_END + "{% set old = messages[:ns.at + 1] %}{% set new = messages[ns.at + 1:] %}"
OLD, NEW = (WALK.replace("in messages", "in " + part).replace("messages", part) for part in ("old", "new"))
BEFORE = (
    "{% set here = loop.index0 %}{% set f = namespace(at=-1) %}{% for o in messages %}"
    "{% if o.role == 'assistant' and loop.index0 < here %}{% set f.at = loop.index0 %}{% endif %}{% endfor %}{{ f.at }}"
)
NEXT = (
    "{% set f = namespace(on=false) %}{% for i in range(loop.index, messages|length) %}"
    "{% if not f.on and messages[i].role != 'tool' %}{% set f.on = true %}{{ messages[i].role }}{% endif %}{% endfor %}"
)
KIND = (
    "{% set ns = namespace(k=0) %}{% for m in messages %}{% if m.role == 'user' and n != 2 %}[{{ m.content }}"
    "{{ ns.k }}]{% set ns.k = ns.k + messages[0].content|length %}SET{% endif %}{% endfor %}"
)
GATHERED = (
    "{% set ns = namespace(all=[]) %}{% for m in messages %}"
    "{% set ns.all = ns.all + [{'role': m.role, 'content': m.content}] %}{% endfor %}{% set told = ns.all %}"
)
MACRO = "{% set ns = namespace(n=0) %}{% macro tell(c) %}{{ c }}{% endmacro %}"
DEEP = (
    "{% set ns = namespace(on=true, at=messages|length - 1, n=ns.n) %}{% for m in messages[::-1] %}"
    "{% set index = (messages|length - 1) - loop.index0 %}{% if ns.on and m.role == 'user' %}"
    "{% set content = tell(m.content)|trim %}{% if not (content.startswith('8') and content.endswith('.')) %}"
    "{% set ns.on = false %}{% set ns.at = index %}{% endif %}{% endif %}{% endfor %}"
)
SOURCES = {
    "nothing of the rest": WALK.replace("BODY", ""),
    "last": WALK.replace("BODY", "{{ 'L' if loop.last }}"),
    "next": WALK.replace("BODY", "{{ loop.nextitem.role }}"),
    "next by number": WALK.replace("BODY", "{{ messages[loop.index0 + 1].role }}"),
    "previous": WALK.replace("BODY", "{{ loop.previtem.role }}{{ loop.cycle('a', 'b') }}"),
    "last by number": WALK.replace("BODY", "{{ messages[-1].content }}"),
    "how many": WALK.replace("BODY", "{{ loop.length }}"),
    "how many as a condition": WALK.replace("BODY", "{% if messages|length > 5 %}!{% endif %}"),
    "how many are left": WALK.replace("BODY", "{{ '!' if loop.revindex <= 3 }}"),
    "how many in arithmetic": WALK.replace("BODY", "{{ (messages|length - loop.index) * 2 }}{{ -loop.length }}"),
    "how many in a range": WALK.replace("BODY", "{% for k in range(loop.index, messages|length) %}{{ k }}{% endfor %}"),
    "how many at the half": WALK.replace("BODY", "{{ '!' if loop.length / 2 > loop.index }}{{ loop.length is even }}"),
    "a loop in the loop": WALK.replace("BODY", "{% for o in messages %}{{ o.role[0] }}{% endfor %}"),
    "without the first": WALK.replace("in messages", "in messages[1:]").replace("BODY", "{{ 'L' if loop.last }}"),
    "without the last": WALK.replace("in messages", "in messages[:-1]").replace("BODY", "{{ 'L' if loop.last }}"),
    "backwards": WALK.replace("in messages", "in messages[::-1]").replace("BODY", "{{ loop.index }}"),
    "with one more": WALK.replace("in messages", "in messages + [{'role': 'x'}]").replace("BODY", "{{ loop.last }}"),
    "chosen ones": WALK.replace("in messages", "in messages if m.role != 'tool'").replace("BODY", "{{ loop.last }}"),
    "a filter": WALK.replace("in messages", "in messages|rejectattr('role', 'equalto', 'tool')|list").replace(
        "BODY", "{{ loop.last }}"
    ),
    "the last query": "{% set ns = namespace(at=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.at = loop.index0 %}{% endif %}{% endfor %}" + WALK.replace("BODY", "{{ '>' if loop.index0 > ns.at }}"),
    "the last query, backwards": "{% set ns = namespace(at=messages|length - 1, on=true) %}"
    "{% for m in messages[::-1] %}{% if ns.on and m.role == 'user' %}{% set ns.on = false %}"
    "{% set ns.at = messages|length - 1 - loop.index0 %}{% endif %}{% endfor %}"
    + WALK.replace("BODY", "{{ '>' if loop.index0 > ns.at }}{{ ns.at == loop.index0 }}"),
    "a count": "{% set ns = namespace(n=messages|length) %}"
    + WALK.replace("BODY", "{% set ns.n = ns.n + 1 %}{{ ns.n if loop.index == 4 }}")
    + "{{ ns.n }}",
    "a list": "{% set ns = namespace(all=[]) %}"
    + WALK.replace("BODY", "{% set ns.all = ns.all + [loop.index0] %}")
    + "{{ ns.all }}",
    "a list of how many": "{% set ns = namespace(all=[]) %}"
    + WALK.replace("BODY", "{% set ns.all = ns.all + [loop.length, {'n': loop.length}] %}")
    + "{{ ns.all }}",
    "a namespace in a namespace": "{% set ns = namespace(of=namespace(n=0)) %}"
    + WALK.replace("BODY", "{% set of = ns.of %}{% set of.n = of.n + 1 %}{{ of.n }}"),
    "a new namespace": "{% set ns = namespace(of=0) %}"
    + WALK.replace("BODY", "{% if loop.first %}{% set ns.of = namespace(n=messages|length) %}{% endif %}{{ ns.of.n }}"),
    "a macro": "{% macro tell(m) %}{{ m.role }}{{ messages|length if m.role == 'user' }}{{ add_generation_prompt }}"
    "{% endmacro %}" + WALK.replace("BODY", "{{ tell(m) }}"),
    "a pure macro": "{% macro tell(m, n) %}{{ m.role }}{{ n }}{% for c in m.content %}{{ c }}{% endfor %}{% endmacro %}"
    + WALK.replace("BODY", "{{ tell(m, loop.index) }}{{ tell(m, loop.length) }}"),
    "a macro of a macro": "{% macro one(m) %}{{ m.role }}{% endmacro %}{% macro two(m) %}{{ one(m) }}{% endmacro %}"
    + WALK.replace("BODY", "{{ two(m) }}{{ two(m=m) }}"),
    "a macro of one that a flag makes": "{% if n %}{% macro one(m) %}!{% endmacro %}{% endif %}"
    "{% macro two(m) %}{{ one(m) }}{% endmacro %}" + WALK.replace("BODY", "{{ two(m.role) }}"),
    "a macro that looks around": "{% set ns = namespace(n=0) %}{% macro one() %}{{ ns.n }}{% endmacro %}"
    "{% macro two(m) %}{{ one() }}{{ m.role }}{% endmacro %}"
    + WALK.replace("BODY", "{% set ns.n = ns.n + 1 %}{{ two(m) }}"),
    "a macro told twice": "{% macro one(m) %}a{% endmacro %}{{ one(1) }}{% macro one(m) %}b{% endmacro %}"
    + WALK.replace("BODY", "{{ one(m) }}"),
    "a macro under another name": "{% macro one(m) %}a{% endmacro %}{% macro two(m) %}b{{ m.role }}{% endmacro %}"
    "{% set call = namespace(n=one) %}{% set three = one %}"
    + WALK.replace("BODY", "{{ one(m) }}{% set one = two %}{{ one(m) }}{{ three(m) }}")
    + "{% set one = two %}{{ one(messages[-1]) }}",
    "a macro with a default of its own": "{% macro who() %}{% if n is not defined %}{% set n = 'd' %}{% endif %}{{ n }}"
    "{% endmacro %}{{ who() }}" + WALK.replace("BODY", "{{ who() }}"),
    "a macro in a loop": WALK.replace("BODY", "{% macro at() %}{{ loop.index }}{% endmacro %}{{ at() }}"),
    "a macro of a list": "{% macro tell(all) %}{% for m in all %}{{ m.role }}{% endfor %}{% endmacro %}"
    + WALK.replace("BODY", "{{ tell([m]) }}{{ tell(messages) }}{{ tell([namespace(role=loop.index)]) }}"),
    "the prompt": WALK.replace("BODY", "{{ 'P' if add_generation_prompt and loop.last }}"),
    "a flag": WALK.replace("BODY", "{{ 'N' if n and loop.first }}"),
    "a break": WALK.replace("BODY", "{% if m.role == 'tool' %}{% break %}{% endif %}"),
    "two breaks": WALK.replace("BODY", "{% if loop.last and loop.first or loop.index == 12 %}{% break %}{% endif %}"),
    "a break at the end": WALK.replace("BODY", "{% if loop.last or loop.index == 12 %}{% break %}{% endif %}"),
    "a continue": WALK.replace("BODY", "{% if m.role == 'tool' %}{% continue %}{% endif %}{{ loop.last }}"),
    "a continue at the end": WALK.replace(
        "BODY", "{% if loop.last and m.role == 'tool' %}{% continue %}{% endif %}{{ loop.previtem.role }}"
    ),
    "what some steps set": WALK.replace(
        "BODY", "{% if loop.last %}{% set c = m.role %}{% set n = 'n' %}{% endif %}{{ c }}{{ n }}"
    ),
    "what the last step sets": "{% set ns = namespace(k=0) %}"
    + WALK.replace("BODY", "{% if loop.last %}{% set ns.k = ns.k + 1 %}{% endif %}{{ ns.k }}")
    + "{{ ns.k }}",
    "what is absent": WALK.replace(
        "BODY", "{{ 'a' if m.x and loop.last or not m.y else m.x }}{% if m.items and not (m._z or m.z) %}b{% endif %}"
    ),
    "a loop over the loop": WALK.replace("BODY", "{% for o in loop %}{{ o[0].role }}{% endfor %}"),
    "what has changed": WALK.replace("BODY", "{{ loop.changed(m.role) }}"),
    "a cycle": "{% set c = cycler('a', 'b', 'c') %}" + WALK.replace("BODY", "{{ c.next() }}"),
    "an iterator": "{% set i = messages|map(attribute='role') %}" + WALK.replace("BODY", "{{ i|first }}"),
    "a block": "{% set text %}" + WALK.replace("BODY", "{{ loop.last }}") + "{% endset %}{{ text }}",
    "everything": WALK.replace("BODY", "") + "{{ messages }}{{ messages|last }}{{ messages|first }}",
    "as JSON": WALK.replace("BODY", "{{ messages|tojson }}"),
    "a refusal": "{% if messages[-1].role == 'tool' %}{{ raise_exception('no') }}{% endif %}" + WALK,
    "a late refusal": WALK.replace(
        "BODY", "{% if loop.length == 7 and loop.last %}{{ raise_exception('no') }}{% endif %}"
    ),
    "a flag of one step": WALK.replace("BODY", "{{ 'N' if m.role == 'user' and n }}"),
    "a flag that is set": "{% if n is not defined %}{% set n = false %}{% endif %}"
    + WALK.replace("BODY", "{{ 'N' if loop.index == 7 and n }}{{ loop.last }}"),
    "what was gathered": GATHERED + WALK.replace("messages", "told").replace("BODY", "{{ loop.last }}"),
    "what was gathered, and one more": GATHERED.replace("in messages", "in messages + [{'role': 'z', 'content': 'z'}]")
    + WALK.replace("messages", "told").replace("BODY", "{{ told|length - loop.index }}"),
    "what was gathered, as JSON": GATHERED
    + "{% set all = ns.all[1:] %}{{ all|tojson }}{{ all[-1].role }}"
    + WALK.replace("messages", "all").replace("BODY", "{{ loop.nextitem.role }}"),
    "what was gathered of neighbours": "{% set ns = namespace(all=[], some=[], role='') %}"
    "{% for m in messages + [{'role': 'z', 'content': 'z'}] %}{% if m.role != ns.role %}{% if ns.some %}"
    "{% set ns.all = ns.all + [{'role': ns.role, 'content': ns.some|join('+', attribute='content')}] %}{% endif %}"
    "{% set ns.some = [m] %}{% set ns.role = m.role %}{% else %}{% set ns.some = ns.some + [m] %}{% endif %}"
    "{% endfor %}{% set told = ns.all %}" + WALK.replace("messages", "told").replace("BODY", "{{ loop.first }}"),
    "what was gathered, by where it was": GATHERED.replace(
        "'content'", "'at': loop.index, 'left': loop.revindex, 'content'"
    )
    + WALK.replace("messages", "told").replace("BODY", "{{ m.at }}{{ m.left }}"),
    "what is the same as another": GATHERED.replace("m.content", "'.'")
    + WALK.replace("messages", "told").replace("BODY", "{{ m is sameas told[2] }}"),
    "one and a few more": WALK.replace("in messages", "in messages[:1] + [{'role': 'x'}, {'role': 'y'}]"),
    "a search by what a macro tells": MACRO + DEEP + WALK.replace("BODY", AFTER),
    "a search by what a macro counts": MACRO.replace("{{ c }}", "{{ c }}{% set ns.n = ns.n + 1 %}")
    + DEEP
    + "{{ ns.n }}",
    "a search by what a macro knows": MACRO.replace("{{ c }}", "{{ c }}{{ n }}") + DEEP + WALK.replace("BODY", AFTER),
    "a search that says what it found": MACRO
    + DEEP.replace("{% set ns.at = index %}", "{% set ns.at = index %}{{ content }}")
    + WALK.replace("BODY", AFTER),
    "two loops": WALK.replace("BODY", "{{ loop.last }}") + WALK.replace("BODY", "{{ loop.first }}"),
    "two lists": "{% set k = messages|length - 2 if messages|length > 5 else 0 %}"
    + WALK.replace("in messages", "in messages[:k]").replace("BODY", "{{ loop.last }}")
    + WALK.replace("in messages", "in messages[k:]").replace("BODY", "{{ loop.last }}"),
    "tests and sums": WALK.replace(
        "BODY", "{{ loop.length is number }}{{ loop.length in (3, 4) }}{{ 9 - loop.length }}"
    ),
    "a search": SEARCH + WALK.replace("BODY", AFTER) + "{{ ns.at }}",
    "a search that reads": SEARCH.replace("= index", "= index + m.content|length") + WALK.replace("BODY", AFTER),
    "a search that goes on": SEARCH.replace("DONE", "{% set ns.on = m.content != '16.' %}") + WALK + "{{ ns.at }}",
    "a search with another namespace": SEARCH.replace("DONE", "{{ index }}{% set ns = namespace(on=false) %}") + WALK,
    "a search that looks at more": SEARCH.replace("= 'user'", "= 'user' and messages|length > 4")
    + WALK
    + "{{ ns.at }}",
    "a search that may refuse": SEARCH.replace("m.role", "m.no.no") + WALK,
    "a search in vain": SEARCH.replace("'user'", "'nobody'") + WALK.replace("BODY", AFTER) + "{{ ns.at }}",
    "a search without the first": "{% set all = messages %}{% set messages = messages[2:] %}"
    + SEARCH
    + "{% for m in all %}{{ m.role }}{{ '>' if loop.index0 > ns.at }}{% endfor %}{{ ns.at }}",
    "a search with another end": SEARCH.replace("'user'", "'nobody'").replace(
        "{% endif %}{% endfor %}", "{% endif %}{% else %}none{% endfor %}"
    )
    + WALK,
    "a search ahead": WALK.replace("BODY", "{% set f = namespace(on=false) %}" + AHEAD + "{{ f.on }}"),
    "a search ahead that reads": WALK.replace(
        "BODY", "{% set f = namespace(on=false) %}" + AHEAD.replace("true", "o.content") + "{{ f.on }}"
    ),
    "a search in a condition": "{% if messages|length > 3 %}" + SEARCH + "{{ ns.at }}{% endif %}" + WALK,
    "a place": FROM_END + WALK.replace("BODY", AFTER) + "{{ ns.at }}",
    "a place in a condition": "{% if messages|length > 3 %}" + FROM_END + "{{ ns.at }}{% endif %}" + WALK,
    "a place in vain": FROM_END.replace("user", "nobody") + WALK.replace("BODY", AFTER) + "{{ ns.at }}",
    "a place that reads": FROM_END.replace("= i", "= messages[i].content") + WALK + "{{ ns.at }}",
    "a place and more": FROM_END.replace("'user'", "'user' and messages|length > 4") + WALK + "{{ ns.at }}",
    "a place that goes on": FROM_END.replace("{% break %}", "{{ i }}") + WALK,
    "a place without the first": "{% set messages = messages[2:] %}"
    + FROM_END
    + NEW.replace("new", "messages[:ns.at]"),
    "a place, forwards": PLACE.replace("RANGE", "range(messages|length)").replace("SET", "{% set ns.at = i %}")
    + WALK.replace("BODY", AFTER),
    "a place, below": PLACE.replace("RANGE", "range(messages|length)")
    .replace("'user'", "'user' and i < ns.at + 9")
    .replace("SET", "{% set ns.at = i %}")
    + "{{ ns.at }}",
    "a place of another list": "{% set all = messages %}"
    "{% set messages = messages|rejectattr('role', 'equalto', 'tool')|list %}"
    + FROM_END
    + "{{ ns.at }}{% set messages = all %}"
    + WALK,
    "a place in another range": "{% macro range(n, m, k) %}012{% endmacro %}"
    + FROM_END.replace("[i]", "[i|int]")
    + WALK,
    "a place before each": WALK.replace("BODY", BEFORE),
    "a place before each that moves": WALK.replace("BODY", BEFORE.replace("< here", "< f.at + 4")),
    "two parts": SPLIT + OLD.replace("BODY", "") + NEW.replace("BODY", ""),
    "two parts that look": SPLIT
    + OLD.replace("BODY", "{{ loop.last }}{{ old[loop.index].role }}{{ old[-1].role }}")
    + NEW.replace("BODY", "{{ loop.revindex }}{{ loop.nextitem.role }}{{ new[0].content }}"),
    "two parts of numbers": SPLIT
    + OLD.replace("BODY", AFTER)
    + "{% for m in new %}{% set ns.at = ns.at + 1 %}{{ ns.at }}"
    "{% endfor %}{{ 'N' if new }}{{ old == messages }}{{ new[1:]|length }}{{ old[1:]|length }}",
    "two parts elsewhere": SPLIT.replace("at + 1", "at + 2")
    + OLD.replace("BODY", "")
    + NEW.replace("BODY", "{{ loop.last }}"),
    "what is set and read in a loop": "{% set k = 2 %}"
    + WALK
    + "{% for x in [1] %}{{ k if messages|length < 3 }}{% endfor %}"
    "{% set k = 3 %}{{ k }}",
    "the next by a range": WALK.replace("BODY", NEXT),
    "the next by a range, if any": WALK.replace("BODY", "{% if m.role == 'tool' %}" + NEXT + "{% endif %}"),
    "the next in another range": WALK.replace(
        "BODY", NEXT.replace("length)", "length, 2)").replace("index,", "index0,")
    ),
    "the next in a range that looks": WALK.replace("BODY", NEXT.replace("i].role }}", "i].role }}{{ loop.last }}")),
    "those until one stops": WALK.replace("BODY", NEXT.replace("not f.on and", "f.on %}{% elif").replace("{{", "!{{")),
    "those of one kind": KIND.replace("SET", "") + "{{ ns.k }}" + WALK,
    "those of one kind, in part": "{% set messages = messages[3:] %}" + KIND.replace("SET", "") + WALK,
    "those of one kind, once": KIND.replace("SET", "{% break %}") + "{{ messages|length }}",
    "those of one kind, for now": KIND.replace("SET", "{% if messages|length < 7 %}{{ m.role }}{% endif %}") + WALK,
    "those of no kind": KIND.replace("user", "nobody") + WALK,
    "those of one kind in a list": "{% set messages = messages|reverse|list %}" + KIND,
    "those like the last": "{% set like = messages|selectattr('role', 'equalto', messages[-1].role)|list %}"
    "{% for m in like %}{{ m.content }}{{ loop.last }}{% endfor %}" + WALK,
    "a list that ends elsewhere": "{% for m in messages + [{'role': 'z'}] %}{{ m.role }}"
    "{{ loop.nextitem.role if not loop.last }}{% endfor %}",
    "numbers outside": "{% set ns = namespace(at=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.at = loop.index %}{% endif %}{% endfor %}{% set k = ns.at + 1 %}{% set l = [k, messages|length] %}"
    + WALK.replace("BODY", "{{ 'K' if loop.index == k }}{{ 'L' if loop.index < l[0] }}")
    + "{{ l }}",
    "a dict of numbers": "{% set d = {'n': messages|length} %}" + WALK.replace("BODY", "{{ d.n }}"),
    "what is set later": "{% macro who() %}{{ x }}{% endmacro %}" + WALK + "{% set x = 1 %}{{ who() }}",
    "what is given, and set later": WALK.replace("BODY", "{{ n }}") + "{% set n = 2 %}{{ n }}",
    "a loop in a condition": "{% if messages|length > 3 %}" + WALK.replace("BODY", "{{ loop.last }}") + "{% endif %}",
    "else": "{% for m in messages[2:] %}{{ m.role }}{% else %}none{% endfor %}",
}
SOURCES = {name: source.replace("DONE", FOUND) for name, source in SOURCES.items()}
STRANGE = {"a cycle", "what has changed", "a new namespace", "an iterator", "a dict of numbers", "what is set later"}
STRANGE |= {"what is given, and set later", "a loop over the loop", "a search by what a macro counts"}
"""Sources that cannot be told in stages."""
