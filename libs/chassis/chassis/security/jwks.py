"""The identity provider's signing keys: fetched seldom, by one task at a time, and kept."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import httpx2
from jose import jwk
from jose.exceptions import JOSEError

log = logging.getLogger(__name__)

REFETCH_SECONDS = 30.0  # however many unknown kids are sent to us
FIRST_FETCH_SECONDS = 2.0  # while no key is known yet: we may have started before the provider
PROBE_SECONDS = 2.0  # between two fetches for readiness' sake, which must tell the truth soon
FETCH_TIMEOUT = 3.0
_MIN_BITS, _MAX_BITS = 2048, 8192


SigningKeys = dict[str, list[tuple[str, str]]]
"""By kid the modulus and exponent, in base64url, of each key that has this kid."""


class KeysUnavailable(Exception):
    """No signing key is known, or all are older than the maximum age."""


class KeySet:
    """Keys by `kid`, ready for use. While the provider is away the last good ones are kept.

    Args:
        url: the JWKS document.
        ttl: how long, in seconds, a key that was taken back is still trusted. The keys are fetched
            again a little earlier, in the background.
        max_age: seconds that keys are trusted while no fetch succeeds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl: float,
        max_age: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._ttl = ttl
        self._fresh_for = ttl - min(REFETCH_SECONDS, ttl / 2)
        self._max_age = max_age
        self._clock = clock
        # No kept connection: the keys are fetched every few minutes.
        self._http = httpx2.AsyncClient(
            limits=httpx2.Limits(max_keepalive_connections=0), trust_env=False
        )
        self._task: asyncio.Task[None] | None = None
        self._tried_at = self._fetched_at = -math.inf
        self._failed = False
        self._numbers: SigningKeys = {}
        self._keys: dict[str, tuple[Any, ...]] = {}
        self.version = 0  # moves with every change of the keys, so that others can cache

    @property
    def fresh(self) -> bool:
        """Whether `ready` would return at once, and fetch nothing."""
        return self._clock() - self._fetched_at < self._fresh_for

    async def ready(self) -> None:
        """Return when there are keys to trust.

        Waits for a fetch where there are none, and where nobody has asked for so long that one may
        have been taken back; not where the last fetch failed: then it is known who is away.

        Raises:
            KeysUnavailable: there are none, and the provider gave none.
        """
        if self.fresh:
            return
        age = self._clock() - self._fetched_at
        fetch = self._refetch()
        if age < self._ttl or (self._failed and age < self._max_age):
            return
        if fetch is not None:
            await asyncio.shield(fetch)
        if self._clock() - self._fetched_at >= self._max_age:
            raise KeysUnavailable("no signing key of the identity provider is known")

    async def find(self, kid: str) -> tuple[Any, ...]:
        """Return the keys of that id, seldom more than one; fetch when the id is new and a fetch
        is due."""
        fetch = self._refetch() if kid not in self._keys else None
        if fetch is not None:
            await asyncio.shield(fetch)
        return self._keys.get(kid, ())

    async def probe(self) -> None:
        """For readiness: raises when the last fetch, at most 2 s ago, failed."""
        fetch = self._refetch(PROBE_SECONDS)
        if fetch is not None:
            await asyncio.shield(fetch)
        if self._failed:
            raise KeysUnavailable("the identity provider did not give its keys")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._http.aclose()

    def _refetch(self, pause: float = REFETCH_SECONDS) -> asyncio.Task[None] | None:
        """The fetch under way or a new one; None when it is too early for one.

        A task of its own, waited for through a shield: a caller who hangs up must not cut off the
        fetch that others wait for.
        """
        if self._task is None or self._task.done():
            if self._clock() - self._tried_at < (pause if self._keys else FIRST_FETCH_SECONDS):
                return None
            self._tried_at = self._clock()
            self._task = asyncio.create_task(self._fetch(), name="fetch key set")
        return self._task

    async def _fetch(self) -> None:
        try:
            numbers = signing_keys(await self._document())
            keys = _usable(numbers)
            if not keys:
                raise ValueError("no usable key")
        except Exception as error:
            self._failed = True
            log.warning("key set not fetched", extra={"error": type(error).__name__})
            return
        self._failed = False
        self._fetched_at = self._clock()
        if numbers != self._numbers:
            self._numbers, self._keys = numbers, keys
            self.version += 1
            log.info("key set changed", extra={"keys": len(keys)})

    async def _document(self) -> Any:
        async with asyncio.timeout(FETCH_TIMEOUT):
            response = await self._http.get(self._url)
        response.raise_for_status()
        return response.json()


def signing_keys(document: Any) -> SigningKeys:
    """Return modulus and exponent of the keys that may verify RS256 signatures, by kid.

    An entry that is malformed or for another purpose is left out.

    Args:
        document: a JWK set (RFC 7517) as JSON.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    found: SigningKeys = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and _may_verify(entry):
            found.setdefault(entry["kid"], []).append((entry["n"], entry["e"]))
    return found


def _may_verify(entry: dict[str, Any]) -> bool:
    """Whether a key is for RS256 signatures: `use`, `alg` and `key_ops` are optional."""
    operations = entry.get("key_ops")
    return (
        entry.get("kty") == "RSA"
        and entry.get("use") in (None, "sig")
        and entry.get("alg") in (None, "RS256")
        and (operations is None or (isinstance(operations, list) and "verify" in operations))
        and all(isinstance(entry.get(name), str) for name in ("kid", "n", "e"))
    )


def _usable(numbers: SigningKeys) -> dict[str, tuple[Any, ...]]:
    """Construct the keys. Skip malformed keys and those outside the permitted size."""
    made = {kid: [_construct(*pair) for pair in pairs] for kid, pairs in numbers.items()}
    kept = {kid: tuple(key for key in keys if key is not None) for kid, keys in made.items()}
    return {kid: keys for kid, keys in kept.items() if keys}


def _construct(n: str, e: str) -> Any | None:
    """A key built once: from a dict, python-jose would build it anew for every token."""
    try:
        key = jwk.construct({"kty": "RSA", "n": n, "e": e}, "RS256")
    except (JOSEError, ValueError, TypeError):
        return None
    return key if _MIN_BITS <= key.prepared_key.key_size <= _MAX_BITS else None
