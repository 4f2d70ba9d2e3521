"""Signatures for files that a server gives to anyone who asks for one first: Planetary Computer's blobs.

A signature is asked for per container, held in memory alone, and renewed before it ends. It reaches no message, no
record and no file.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, urlsplit

from landcover_cli.errors import InputError
from landcover_cli.io.web import Web

TOKEN_URL = "https://planetarycomputer.microsoft.com/api/sas/v1/token"  # noqa: S105  an address
KEY = "PC_SDK_SUBSCRIPTION_KEY"
"""Environment variable with a subscription key, which the service does not ask for but treats better."""
_BLOB = re.compile(r"([a-z0-9]+)\.blob\.core\.windows\.net")
# Renewed so long before the end that a request that begins with it is served.
_EARLY_S = 300.0
# Assumed where the answer does not say when the signature ends.
_DEFAULT_S = 1800.0


class BlobSigner:
    """Signs addresses of blobs; everything else passes as it is."""

    def __init__(
        self,
        web: Web,
        token_url: str = TOKEN_URL,
        hosts: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """A signer.

        Args:
            web: Asks for signatures.
            token_url: Of the service: ``<token_url>/<account>/<container>``.
            hosts: Further hosts (with port) that hold blobs → account.
            now: The clock, in seconds since 1970.
        """
        self._web, self._token_url, self._hosts, self._now = web, token_url.rstrip("/"), dict(hosts or {}), now
        self._known: dict[tuple[str, str], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, url: str) -> str:
        """The address with a signature, where it is a blob's and has none yet.

        Raises:
            InputError: The service gives no signature.
        """
        parts = urlsplit(url)
        match = _BLOB.fullmatch((parts.hostname or "").lower())
        account = match.group(1) if match else self._hosts.get(parts.netloc)
        container = parts.path.strip("/").partition("/")[0]
        if not account or not container or parts.query or url.startswith(f"{self._token_url}/"):
            return url
        return f"{url}?{self._token(account, container)}"

    def _token(self, account: str, container: str) -> str:
        with self._lock:
            token, ends = self._known.get((account, container), ("", 0.0))
            if not token or self._now() > ends - _EARLY_S:
                token, ends = self._known[account, container] = self._ask(account, container)
            return token

    def _ask(self, account: str, container: str) -> tuple[str, float]:
        key = os.environ.get(KEY, "")
        headers = {"Ocp-Apim-Subscription-Key": key} if re.fullmatch(r"[\x21-\x7e]+", key) else {}
        address = f"{self._token_url}/{quote(account)}/{quote(container)}"
        try:
            answer = json.loads(self._web.read(address, 1 << 16, headers=headers))
            token = str(answer["token"]).lstrip("?")
            ends = datetime.fromisoformat(answer["msft:expiry"]).timestamp() if "msft:expiry" in answer else None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{address} gives no signature", remedy="try again later, or use --sign none for files open to everyone"
            ) from None
        return token, self._now() + _DEFAULT_S if ends is None else ends
