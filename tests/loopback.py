"""A server on 127.0.0.1 that serves what a test puts into it, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n" * 20


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]


Answer = Callable[[BaseHTTPRequestHandler, bytes], bool]
"""A misbehaviour: given the handler and the body, answers and returns True, or returns False to answer as usual."""


@dataclass
class Site:
    """Files by path, misbehaviours in the order in which they happen, and what was asked.

    `dynamic` answers a path with what a function makes of (method, query, body).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    dynamic: dict[str, Callable[[str, str, bytes], bytes]] = field(default_factory=dict)
    mishaps: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    etags: bool = True
    ranges: bool = True
    base: str = ""
    guard: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return self.base + path

    def gets(self, path: str | None = None) -> list[Asked]:
        return [a for a in self.asked if a.method == "GET" and path in (None, a.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path + (f"?{urlsplit(self.path).query}" if "list-type" in self.path else "")
        with self.site.guard:
            self.site.asked.append(Asked(self.command, self.path, dict(self.headers.items())))
            mishap = self.site.mishaps.pop(0) if self.site.mishaps and self.command != "HEAD" else None
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        make = self.site.dynamic.get(path)
        body = make(self.command, urlsplit(self.path).query, sent) if make else self.site.files.get(path)
        if mishap is not None and mishap(self, body or b""):
            return
        if body is None:
            send(self, 404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes"} if self.site.etags else {}
        asked = self.headers.get("Range")
        if asked and self.site.ranges and self.headers.get("If-Range", etag) == etag:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else len(body), len(body))
            if start >= len(body):
                send(self, 416, b"", **{"Content-Range": f"bytes */{len(body)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            send(self, 206, body[start:stop], **headers)
            return
        send(self, 200, body, **headers)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, *, cut: int | None = None, **headers: str) -> None:
    """Answer; with `cut`, say the whole length, send so many bytes only, and hang up."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command != "HEAD":
        try:
            handler.wfile.write(body if cut is None else body[:cut])
            handler.wfile.flush()
        except OSError:
            pass
    if cut is not None:
        handler.close_connection = True


def status(code: int, **headers: str) -> Answer:
    """Answer with a status and no body."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        send(handler, code, b"", **headers)
        return True

    return answer


def hang_up_after(count: int) -> Answer:
    """Answer as usual, range or not, but hang up after so many bytes of this answer."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        first = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        start = int(first)
        ranged = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        send(handler, 206 if start else 200, body[start:], cut=count, ETag=etag, **ranged)
        return True

    return answer


def body_of(content: bytes, code: int = 200, **headers: str) -> Answer:
    """Answer with something else."""

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
        send(handler, code, content, **headers)
        return True

    return answer


@contextmanager
def serve() -> Iterator[Site]:
    """A site that answers on 127.0.0.1 while the block runs."""
    site = Site()
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def stay_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no token of the surroundings; a connection to anywhere else fails the test."""
    import os
    import socket

    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("LC_FETCH_TOKEN"):
            monkeypatch.delenv(name)
    real = socket.create_connection

    def only_loopback(address: tuple[str, int], *args: Any, **kwargs: Any) -> socket.socket:
        assert address[0] in {"127.0.0.1", "localhost"}, f"a test reached out to {address[0]}"
        return real(address, *args, **kwargs)

    monkeypatch.setattr(socket, "create_connection", only_loopback)
