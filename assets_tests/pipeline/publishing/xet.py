"""Xet, as far as the Hub's client needs it: tokens, blocks of chunks (xorbs), what files are made of (shards).

The bytes are those of the protocol (huggingface.co/docs/xet): a file is put together again from its chunks, and must
have the sha256 that its shard claims. Neither hashes of blocks are checked nor chunks of others offered.
"""

import hashlib
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from assets_tests.pipeline.publishing.connection import Connection
from assets_tests.pipeline.publishing.repositories import Refused

LZ4 = pa.Codec("lz4")
BOOKEND = b"\xff" * 32
ENTRY = 48
"""Bytes of everything in a shard."""
VERIFIED, TOLD_SHA = 1 << 31, 1 << 30
KEY = "xet_key"


class Term(NamedTuple):
    """A stretch of a file: chunks of a block, half open."""

    xorb: str
    length: int
    start: int
    end: int


def spelled(raw: bytes) -> str:
    """A hash as text: four numbers, each with its lowest byte first."""
    return "".join(raw[k : k + 8][::-1].hex() for k in range(0, 32, 8))


def borders(xorb: bytes) -> list[int]:
    """Where each chunk of a block begins, and where the last one ends."""
    found = [0]
    while found[-1] + 8 <= len(xorb) and xorb[found[-1] :][:7] != b"XETBLOB":
        found.append(found[-1] + 8 + int.from_bytes(xorb[found[-1] + 1 :][:3], "little"))
    return found


def unpacked(chunk: bytes) -> bytes:
    """What a chunk holds: as it is, LZ4, or LZ4 of its bytes in four groups."""
    kind, size = chunk[4], int.from_bytes(chunk[5:8], "little")
    data = chunk[8:] if kind == 0 else LZ4.decompress(chunk[8:], size, asbytes=True)
    if kind < 2:
        return data
    whole, at = bytearray(size), 0
    for group in range(4):
        count = len(range(group, size, 4))
        whole[group::4], at = data[at : at + count], at + count
    return bytes(whole)


def files_of(shard: bytes) -> Iterator[tuple[str, list[Term], str]]:
    """Each file of a shard: its name in Xet, what it is made of, its sha256."""
    at = ENTRY
    while shard[at : at + 32] != BOOKEND:
        name, flags, many = struct.unpack_from("<32sII", shard, at)
        entries = [struct.unpack_from("<32s4xIII", shard, at + ENTRY * (k + 1)) for k in range(many)]
        at += ENTRY * (1 + many * (2 if flags & VERIFIED else 1))
        told = spelled(shard[at : at + 32]) if flags & TOLD_SHA else ""
        at += ENTRY * bool(flags & TOLD_SHA)
        yield spelled(name), [Term(spelled(xorb), *rest) for xorb, *rest in entries], told


class Xet(Connection):
    """The requests of Xet, to the same server."""

    def xet_token(self, _: bytes, name: str, scope: str) -> None:
        self.writer(name) if scope == "write" else self.repo(name)
        if not self.hub.xet:
            raise Refused(404, "Xet is not enabled here")
        told = {"casUrl": self.hub.url, "exp": int(time.time()) + 3600, "accessToken": f"{KEY}_{scope}"}
        names = ("X-Xet-Cas-Url", "X-Xet-Token-Expiration", "X-Xet-Access-Token")
        self.json(told, headers=dict(zip(names, map(str, told.values()), strict=True)))

    def may(self, *scopes: str) -> None:
        if self.headers.get("Authorization") not in [f"Bearer {KEY}_{scope}" for scope in scopes]:
            raise Refused(401, "no token of Xet")

    def xorb(self, body: bytes, name: str) -> None:
        self.may("write")
        self.hub.received += len(body)
        self.json({"was_inserted": self.hub.xorbs.setdefault(name, body) is body})

    def shard(self, body: bytes) -> None:
        self.may("write")
        for name, terms, told in files_of(body):
            if missing := {term.xorb for term in terms} - self.hub.xorbs.keys():
                raise Refused(400, f"a file is made of blocks that are not here: {missing}")
            data = b"".join(map(self.stretch, terms))
            if hashlib.sha256(data).hexdigest() != told:
                raise Refused(400, "these chunks are another file")
            self.hub.lfs[told], self.hub.xet_names[told], self.hub.made_of[name] = data, name, terms
        self.json({"result": 1})

    def stretch(self, term: Term) -> bytes:
        xorb = self.hub.xorbs[term.xorb]
        ends = borders(xorb)
        return b"".join(unpacked(xorb[ends[k] : ends[k + 1]]) for k in range(term.start, term.end))

    def reconstruction(self, _: bytes, name: str) -> None:
        """What a file is made of. Whole, whatever range is asked for; beyond its end there is nothing."""
        self.may("read", "write")
        terms = self.hub.made_of[name]
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if first >= sum(term.length for term in terms):
            raise Refused(416, "it is not that long")
        told, places = [], {}
        for term in terms:
            ends, chunks = borders(self.hub.xorbs[term.xorb]), {"start": term.start, "end": term.end}
            told.append({"hash": term.xorb, "unpacked_length": term.length, "range": chunks})
            stretch = {"start": ends[term.start], "end": ends[term.end] - 1}
            place = {"range": chunks, "url": f"{self.hub.cdn}/xorbs/{term.xorb}", "url_range": stretch}
            places.setdefault(term.xorb, []).append(place)
        self.json({"offset_into_first_range": first, "terms": told, "fetch_info": places})

    def block(self, _: bytes, name: str) -> None:
        self.ranged(self.hub.xorbs[name], {})


HASH = "([0-9a-f]{64})"
ROUTES = [
    ("POST", f"/v1/xorbs/default/{HASH}", Xet.xorb),
    ("POST", "/v1/shards", Xet.shard),
    ("GET", f"/v1/reconstructions/{HASH}", Xet.reconstruction),
    ("GET", f"/xorbs/{HASH}", Xet.block),
]
