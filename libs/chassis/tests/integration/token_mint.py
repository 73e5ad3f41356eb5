"""Tokens as the identity provider makes them, and as a forger would: keys, signing, the table."""

import base64
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "http://localhost:8081/realms/microservices"
AUDIENCE = "ecommerce-api"
Json = dict[str, Any]


def b64(data: bytes | Json) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int) -> str:
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class SigningKey:
    kid: str
    private: rsa.RSAPrivateKey

    @classmethod
    def new(cls, kid: str, bits: int = 2048) -> "SigningKey":
        return cls(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def jwk(self, **other: str) -> Json:
        numbers = self.private.public_key().public_numbers()
        named = {"kid": self.kid, "kty": "RSA", "use": "sig", "alg": "RS256"}
        return named | {"n": number(numbers.n), "e": number(numbers.e)} | other

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def public(self, encoding: Encoding) -> bytes:
        return self.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed: Any) -> Json:
    """An access token's claims as in the recorded samples; a change to None takes a claim away."""
    now = int(time.time())
    usual = {
        "exp": now + 300,
        "iat": now,
        "jti": f"onrtro:{uuid.uuid4()}",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "38eee1b1-d9bd-4cd8-b0f5-c72001cb0d81",
        "typ": "Bearer",
        "azp": "storefront",
        "realm_access": {"roles": ["customer"]},
        "scope": "email profile",
        "email_verified": True,
        "preferred_username": "alice",
        "email": "alice@example.com",
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def token(
    key: SigningKey,
    payload: Json | bytes | None = None,
    *,
    header: Json | bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
    **header_changes: Any,
) -> str:
    """Header, payload and a signature over both, by default the key's own."""
    if header is None:
        header = {"alg": "RS256", "typ": "JWT", "kid": key.kid} | header_changes
        header = {name: value for name, value in header.items() if value is not None}
    signed = f"{b64(header)}.{b64(claims() if payload is None else payload)}"
    return f"{signed}.{b64((sign or key.sign)(signed.encode()))}"


def _hmac(secret: bytes, algorithm: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda data: hmac.new(secret, data, algorithm).digest()


@dataclass
class Forger:
    """Knows the public keys, and owns a valid token and keys that are not the provider's."""

    key: SigningKey
    encryption: SigningKey
    weak: SigningKey
    stranger: SigningKey

    def key_set(self) -> Json:
        """As Keycloak's: an encryption key too, and what a careless provider might add."""
        curve = {"kid": "curve", "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256"}
        return {
            "keys": [
                self.encryption.jwk(use="enc", alg="RSA-OAEP"),
                self.weak.jwk(),
                curve | {"x": number(3), "y": number(5)},
                {"kid": "shared", "kty": "oct", "use": "sig", "alg": "HS256", "k": b64(b"k" * 32)},
                self.key.jwk(),
            ]
        }

    def tokens(self) -> Iterator[tuple[str, str]]:
        """Promise 39's table: what is wrong with it, and the token."""
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
        for typ in ("JWE", "logout+jwt", "dpop+jwt", 1):
            yield f"header typ {typ!r}", token(key, typ=typ)
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
        yield "dots only", ".."
        yield "a megabyte", f"{head}.{'a' * 1_000_000}.{signature}"
        yield "a long but right token", token(self.key, claims(padding="p" * 8000))
        yield "padding", f"{head}==.{payload}.{signature}"
        yield "a line break at the end", f"{good}\n"
        yield "a blank inside", f"{head}.{payload} .{signature}"
        yield "the other base64 alphabet", f"{head}.{payload}.{signature[:-1]}+"
        yield "a full-width letter", f"{head}.{payload}.{signature[:-1]}\uff21"
        yield "a soft hyphen", f"{head}\u00ad.{payload}.{signature}"
        yield "half a surrogate pair", f"{head}.{payload}.\ud800"
        yield "a digest", hashlib.sha256(good.encode()).hexdigest()


def _rsa(
    key: SigningKey, pad: padding.PSS | padding.PKCS1v15, hashed: hashes.HashAlgorithm
) -> Callable[[bytes], bytes]:
    return lambda data: key.private.sign(data, pad, hashed)


def _swapped(genuine: str, payload: Json) -> str:
    head, _, signature = genuine.split(".")
    return f"{head}.{b64(payload)}.{signature}"
