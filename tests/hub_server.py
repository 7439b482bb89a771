"""A small Hub for tests: enough of its protocol, in memory, for the real huggingface_hub client to push to and pull from.

Repositories are lists of commits, each a dictionary of files. Files over `LFS_BYTES`, or in binary formats, go by LFS. Faults are queued:
the next request whose method and path match one is answered with its status, or its connection is dropped.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import _http

TOKEN = "hf_" + "a" * 34
LFS_BYTES = 10 * 2**20
LFS_SUFFIXES = (".safetensors", ".bin", ".jpg", ".png")
PREFIXES = {"models": "", "spaces": "spaces/", "datasets": "datasets/"}


@dataclass(kw_only=True)
class Repo:
    private: bool = False
    gated: bool = False
    sdk: str | None = None
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)  # (sha, message, files)

    def commit(self, message: str, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{len(self.commits)} {message} {sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, message, files))
        return sha

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][2]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1][0], self.commits[-1][2]
        return next(((sha, files) for sha, _, files in self.commits if sha == revision), None)


@dataclass(kw_only=True)
class Fault:
    """method, part: of the requests that fail, part being a piece of the path. status: None drops the connection. times: how often."""

    method: str
    part: str
    status: int | None
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Hub:
    url: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)  # ("models", "owner/name")
    objects: dict[str, bytes] = field(default_factory=dict)  # LFS, by sha256
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes], *, kind: str = "models", private: bool = False, gated: bool = False) -> Repo:
        """A repository with one commit."""
        repo = self.repos[kind, name] = Repo(private=private, gated=gated)
        repo.commit("initial commit", dict(files))
        return repo

    def fail(self, method: str, part: str, status: int | None, times: int = 1, **headers: str) -> None:
        self.faults.append(
            Fault(method=method, part=part, status=status, times=times, headers={k.replace("_", "-"): v for k, v in headers.items()})
        )


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def aim_client(monkeypatch: pytest.MonkeyPatch, url: str, token: str | None = TOKEN) -> None:
    """Have huggingface_hub talk to `url` with `token`, by plain LFS, without pauses between attempts."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    settings = {"ENDPOINT": url, "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_TOKEN_PATH": "/nowhere"}
    for name, value in {**settings, "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None, time=time.time, monotonic=time.monotonic))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {url.path}")
        for fault in self.hub.faults:
            if fault.times and fault.method == self.command and fault.part in url.path:
                fault.times -= 1
                if fault.status is None:
                    self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
                    self.connection.close()
                    return
                self._body()
                self._json({"error": f"fault {fault.status}"}, fault.status, fault.headers)
                return
        self.body = self._body()
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self._route(parts)

    def _route(self, parts: list[str]) -> None:
        match parts:
            case ["api", "whoami-v2"]:
                self._json({"name": "me", "type": "user", "orgs": []}) if self._known() else self._json({"error": "who?"}, 401)
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "repos", "create"]:
                self._create(json.loads(self.body))
            case ["api", kind, owner, name, *rest] if kind in PREFIXES:
                self._api(kind, f"{owner}/{name}", rest)
            case ["lfs", oid] if self.command == "PUT":
                assert hashlib.sha256(self.body).hexdigest() == oid
                self.hub.objects[oid] = self.body
                self._json({})
            case ["lfs", "verify", oid]:
                self._json({}, 200 if oid in self.hub.objects else 404)
            case ["models" | "spaces" | "datasets" as kind, owner, name, "resolve", revision, *file]:
                self._file(kind, f"{owner}/{name}", revision, "/".join(file))
            case [*_, git, "info", "lfs", "objects", "batch"] if git.endswith(".git"):
                self._batch(json.loads(self.body))
            case [owner, name, "resolve", revision, *file]:
                self._file("models", f"{owner}/{name}", revision, "/".join(file))
            case _:
                self._json({"error": f"no route for {self.path}"}, 404)

    def _create(self, wanted: dict[str, Any]) -> None:
        kind, name = f"{wanted.get('type', 'model')}s", f"{wanted['organization']}/{wanted['name']}"
        if not self._known():
            self._json({"error": "Invalid credentials in Authorization header"}, 401)
        elif wanted["organization"] not in ("me", "us"):
            self._json({"error": "You don't have the rights"}, 403)
        elif (kind, name) in self.hub.repos:
            self._json({"error": "exists", "url": f"{self.hub.url}/{PREFIXES[kind]}{name}"}, 409)
        else:
            repo = self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, kind=kind)
            repo.private, repo.sdk = wanted.get("visibility") == "private" or bool(wanted.get("private")), wanted.get("sdk")
            self._json({"url": f"{self.hub.url}/{PREFIXES[kind]}{name}", "name": name})

    def _api(self, kind: str, name: str, rest: list[str]) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        match rest:
            case [] | ["revision", _]:
                found = repo.at(rest[1] if rest else "main")
                if found is None:
                    self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
                    return
                sha, files = found
                siblings = [{"rfilename": path, "size": len(data), "blobId": _git(data)} for path, data in files.items()]
                self._json({"id": name, "modelId": name, "sha": sha, "private": repo.private, "siblings": siblings, "tags": []})
            case ["tree", revision]:
                found = repo.at(revision)
                if found is None:
                    self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
                    return
                self._json([self._entry(path, data) for path, data in found[1].items()])
            case ["preupload", _]:
                self._json({"files": [self._mode(repo, file) for file in json.loads(self.body)["files"]]})
            case ["commit", _]:
                self._commit(repo, f"{self.hub.url}/{PREFIXES[kind]}{name}")
            case _:
                self._json({"error": "no such endpoint"}, 404)

    def _entry(self, path: str, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
        if path.endswith(LFS_SUFFIXES):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        return entry

    def _mode(self, repo: Repo, file: dict[str, Any]) -> dict[str, Any]:
        lfs = file["path"].endswith(LFS_SUFFIXES) or file["size"] > LFS_BYTES
        known = repo.files.get(file["path"])
        oid = None if known is None else hashlib.sha256(known).hexdigest() if lfs else _git(known)
        return {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid}

    def _batch(self, wanted: dict[str, Any]) -> None:
        objects = []
        for item in wanted["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.objects:
                upload, verify = f"{self.hub.url}/lfs/{item['oid']}", f"{self.hub.url}/lfs/verify/{item['oid']}"
                entry["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(entry)
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, repo: Repo, url: str) -> None:
        files, message = dict(repo.files), ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repo.commit(message, files)
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{url}/commit/{sha}", "hookOutput": ""})

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind, name)
        if repo is None:
            return
        found = repo.at(revision)
        if found is None:
            self._json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif path not in found[1]:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found[0]})
        else:
            data = found[1][path]
            self._send(data, 200, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": found[0]})

    def _repo(self, kind: str, name: str) -> Repo | None:
        """The repository, or None and an answer as the Hub's: what may not be seen is not there."""
        repo = self.hub.repos.get((kind, name))
        if repo is None or (repo.private and not self._known()):
            self._json({"error": "Repository not found"}, 404 if self._known() else 401, {"X-Error-Code": "RepoNotFound"})
            return None
        if repo.gated and not self._known():
            self._json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
            return None
        return repo

    def _known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
