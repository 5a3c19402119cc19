"""What trainers bring: rows of files, of the Hub, of memory, alone or mixed, as conversations or as rejects."""

import random
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from datasets import Dataset, DatasetDict

from pipeline.converting import FORMATS, convert, format_of, recognise
from pipeline.converting.rows import Told, rows_of, tell
from pipeline.errors import PipelineError, SettingsError, TraceError
from pipeline.mixing import shares
from pipeline.mixing.choosing import choose
from pipeline.records import Conversation, LocalFile, Place, Reject, RenderedRow, Trace
from pipeline.settings import hub_token
from pipeline.sourcing.rows import hub_sessions, local_files, read_dataset, read_parquet, saved
from renderers.callers import outside

T = TypeVar("T")
Source = str | Path | Dataset | DatasetDict
"""A file or folder, a data set of the Hub, or one in memory."""
Sources = Source | Sequence[Source] | Mapping[str, Any]
Entries = dict[str, Mapping[str, Any]]
SETTINGS = ("source", "percentage", "proportion", "weight", "max_examples")
"""Of a source in a mixture."""


def read(
    source: Source,
    *,
    format: str | None = None,  # noqa: A002
    split: str = "train",
    config: str | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> Iterator[Conversation | Reject]:
    """The conversations of a source, in any format; which one is recognised by how a file or a data set begins."""
    if format is not None and format not in FORMATS:
        raise SettingsError(f"format {format!r} is none of {', '.join(FORMATS)}")
    where: Any = {"split": split, "revision": revision, "token": token or hub_token()}
    if not isinstance(source, (str, Path, Dataset, DatasetDict)) or source == "":
        cure = (
            "name a path, a data set of the Hub, or a Dataset: of rows, Dataset.from_list(rows); of a stream, a split"
        )
        raise SettingsError(f"{type(source).__name__} {source!r:.60} is no source: {cure}")
    if isinstance(source, (str, Path)):
        source = saved(source) or source
    files = local_files(source, split=split) if isinstance(source, (str, Path)) else None
    if files is None and isinstance(source, str) and format is not None and not FORMATS[format].tell:
        files = hub_sessions(source, **where)
    if files is not None:
        return read_files(files, format=format)
    rows = read_dataset(str(source) if isinstance(source, Path) else source, config=config, **where)
    return _rows(((Place(name, number), row) for number, (name, row) in enumerate(rows)), format)


def read_files(files: Sequence[Path], *, format: str | None = None) -> Iterator[Conversation | Reject]:  # noqa: A002
    """The conversations of files: sessions, or rows. Of what several sessions tell, the later ones are marked."""
    learned: set[bytes] = set()
    for path in files:
        try:
            yield from _file(path, files, format, learned)
        except TraceError as error:
            yield Reject(id=path.name, stage="conversations", reason=error.reason, detail=str(error))


def _file(
    path: Path,
    beside: Sequence[Path],
    format: str | None,  # noqa: A002
    learned: set[bytes],
) -> Iterator[Conversation | Reject]:
    """The conversations of one file. Raises TraceError for one that is of no format."""
    if path.suffix == ".parquet":
        return _rows(((Place(path.name, number), row) for number, row in enumerate(read_parquet(path), 1)), format)
    file = LocalFile(name=path.name, path=path)
    format = format or format_of(file)  # noqa: A001
    if FORMATS[format].tell:
        return _rows(rows_of(file, FORMATS[format].reading()), format)
    return convert([session_of(path, beside, format)], learned=learned)


def session_of(path: Path, beside: Sequence[Path], format: str) -> Trace:  # noqa: A002
    """A session, with those that it goes on from. Raises TraceError for a file that holds nothing."""
    files = [LocalFile(name=path.name, path=path)]
    others = [LocalFile(name=one.name, path=one) for one in beside]
    while (before := FORMATS[format].parent_of(files[-1], others)) and before not in files:
        files.append(before)
    stem = files[0].stem
    return Trace(id=stem, prompt_id=stem, prompt="", agent="replay", format=format, files=tuple(files))


def _rows(rows: Iterable[tuple[Place, Any]], format: str | None) -> Iterator[Conversation | Reject]:  # noqa: A002
    """Rows, each called by its own id, or by where it stands."""
    for place, row in rows:
        format = format or recognise(row) or "messages"  # noqa: A001
        telling = FORMATS[format].tell
        if telling is None:
            raise SettingsError(f"{place.file}: {format} is no format of rows; give its session files, or say `format`")
        where = f"{place.file}:{place.line}{place.pointer}"
        known = row.called if isinstance(row, Told) else row.get("id") if isinstance(row, Mapping) else None
        trace = Trace(id=where, prompt_id=where, prompt="", agent="replay", format=format, files=())
        yield from tell(telling, trace, place, row, str(known or where))


def require_counts(**asked: Any) -> None:
    """Raises SettingsError for what is no number of rows or tokens."""
    for name, many in asked.items():
        if many is not None and (not isinstance(many, Integral) or isinstance(many, bool) or many < 1):
            raise SettingsError(f"{name}={many!r}: takes a whole number from 1 on, or None")


def entries_of(source: Sources, limit: int | None, *, by: str) -> tuple[Entries, int | None]:
    """Every source by name, and how many rows there may be of them all. `by`: what shares are of, `rows` or `tokens`.

    Raises SettingsError for what makes no mixture: nothing is read before.
    """
    entries, limit = _entries(source, limit)
    if by not in ("rows", "tokens"):
        raise SettingsError(f"by={by!r}: shares are of rows, or of tokens")
    if by == "tokens" and limit is not None:
        raise SettingsError("max_examples of all sources counts rows, and shares are of tokens: give it to each source")
    if not entries:
        raise SettingsError("no source is named: give a path, a data set of the Hub, a Dataset, or several of them")
    require_counts(max_examples=limit)
    for name, entry in entries.items():
        require_counts(**{f"source {name}: max_examples": entry.get("max_examples")})
    shares(entries)
    return entries, limit


def _entries(source: Sources, limit: int | None) -> tuple[Entries, int | None]:
    if isinstance(source, (list, tuple)):
        return {f"source {number}": {"source": one} for number, one in enumerate(source)}, limit
    if not isinstance(source, Mapping) or isinstance(source, DatasetDict):
        return {"source": {"source": source}}, limit
    limit = source.get("max_examples") if limit is None else limit
    listed = {name: one for name, one in source.items() if name != "max_examples"}
    named = {name: one if isinstance(one, Mapping) else {"source": one} for name, one in listed.items()}
    for name, one in named.items():
        if unknown := set(one) - set(SETTINGS):
            raise SettingsError(f"source {name}: no setting {min(unknown)!r}; a source has a share and max_examples")
        if "source" not in one:
            raise SettingsError(f"source {name}: it has no `source`: a path, a data set of the Hub, or a Dataset")
    return named, limit


def mixed(
    entries: Entries, found: Sequence[list[RenderedRow]], limit: int | None, seed: int, *, by: str
) -> tuple[list[RenderedRow], str]:
    """Rows of all sources in their shares, and what these came to; several sources are shuffled together.

    by: what shares are of, `rows` or `tokens`. Raises PipelineError for a source without a row.
    """
    if empty := [name for name, rows in zip(entries, found, strict=True) if not rows]:
        raise PipelineError(f"{empty[0]}: no row of it is left to learn from; the warnings say why each one left")
    sizes = [[len(row.input_ids) for row in rows] for rows in found]
    caps = [entry.get("max_examples") for entry in entries.values()]
    taken = choose(sizes, entries, by=by, limit=limit, seed=seed, caps=caps)
    rows = [own[k] for own, places in zip(found, taken, strict=True) for k in places]
    if len(found) > 1:
        random.Random(seed).shuffle(rows)
    came = [(len(places), sum(own[k] for k in places)) for own, places in zip(sizes, taken, strict=True)]
    return rows, "\n".join(_realized(entries, came, by))


def _realized(entries: Entries, came: Sequence[tuple[int, int]], by: str) -> Iterator[str]:
    """A line a source: what came of it, and what was asked for."""
    wanted, counted = shares(entries), [tokens if by == "tokens" else rows for rows, tokens in came]
    for number, (name, (rows, tokens)) in enumerate(zip(entries, came, strict=True)):
        asked = f", {wanted[number]:.2%} asked" if wanted else ""
        yield f"{name}: {rows:,} rows, {tokens:,} tokens: {counted[number] / max(sum(counted), 1):.2%} of {by}{asked}"


def chosen(rows: Iterable[T], many: int | None, seed: int) -> list[T]:
    """So many of the rows, in their order."""
    rows = list(rows)
    if many is None or many >= len(rows):
        return rows
    return [rows[k] for k in sorted(random.Random(seed).sample(range(len(rows)), many))]


def kept(rows: Iterable[T | Reject], *, strict: bool) -> Iterator[T]:
    """The rows that stay, and a warning of those that do not."""
    left: Counter[str] = Counter()
    first: dict[str, str] = {}
    for row in rows:
        if not isinstance(row, Reject):
            yield row
            continue
        if strict:
            raise PipelineError(f"{row.id}: {row.reason}: {row.detail}")
        left[row.reason] += 1
        first.setdefault(row.reason, f"{row.id}: {row.detail}")
    if left:
        told = "; ".join(f"{number} {reason}, the first {first[reason]}" for reason, number in left.most_common())
        warnings.warn(f"{left.total()} rows left: {told}", stacklevel=outside())
