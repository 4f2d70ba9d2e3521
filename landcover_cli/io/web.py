"""HTTP for downloads: one answer at a time, tokens that stay where they belong, and patience with busy servers.

A token comes from the environment alone, goes to one origin alone, and is in no message: text about a request holds
`public_url`, which has neither user names nor queries, where signatures are.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from landcover_cli import __version__
from landcover_cli.errors import InputError, UsageError

TOKEN = "LC_FETCH_TOKEN"  # noqa: S105  the name of a variable
READ_BYTES = 256 * 1024
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another attempt may mend (RFC 9110 section 15, RFC 6585 section 4)."""
_PORTS = {"http": 80, "https": 443}


class TransientError(Exception):
    """An attempt failed in a way that another one may mend; never leaves `io`.

    Attributes:
        wait_s: Seconds that the server asks to wait; None if it does not say.
    """

    def __init__(self, problem: str, wait_s: float | None = None) -> None:
        super().__init__(problem)
        self.wait_s = wait_s


class NotThereError(InputError):
    """The server knows no such file (404 or 410)."""


class RangeError(Exception):
    """The server cannot serve the range asked for (416); never leaves `io`."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """How patient downloads are.

    Attributes:
        attempts: Attempts in a row that may bring nothing new before a download fails.
        backoff_s: Seconds before the second attempt; doubled before every further one.
        longest_wait_s: No wait is longer; a server that asks for more ends the download.
        timeout_s: Seconds without a byte after which a connection counts as lost.
        sleep: What waits; None waits so that an interruption ends it.
    """

    attempts: int = 6
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    timeout_s: float = 60.0
    sleep: Callable[[float], object] | None = None


def public_url(url: str) -> str:
    """A URL without user name, password, query and fragment: what messages and records may hold."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))


def origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port): what a token belongs to (RFC 6454)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def check_base_url(text: str) -> str:
    """A base URL as the user gave it, without a slash at its end.

    Raises:
        UsageError: No http or https URL, or one that carries a password or a query.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme.lower() in _PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s\x00-\x1f]", text):
        raise UsageError("--base-url is no http or https URL", remedy="write for example https://mirror.example/dem")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"--base-url {public_url(text)} carries a user name, a query or a fragment",
            remedy=f"give the bare address, and a bearer token in the environment variable {TOKEN}",
        )
    return text.rstrip("/")


def token_variable(host: str) -> str:
    """Name of the environment variable with the token of one host: ``LC_FETCH_TOKEN_DATA_EXAMPLE_ORG``."""
    return f"{TOKEN}_{re.sub(r'[^A-Z0-9]', '_', host.upper())}"


def _token(url: str, trusted: frozenset[tuple[str, str, int]]) -> str | None:
    """The token for a URL: of its host, or the general one for what the user named with --base-url."""
    where = origin(url)
    name = token_variable(where[1])
    value = os.environ.get(name, "")
    if not value and where in trusted:
        name, value = TOKEN, os.environ.get(TOKEN, "")
    if not value:
        return None
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise UsageError(
            f"the token in {name} holds a space, a line break or another character that no token has",
            remedy=f"set {name} to the bare token",
        )
    if where[0] != "https" and not _is_loopback(where[1]):
        raise UsageError(
            f"the token in {name} would travel unencrypted to {public_url(url)}", remedy="give an https address"
        )
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a token stays with its origin, and nothing leads from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request to send to the new place; urllib itself drops headers added as unredirected."""
        try:
            new_origin = origin(newurl)
        except ValueError:
            new_origin = ("", "", 0)
        if new_origin[0] not in _PORTS or (origin(req.full_url)[0] == "https" and new_origin[0] != "https"):
            fp.close()
            raise InputError(
                f"{public_url(req.full_url)} redirects to an address that is not {origin(req.full_url)[0]}",
                remedy="give the final address as --base-url",
            )
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None:
            new.method = req.get_method()
            token = req.unredirected_hdrs.get("Authorization")
            if token and new_origin == origin(req.full_url):
                new.add_unredirected_header("Authorization", token)
        return new


class Web:
    """A client: settings, the user's own origins, and the signal to stop.

    Attributes:
        sign: Gives an address the signature that its server asks for, at the moment of the request; no message and no
            record ever sees what it returns.
    """

    def __init__(self, settings: WebSettings | None = None, base_url: str | None = None) -> None:
        """A client.

        Args:
            settings: Patience.
            base_url: What the user gave as --base-url: the one place that the general token is sent to.
        """
        self.settings = settings or WebSettings()
        self.sign: Callable[[str], str] = lambda url: url
        self.stop = threading.Event()
        self._trusted = frozenset({origin(base_url)} if base_url else ())
        self._opener = urllib.request.build_opener(_Redirects)

    @contextmanager
    def open(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> Iterator[HTTPResponse]:
        """One attempt.

        Args:
            url: Where.
            method: HTTP method.
            headers: More headers.
            data: Body of a POST.

        Raises:
            TransientError: Not reached, or a status that another attempt may mend.
            RangeError: Status 416.
            NotThereError: Status 404 or 410.
            InputError: Any other status that is no success, or a certificate that is not valid.
            UsageError: A token that must not be sent.
        """
        head = {"User-Agent": f"landcover-cli/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        token = _token(url, self._trusted)
        try:
            request = urllib.request.Request(self.sign(url), data, head, method=method)  # noqa: S310  http and https only
            if token:
                request.add_unredirected_header("Authorization", f"Bearer {token}")
            response: HTTPResponse = self._opener.open(request, timeout=self.settings.timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(error, url) from None
        except urllib.error.URLError as error:
            raise _unreached(error.reason, url) from None
        except (http.client.InvalidURL, ValueError):
            raise InputError(f"{public_url(url)} is no address", remedy="check the address") from None
        except (http.client.HTTPException, OSError) as error:
            raise _unreached(error, url) from None
        with response:
            yield response

    def patience(self, what: str) -> Patience:
        """Count the failures of one download."""
        return Patience(self.settings, self.stop, what)

    def size(self, url: str) -> int | None:
        """Bytes of a file, without fetching it; None if the server does not say.

        Raises:
            NotThereError: It is not there.
            InputError: The server refuses, or is not reached.
        """
        patience = self.patience(public_url(url))
        while True:
            try:
                try:
                    with self.open(url, method="HEAD") as response:
                        return length_of(response)
                except NotThereError:
                    raise
                except InputError:
                    # Addresses signed for GET, and some servers, refuse HEAD.
                    with self.open(url, headers={"Range": "bytes=0-0"}) as response:
                        found = content_range(response)
                        return found[1] if found else length_of(response)
            except RangeError:
                return 0  # one byte was asked for, and there is none
            except TransientError as trouble:
                patience.after(trouble)

    def read(
        self, url: str, limit: int, *, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> bytes:
        """A small document, whole.

        Args:
            url: Where.
            limit: Bytes that it may have.
            headers: More headers.
            data: Body: it is asked for by POST.

        Raises:
            NotThereError: It is not there.
            InputError: Refused, not reached, or too long.
        """
        patience = self.patience(public_url(url))
        while True:
            try:
                with self.open(url, method="POST" if data else "GET", headers=headers, data=data) as response:
                    parts, count = [], 0
                    while chunk := read_chunk(response):
                        count += len(chunk)
                        if count > limit:
                            raise InputError(
                                f"{public_url(url)} is longer than {limit:,} bytes", remedy="check --base-url"
                            )
                        parts.append(chunk)
                    said = length_of(response)
                    if said is not None and count != said:
                        raise TransientError(f"the body is truncated: {count:,} of {said:,} bytes")
                    return b"".join(parts)
            except RangeError:
                raise InputError(f"{public_url(url)}: status 416", remedy="check --base-url") from None
            except TransientError as trouble:
                patience.after(trouble)


class Patience:
    """How often in a row a download may fail, and how long it waits in between."""

    def __init__(self, settings: WebSettings, stop: threading.Event, what: str) -> None:
        self._settings, self._stop, self._what = settings, stop, what
        self._failures = 0

    def progressed(self) -> None:
        """Something new arrived: begin to count again."""
        self._failures = 0

    def after(self, trouble: TransientError) -> None:
        """Wait before the next attempt.

        Raises:
            InputError: There were enough attempts, the server asks for too long a wait, or the download is to stop.
        """
        settings = self._settings
        self._failures += 1
        keep = "run the same command again later: what has arrived is kept"
        if self._stop.is_set():
            raise InputError(f"{self._what}: stopped", remedy=keep)
        if self._failures >= settings.attempts:
            raise InputError(f"{self._what}: {trouble} (attempt {self._failures} of {settings.attempts})", remedy=keep)
        wait_s = min(settings.backoff_s * 2.0 ** (self._failures - 1), settings.longest_wait_s)
        if trouble.wait_s is not None:
            if trouble.wait_s > settings.longest_wait_s:
                raise InputError(
                    f"{self._what}: {trouble}, and asks to come back in {trouble.wait_s:,.0f} s", remedy=keep
                )
            wait_s = max(trouble.wait_s, 0.0)
        (settings.sleep or self._stop.wait)(wait_s)


def read_chunk(response: HTTPResponse) -> bytes:
    """What has arrived, at most 256 KiB; empty at the end.

    Raises:
        TransientError: The connection was lost.
    """
    try:
        return response.read1(READ_BYTES)
    except (http.client.HTTPException, OSError) as error:
        raise TransientError(f"the connection was lost ({_word(error)})") from None


def length_of(response: HTTPResponse) -> int | None:
    """Content-Length of an answer, None where it is absent or no number."""
    text = (response.headers.get("Content-Length") or "").strip()
    return int(text) if text.isdecimal() else None


def content_range(response: HTTPResponse) -> tuple[int, int | None] | None:
    """(first byte, bytes of the whole file or None) of a 206 answer; None for any other (RFC 9110, 14.4)."""
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", (response.headers.get("Content-Range") or "").strip())
    if response.status != 206 or not match:
        return None
    return int(match.group(1)), None if match.group(3) == "*" else int(match.group(3))


def retry_after_s(text: str | None, now_s: float | None = None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3); None if it is neither."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, when - (time.time() if now_s is None else now_s))


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    where, status = public_url(url), error.code
    if status in BUSY:
        return TransientError(f"the server answers {status}", retry_after_s(error.headers.get("Retry-After")))
    if status == 416:
        return RangeError(where)
    if status in (404, 410):
        return NotThereError(f"{where} does not exist (status {status})", remedy="check the name and --base-url")
    if status in (401, 403):
        variable = token_variable(origin(url)[1])
        return InputError(
            f"{where} may not be read (status {status})",
            remedy=f"set a token in {variable} (or in {TOKEN}, for what --base-url names), or choose a mirror",
        )
    return InputError(f"{where}: the server answers {status}", remedy="check --base-url, or try again later")


def _unreached(reason: object, url: str) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return InputError(
            f"{public_url(url)}: the server's certificate is not valid ({reason.verify_message})",
            remedy="check the clock and the address; behind a filtering proxy, set SSL_CERT_FILE",
        )
    return TransientError(f"the server is not reached ({_word(reason)})")


def _word(reason: object) -> str:
    """A short word for a failure, without anything that a request may have carried."""
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__ if isinstance(reason, BaseException) else "no connection"
