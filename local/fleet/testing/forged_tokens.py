"""The table of promise 39: forged tokens and headers, each of which must get a 401.

Tests of the verifier, order-service and the gateway use it, so that all three refuse the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

from fleet.testing.token_mint import ISSUER, Json, SigningKey, b64, claims, number, token

_PART = re.compile(r"[A-Za-z0-9_-]{16,}")


@dataclass(frozen=True)
class Presented:
    """Authorization headers of a request, and their flaw."""

    name: str
    headers: tuple[bytes, ...]

    def leaked_into(self, text: str) -> set[str]:
        """Return parts of the token or its claims that appear in another text."""
        parts = {
            part for header in self.headers for part in _PART.findall(header.decode("latin-1"))
        }
        parts |= {"alice@example.com", "38eee1b1-d9bd-4cd8-b0f5-c72001cb0d81"}
        return {part for part in parts if part[:48] in text}

    def flaws(self, status: int, headers: Mapping[str, str], body: bytes) -> list[str]:
        """Return the differences of a response from the promised 401."""
        flaws = [] if status == 401 else [f"the status is {status}"]
        if not headers.get("www-authenticate", "").startswith("Bearer"):
            flaws.append("there is no challenge")
        if headers.get("content-type") != "application/problem+json":
            flaws.append("it is no problem document")
        elif json.loads(body)["status"] != status:
            flaws.append("the document tells another status")
        if self.leaked_into(body.decode("latin-1") + str(dict(headers))):
            flaws.append("it repeats the token")
        return flaws


def _hmac(secret: bytes, algorithm: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda data: hmac.new(secret, data, algorithm).digest()


@dataclass
class Forger:
    """Creates forged tokens from a valid one, the provider's keys and keys of another issuer.

    `azp` is forged too: configure the verifier with the client `storefront` only.
    """

    key: SigningKey
    encryption: SigningKey
    weak: SigningKey
    stranger: SigningKey

    @classmethod
    def new(cls) -> Forger:
        """Create a forger with new keys."""
        return cls(
            key=SigningKey.new("sig-1"),
            encryption=SigningKey.new("enc-1"),
            weak=SigningKey.new("weak-1", bits=1024),
            stranger=SigningKey.new("stranger"),
        )

    def key_set(self) -> list[Json]:
        """Return a key set like Keycloak's, with an encryption key and malformed entries."""
        curve = {"kid": "curve", "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256"}
        return [
            self.encryption.jwk(use="enc", alg="RSA-OAEP"),
            self.weak.jwk(),
            curve | {"x": number(3), "y": number(5)},
            {"kid": "shared", "kty": "oct", "use": "sig", "alg": "HS256", "k": b64(b"k" * 32)},
            self.key.jwk(),
        ]

    def presented(self) -> list[Presented]:
        """Yield the table as request headers."""
        found = [
            Presented(name, (b"Bearer " + forged.encode("utf-8", "surrogatepass"),))
            for name, forged in self.tokens()
        ]
        good = token(self.key).encode()
        found += [Presented(name, headers) for name, headers in _odd_headers(good)]
        return found

    def tokens(self) -> Iterator[tuple[str, str]]:
        """Yield the table: flaw and token."""
        yield from self._algorithms()
        yield from self._keys()
        yield from self._headers()
        yield from self._claims()
        yield from self._forms()

    def _algorithms(self) -> Iterator[tuple[str, str]]:
        key = self.key
        for name in ("none", "None", "nOnE", "", "rs256", "RS256HS256", "RS256 "):
            yield f"alg {name!r}", token(key, alg=name)
            yield f"alg {name!r}, no signature", token(key, alg=name, sign=lambda _: b"")
        for name in ("HS256", "RS512", "PS256", "ES256"):
            yield f"said to be {name}, but RS256", token(key, alg=name)
        yield "alg missing", token(key, alg=None)
        yield "alg as a list", token(key, alg=["RS256"])
        yield "alg as a number", token(key, alg=256)
        secrets = {
            "PEM": key.public(Encoding.PEM),
            "DER": key.public(Encoding.DER),
            "JWK": json.dumps(key.jwk()).encode(),
            "modulus": key.jwk()["n"].encode(),
            "nothing": b"",
        }
        for name, secret in secrets.items():
            yield f"HS256 with {name} as secret", token(key, alg="HS256", sign=_hmac(secret))
            yield f"HMAC with {name}, said to be RS256", token(key, sign=_hmac(secret))
        yield (
            "HS256 with a secret of the key set",
            token(key, alg="HS256", kid="shared", sign=_hmac(b"k" * 32)),
        )
        for bits, hashed in ((384, hashes.SHA384()), (512, hashes.SHA512())):
            signer = _rsa(key, padding.PKCS1v15(), hashed)
            yield f"RS{bits}, rightly signed", token(key, alg=f"RS{bits}", sign=signer)
            yield f"RS{bits}, said to be RS256", token(key, sign=signer)
        pss = _rsa(key, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        yield "PS256, rightly signed", token(key, alg="PS256", sign=pss)
        curve = ec.generate_private_key(ec.SECP256R1())
        yield (
            "ES256",
            token(
                key,
                alg="ES256",
                kid="curve",
                sign=lambda d: curve.sign(d, ec.ECDSA(hashes.SHA256())),
            ),
        )

    def _keys(self) -> Iterator[tuple[str, str]]:
        key, stranger = self.key, self.stranger
        yield "unknown kid", token(stranger)
        yield "our kid, another's key", token(stranger, kid=key.kid)
        yield "kid missing", token(key, kid=None)
        yield "encryption key", token(self.encryption)
        yield "key of 1024 bits", token(self.weak)
        odd: list[Any] = [
            "",
            "../../dev/null",
            "a" * 300,
            "' OR 1=1",
            "\x00",
            7,
            None,
            [key.kid],
            {},
        ]
        for kid in odd:
            yield f"kid {kid!r:.20}", token(key, header={"alg": "RS256", "typ": "JWT", "kid": kid})
        other = token(key, claims(sub="someone-else"))
        mine, signature = token(key).rpartition(".")[0], other.rpartition(".")[2]
        yield "another token's signature", f"{mine}.{signature}"
        yield "another token's payload", _swapped(token(key), claims(sub="admin"))
        yield "half a signature", token(key)[:-170]
        yield "no signature", f"{mine}."
        yield "signature of zeros", token(key, sign=lambda _: bytes(256))

    def _headers(self) -> Iterator[tuple[str, str]]:
        key, stranger = self.key, self.stranger
        own: Json = {
            "jku": "http://evil.example/certs",
            "x5u": "http://evil.example/cert.pem",
            "jwk": stranger.jwk(),
            "x5c": ["MIIB"],
            "crit": ["exp"],
        }
        for name, value in own.items():
            yield f"{name} in the header", token(key, **{name: value})
            yield f"{name}, another's key", token(stranger, kid=key.kid, **{name: value})
        yield "b64 false with crit", token(key, crit=["b64"], b64=False)
        types: list[Any] = ["JWE", "logout+jwt", "dpop+jwt", "id+jwt", "", 1, ["at+jwt"]]
        types += ["application/logout+jwt", "text/at+jwt", "at+jwt ", "at+jwt; q=1", "rat+jwt"]
        for typ in types:
            yield f"header typ {typ!r}", token(key, typ=typ)
        for kind in ("ID", "Refresh", "Logout"):
            yield f"an at+jwt that is {kind}", token(key, claims(typ=kind), typ="at+jwt")
        deep = b'{"alg":"RS256","kid":' + b"[" * 2000 + b"}"
        for name, header in {
            "a list": b'["RS256"]',
            "text": b'"RS256"',
            "null": b"null",
            "no JSON": b"{alg:RS256}",
            "deep": deep,
            "not UTF-8": b'{"alg":"RS256","kid":"\xff"}',
            "a huge number": b'{"alg":"RS256","kid":' + b"9" * 5000 + b"}",
        }.items():
            yield f"header is {name}", token(key, header=header)

    def _claims(self) -> Iterator[tuple[str, str]]:
        now = int(time.time())
        wrong: list[tuple[str, Any]] = [
            ("exp", now - 31),
            ("exp", 0),
            ("exp", str(now + 300)),
            ("exp", True),
            ("exp", [now + 300]),
            ("exp", 10**400),
            ("nbf", now + 3600),
            ("nbf", "soon"),
            ("iat", now + 3600),
            ("iat", str(now)),
            ("aud", "account"),
            ("aud", ["account", "storefront"]),
            ("aud", [["ecommerce-api"]]),
            ("aud", "ecommerce-api-2"),
            ("aud", {"ecommerce-api": 1}),
            ("aud", 7),
            ("aud", []),
            ("iss", "http://localhost:8081/realms/master"),
            ("iss", f"{ISSUER}/"),
            ("iss", [ISSUER]),
            ("iss", "HTTP://localhost:8081/realms/microservices"),
            ("sub", ""),
            ("sub", 7),
            ("sub", "a\x00b"),
            ("sub", "\ud800"),
            ("sub", "s" * 256),
            ("typ", "ID"),
            ("typ", "Refresh"),
            ("typ", "bearer"),
            ("typ", "\u0412\u0435arer"),  # two Cyrillic letters
            ("azp", "another-client"),
            ("azp", ["storefront"]),
        ]
        for name, value in wrong:
            yield f"{name} {value!r:.40}", token(self.key, claims(**{name: value}))
        for name in ("exp", "iat", "aud", "iss", "sub", "typ", "azp"):
            yield f"{name} missing", token(self.key, claims(**{name: None}))
            null = json.dumps(claims() | {name: None}).encode()
            yield f"{name} null", token(self.key, null)
        for name in ("NaN", "Infinity", "-Infinity"):
            odd = json.dumps(claims(exp=0)).replace('"exp": 0', f'"exp": {name}')
            yield f"exp {name}", token(self.key, odd.encode())
        for name, payload in {"a list": b"[]", "no JSON": b"{", "not UTF-8": b"\xff"}.items():
            yield f"payload is {name}", token(self.key, payload)
        refresh = claims(typ="Refresh", aud=ISSUER)
        yield (
            "refresh token",
            token(self.key, refresh, alg="HS512", kid="1a473163", sign=_hmac(b"theirs", "sha512")),
        )

    def _forms(self) -> Iterator[tuple[str, str]]:
        good = token(self.key)
        head, payload, signature = good.split(".")
        yield "empty", ""
        yield "two parts", f"{head}.{payload}"
        yield "four parts", f"{good}.{signature}"
        yield "five parts, a JWE", f"{b64({'alg': 'dir', 'enc': 'A128GCM'})}..iv.text.tag"
        sealed = b64({"alg": "RSA-OAEP", "enc": "A256GCM", "zip": "DEF", "kid": "enc-1"})
        yield "a JWE for the encryption key", f"{sealed}.{signature}.iv.{'A' * 4000}.tag"
        yield "a hundred dots", f"{good}{'.' * 98}"
        yield "dots only", ".."
        yield "a megabyte", f"{head}.{'a' * 1_000_000}.{signature}"
        yield "a long but right token", token(self.key, claims(padding="p" * 25_000))
        yield "padding", f"{head}==.{payload}.{signature}"
        yield "a line break at the end", f"{good}\n"
        yield "a blank inside", f"{head}.{payload} .{signature}"
        yield "the other base64 alphabet", f"{head}.{payload}.{signature[:-1]}+"
        yield "a full stop of another script", f"{head}\u3002{payload}\u3002{signature}"
        yield "a zero-width joiner", f"{head}.{payload}\u200d.{signature}"
        yield "a full-width letter", f"{head}.{payload}.{signature[:-1]}\uff21"
        yield "a soft hyphen", f"{head}\u00ad.{payload}.{signature}"
        yield "half a surrogate pair", f"{head}.{payload}.\ud800"
        yield "a digest", hashlib.sha256(good.encode()).hexdigest()


def _rsa(
    key: SigningKey, pad: padding.PSS | padding.PKCS1v15, hashed: hashes.HashAlgorithm
) -> Callable[[bytes], bytes]:
    return lambda data: key.private.sign(data, pad, hashed)


def _odd_headers(good: bytes) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield valid tokens in malformed or repeated Authorization headers."""
    bearer = b"Bearer " + good
    yield "the same header twice", (bearer, bearer)
    yield "a good one, then another scheme", (bearer, b"Basic YWxpY2U6YWxpY2U=")
    yield "another scheme, then a good one", (b"Basic YWxpY2U6YWxpY2U=", bearer)
    yield "a good one, then an empty one", (bearer, b"")
    yield "an empty one, then a good one", (b"", bearer)
    for scheme in (b"Basic", b"DPoP", b"Digest", b"Token", b"JWT", b"BearerX", b"Bearer:"):
        yield f"the scheme {scheme.decode()}", (scheme + b" " + good,)
    yield "the scheme in full-width letters", ("\uff22earer ".encode() + good,)
    for name, header in {
        "no scheme": good,
        "no token": b"Bearer",
        "nothing": b"",
        "two in one header": bearer + b", " + bearer,
        "something behind it": bearer + b" x",
        "a tab for the blank": b"Bearer\t" + good,
        "no blank": b"Bearer" + good,
        "quotes": b'Bearer "' + good + b'"',
        "a NUL behind it": bearer + b"\x00",
        "a parameter": b"Bearer token=" + good,
        "not ASCII": b"Bearer \xe4\xf6\xfc",
    }.items():
        yield f"the header has {name}", (header,)


def _swapped(genuine: str, payload: Json) -> str:
    head, _, signature = genuine.split(".")
    return f"{head}.{b64(payload)}.{signature}"
