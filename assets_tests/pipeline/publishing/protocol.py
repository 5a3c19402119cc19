"""What a client of datasets asks of the Hub, and its answers, as huggingface_hub's own client expects them."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

import yaml

from assets_tests.pipeline.publishing.repositories import LFS_SUFFIXES, MAIN, WHEN, Blob, PullRequest, Refused, Repo
from assets_tests.pipeline.publishing.xet import ROUTES, Xet


class Handler(Xet):
    """Accounts, repositories, files, LFS objects, commits and pull requests."""

    # Accounts and repositories

    def whoami(self, _: bytes) -> None:
        if not self.known():
            raise Refused(401, "Invalid username or password.")
        self.json({"type": "user", "name": self.hub.user, "auth": {"accessToken": {"role": "write"}}, "orgs": []})

    def create(self, body: bytes) -> None:
        if not self.known():
            raise Refused(401, "Invalid credentials in Authorization header")
        asked = json.loads(body)
        name = f"{asked.get('organization') or self.hub.user}/{asked['name']}"
        if name in self.hub.repos:
            self.json({"error": "You already created this dataset repo", "url": self.at(name)}, status=409)
            return
        private = asked.get("private", asked.get("visibility") == "private")
        self.hub.repos[name] = Repo(name, private=bool(private))
        self.json({"url": self.at(name), "name": name, "id": name})

    def settings(self, body: bytes, name: str) -> None:
        repo, asked = self.writer(name), json.loads(body)
        repo.gated = asked.get("gated", repo.gated)
        repo.private = asked.get("private", repo.private)
        self.json({})

    def info(self, _: bytes, name: str, revision: str) -> None:
        repo = self.repo(name)
        commit = repo.at(revision or "main")
        told = {"id": name, "_id": "0", "author": name.partition("/")[0], "sha": commit.oid, "private": repo.private}
        files = [{"rfilename": path} for path in commit.files]
        when = {"lastModified": WHEN, "createdAt": WHEN}
        self.json({**told, **when, "gated": repo.gated, "disabled": False, "tags": [], "siblings": files})

    def at(self, name: str) -> str:
        return f"{self.hub.url}/datasets/{name}"

    # Reading

    def refs(self, _: bytes, name: str) -> None:
        repo = self.repo(name)
        told = [{"name": r.rpartition("/")[2], "ref": r, "targetCommit": oid} for r, oid in repo.refs.items()]
        pulls = [one for one in told if one["ref"].startswith("refs/pr/")]
        branches = [one for one in told if one not in pulls]
        self.json({"branches": branches, "converts": [], "tags": [], "pullRequests": pulls})

    def commits(self, _: bytes, name: str, revision: str) -> None:
        repo = self.repo(name)
        told, oid = [], repo.at(revision).oid
        while oid:
            commit = repo.commits[oid]
            told.append({"id": oid, "title": commit.title, "message": "", "authors": [], "date": WHEN})
            oid = commit.parent
        self.json(told)

    def tree(self, _: bytes, name: str, revision: str, folder: str) -> None:
        files = self.repo(name).at(revision).files
        start = f"{folder}/" if folder else ""
        inside = {path: blob for path, blob in files.items() if path.startswith(start)}
        if folder and not inside:
            raise Refused(404, f"{folder} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", "").lower() in ("1", "true")
        folders = {path[: k + len(start)] for path in inside for k, c in enumerate(path[len(start) :]) if c == "/"}
        shown = [path for path in sorted(folders) if recursive or "/" not in path[len(start) :]]
        listed = [{"type": "directory", "path": path, "oid": "0" * 40, "size": 0} for path in shown]
        listed += [self.entry(p, b) for p, b in inside.items() if recursive or "/" not in p[len(start) :]]
        self.json(listed)

    def paths_info(self, body: bytes, name: str, revision: str) -> None:
        files = self.repo(name).at(revision).files
        form = body.decode()
        paths = json.loads(form)["paths"] if form.startswith("{") else parse_qs(form).get("paths", [])
        listed = [self.entry(path, files[path]) for path in paths if path in files]
        for path in paths:
            if path not in files and any(name.startswith(f"{path}/") for name in files):
                listed.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        self.json(listed)

    def entry(self, path: str, blob: Blob) -> dict[str, Any]:
        told = {"type": "file", "path": path, "oid": blob.git, "size": len(blob.data)}
        lfs = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}
        xet = {"xetHash": self.hub.xet_names[blob.sha256]} if blob.sha256 in self.hub.xet_names else {}
        return {**told, **({"lfs": lfs} if blob.lfs else {}), **xet}

    def resolve(self, _: bytes, name: str, revision: str, path: str) -> None:
        commit = self.repo(name).at(revision)
        blob = commit.files.get(path)
        if blob is None:
            raise Refused(404, f"{path} does not exist", "EntryNotFound")
        headers = {"ETag": f'"{blob.etag}"', "X-Repo-Commit": commit.oid, "Accept-Ranges": "bytes"}
        if blob.lfs:
            linked = {"X-Linked-Size": str(len(blob.data)), "X-Linked-Etag": f'"{blob.etag}"'}
            if xet := self.hub.xet_names.get(blob.sha256):
                route = f"{self.hub.url}/api/datasets/{name}/xet-read-token/{commit.oid}"
                linked |= {"X-Xet-Hash": xet, "X-Xet-Refresh-Route": route}
            self.answer(b"", status=302, headers={**headers, **linked, "Location": f"{self.hub.cdn}/cdn/{blob.sha256}"})
        else:
            self.ranged(blob.data, headers)

    def cdn(self, _: bytes, oid: str) -> None:
        self.ranged(self.hub.lfs[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    def ranged(self, data: bytes, headers: Mapping[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not asked:
            self.answer(data, headers=headers)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        told = {**headers, "Content-Range": f"bytes {start}-{end}/{len(data)}"}
        self.answer(data[start : end + 1], status=206, headers=told)

    # Writing

    def validate_yaml(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        head = re.match(r"---\n(.*?)\n---", content, re.DOTALL)
        errors = []
        try:
            told = yaml.safe_load(head[1]) if head else {}
        except yaml.YAMLError as error:
            told, errors = {}, [{"message": str(error)}]
        if not isinstance(told.get("license", ""), str):
            errors.append({"message": '"license" must be a string'})
        self.json({"errors": errors, "warnings": []}, status=400 if errors else 200)

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        held = self.writer(name).at(revision).files
        files = []
        for asked in json.loads(body)["files"]:
            path = asked["path"]
            mode = "lfs" if path.endswith(LFS_SUFFIXES) or asked["size"] > 10_000_000 else "regular"
            oid = {"oid": held[path].etag} if path in held else {}
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        self.json({"files": files})

    def lfs_batch(self, body: bytes, name: str) -> None:
        self.writer(name)
        asked = json.loads(body)
        self.json({"transfer": "basic", "objects": [self.object(o["oid"], o["size"]) for o in asked["objects"]]})

    def object(self, oid: str, size: int) -> dict[str, Any]:
        told = {"oid": oid, "size": size}
        if oid in self.hub.lfs:
            return told
        place = f"{self.hub.url}/lfs/{oid}"
        upload: dict[str, Any] = {"href": place}
        if size > self.hub.part:
            count = -(-size // self.hub.part)
            urls = {str(k + 1): f"{place}/{k + 1}" for k in range(count)}
            upload = {"href": f"{place}/complete", "header": {"chunk_size": str(self.hub.part), **urls}}
        return {**told, "actions": {"upload": upload, "verify": {"href": f"{place}/verify"}}}

    def lfs_put(self, body: bytes, oid: str, part: str) -> None:
        self.hub.received += len(body)
        if part:
            self.hub.parts.setdefault(oid, {})[int(part)] = body
        else:
            self.keep(oid, body)
        self.answer(b"", headers={"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def lfs_complete(self, body: bytes, oid: str) -> None:
        told = [part["partNumber"] for part in json.loads(body)["parts"]]
        self.keep(oid, b"".join(self.hub.parts[oid][number] for number in told))
        self.json({})

    def keep(self, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise Refused(400, "the content is not what its oid says")
        self.hub.lfs[oid] = data

    def lfs_verify(self, _: bytes, oid: str) -> None:
        if oid not in self.hub.lfs:
            raise Refused(404, "Object does not exist")
        self.json({})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        repo = self.writer(name)
        head, *operations = (json.loads(line) for line in body.splitlines())
        base, told = repo.at(revision), head["value"]
        if told.get("parentCommit", base.oid) != base.oid:
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = dict(base.files)
        for operation in operations:
            CHANGES[operation["key"]](self.hub, files, operation["value"])
        ref, pull = repo.ref(revision), {}
        if self.query.get("create_pr"):
            repo.pulls.append(PullRequest(len(repo.pulls) + 1, told["summary"]))
            ref = f"refs/pr/{len(repo.pulls)}"
            pull = {"pullRequestUrl": f"{self.at(name)}/discussions/{len(repo.pulls)}"}
        made = repo.add(ref, base.oid, told["summary"], files)
        self.json({"success": True, "commitOid": made.oid, "commitUrl": f"{self.at(name)}/commit/{made.oid}", **pull})

    # Pull requests

    def discussions(self, _: bytes, name: str) -> None:
        status = self.query.get("status", "all")
        pulls = [pull for pull in self.repo(name).pulls if status in ("all", pull.status)]
        told = [
            {
                "title": pull.title,
                "num": pull.number,
                "author": {"name": self.hub.user},
                "createdAt": WHEN,
                "status": pull.status,
                "repo": {"name": name, "type": "dataset"},
                "isPullRequest": True,
            }
            for pull in pulls
        ]
        self.json({"discussions": told, "count": len(told), "start": 0})

    def merge(self, _: bytes, name: str, number: str) -> None:
        repo = self.writer(name)
        repo.refs[MAIN] = repo.refs[f"refs/pr/{number}"]
        self.status(b'{"status": "merged"}', name, number)

    def status(self, body: bytes, name: str, number: str) -> None:
        pull = self.writer(name).pulls[int(number) - 1]
        pull.status = json.loads(body)["status"]
        told = {"id": "0", "type": "status-change", "author": {"name": self.hub.user}, "createdAt": WHEN}
        self.json({"newStatus": {**told, "data": {"status": pull.status}}})


def _put(hub: Any, files: dict[str, Blob], told: dict[str, Any]) -> None:
    hub.received += len(data := base64.b64decode(told["content"]))
    files[told["path"]] = Blob(data, lfs=False)


def _link(hub: Any, files: dict[str, Blob], told: dict[str, Any]) -> None:
    if told["oid"] not in hub.lfs:
        raise Refused(400, f"{told['path']}: its LFS object was never uploaded")
    files[told["path"]] = Blob(hub.lfs[told["oid"]], lfs=True)


def _remove(_: Any, files: dict[str, Blob], told: dict[str, Any]) -> None:
    gone = [path for path in files if path == told["path"] or path.startswith(f"{told['path'].rstrip('/')}/")]
    if not gone:
        raise Refused(404, "A file with this name doesn't exist", "EntryNotFound")
    for path in gone:
        del files[path]


CHANGES: Mapping[str, Callable[[Any, dict[str, Blob], dict[str, Any]], None]] = {
    "file": _put,
    "lfsFile": _link,
    "deletedFile": _remove,
    "deletedFolder": _remove,
}
SET, REV = r"([^/]+/[^/]+)", r"(refs%2F[^/]+|refs/pr/\d+|[^/]+)"
Handler.routes = [
    (method, re.compile(pattern), work)
    for method, pattern, work in (
        ("GET", "/api/whoami-v2", Handler.whoami),
        ("POST", "/api/repos/create", Handler.create),
        ("POST", "/api/validate-yaml", Handler.validate_yaml),
        ("PUT", f"/api/datasets/{SET}/settings", Handler.settings),
        ("GET", f"/api/datasets/{SET}/refs", Handler.refs),
        ("GET", f"/api/datasets/{SET}/commits/{REV}", Handler.commits),
        ("GET", f"/api/datasets/{SET}/tree/{REV}(?:/(.*))?", Handler.tree),
        ("POST", f"/api/datasets/{SET}/paths-info/{REV}", Handler.paths_info),
        ("POST", f"/api/datasets/{SET}/preupload/{REV}", Handler.preupload),
        ("POST", f"/api/datasets/{SET}/commit/{REV}", Handler.commit),
        ("GET", f"/api/datasets/{SET}/xet-(write|read)-token/.*", Handler.xet_token),
        ("GET", f"/api/datasets/{SET}/discussions", Handler.discussions),
        ("POST", f"/api/datasets/{SET}/discussions/(\\d+)/merge", Handler.merge),
        ("POST", f"/api/datasets/{SET}/discussions/(\\d+)/status", Handler.status),
        ("GET", f"/api/datasets/{SET}(?:/revision/{REV})?", Handler.info),
        ("POST", f"/datasets/{SET}\\.git/info/lfs/objects/batch", Handler.lfs_batch),
        ("PUT", r"/lfs/([0-9a-f]{64})(?:/(\d+))?", Handler.lfs_put),
        ("POST", r"/lfs/([0-9a-f]{64})/complete", Handler.lfs_complete),
        ("POST", r"/lfs/([0-9a-f]{64})/verify", Handler.lfs_verify),
        ("HEAD", f"/datasets/{SET}/resolve/{REV}/(.*)", Handler.resolve),
        ("GET", f"/datasets/{SET}/resolve/{REV}/(.*)", Handler.resolve),
        ("HEAD", r"/cdn/([0-9a-f]{64})", Handler.cdn),
        ("GET", r"/cdn/([0-9a-f]{64})", Handler.cdn),
        *ROUTES,
    )
]
