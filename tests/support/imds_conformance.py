"""The types of the conformance list `support.imds_behaviours`: a request, and what its answer must contain.

An expectation has both its summary for the generated page and its check.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from asn1crypto import cms as asn1_cms
from cryptography import x509
from support.imds_snapshots import MACHINE
from support.imds_sources import PAGE_2021, Source
from support.session_log import SESSION_LOG

from verifier.emulator.controls import Conditions

METADATA: Mapping[str, str] = {"Metadata": "true"}
PUBLIC = "public-marketplace"
#: The machine of the snapshots, with a value for every key.
EVERY_KEY = "every-key"
_EXAMPLES = Path(__file__).parents[2] / "examples" / "emulator"


def machine_file(name: str) -> Path:
    """Return the file of a machine that a behaviour names."""
    return MACHINE if name == EVERY_KEY else _EXAMPLES / f"{name}.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer. `before` are those of the requests before."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    before: tuple["Answer", ...] = ()

    @property
    def json(self) -> object:
        return json.loads(self.body)

    @property
    def document(self) -> asn1_cms.SignedData:
        """Return the SignedData of an attested document. Not checked: its signature."""
        fields = self.json
        assert isinstance(fields, dict)
        assert list(fields) == ["encoding", "signature"]
        assert fields["encoding"] == "pkcs7"
        return asn1_cms.ContentInfo.load(base64.b64decode(fields["signature"], validate=True), strict=True)["content"]

    @property
    def content(self) -> dict[str, object]:
        """Return the signed content of an attested document."""
        fields: dict[str, object] = json.loads(self.document["encap_content_info"]["content"].native)
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=lambda: METADATA)

    def __str__(self) -> str:
        named = "".join(f", `{name}: {value}`" for name, value in self.headers.items() if METADATA.get(name) != value)
        return f"`{self.method} {self.target}`{named if self.headers else ', no header'}"

    def send(self, url: str) -> Answer:
        parts = urlsplit(url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request(self.method, self.target, headers=dict(self.headers))
            response = connection.getresponse()
            answer = Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        finally:
            connection.close()
        SESSION_LOG.keep_exchange(self.target, None, answer.body)
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """An expectation: `summary` for the page, and `check`, which raises AssertionError."""

    summary: str
    check: Callable[[Answer], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One line of the list: what IMDS does, a request that shows it, and the source of that.

    The requests in `before` are sent first. Then `conditions` are set on the emulator. `machine` names an example VM.
    """

    section: str
    says: str
    request: Request
    expected: tuple[Expectation, ...]
    before: tuple[Request, ...] = ()
    conditions: Conditions | None = None
    machine: str = PUBLIC
    source: Source = PAGE_2021

    def __str__(self) -> str:
        return f"{self.section}: {self.says}"


def status(code: int) -> Expectation:
    def check(answer: Answer) -> None:
        assert answer.status == code, answer

    return Expectation(summary=str(code), check=check)


def is_json(answer: Answer) -> None:
    assert answer.headers["Content-Type"].split(";")[0] == "application/json", answer
    assert answer.json is not None


def is_text(answer: Answer) -> None:
    assert answer.headers["Content-Type"].split(";")[0] == "text/plain", answer


def ok_json(*expectations: Expectation) -> tuple[Expectation, ...]:
    return (status(200), Expectation(summary="JSON", check=is_json), *expectations)


def text(value: str) -> tuple[Expectation, ...]:
    def check(answer: Answer) -> None:
        is_text(answer)
        assert answer.body.decode("utf-8") == value

    shown = ", ".join(f"`{line}`" for line in value.split("\n")) if value else "empty"
    return (status(200), Expectation(summary=f"text: {shown}", check=check))


def refusal(code: int, *, error: str = "", more: tuple[Expectation, ...] = ()) -> tuple[Expectation, ...]:
    """Expect an error in JSON whose text contains `error`."""

    def check(answer: Answer) -> None:
        is_json(answer)
        assert isinstance(answer.json, dict)
        assert error in answer.json["error"], answer

    return (status(code), Expectation(summary=f"`error` says “{error}”" if error else "`error`", check=check), *more)


def identity_refusal(code: int, error: str, description: str = "") -> tuple[Expectation, ...]:
    """Expect an error of managed identity: this code, and a description that contains `description`."""

    def check(answer: Answer) -> None:
        is_json(answer)
        assert isinstance(answer.json, dict)
        assert answer.json["error"] == error
        assert description in answer.json["error_description"], answer

    says = f", `error_description` says “{description}”" if description else ""
    return (status(code), Expectation(summary=f"`error` is `{error}`{says}", check=check))


def token_of(client_id: str, **echoed: str) -> tuple[Expectation, ...]:
    """Expect a token of an identity, and these members of the request."""

    def check(answer: Answer) -> None:
        assert isinstance(answer.json, dict)
        assert answer.json["client_id"] == client_id
        assert {name: answer.json.get(name) for name in ("object_id", "msi_res_id")} == {
            "object_id": None,
            "msi_res_id": None,
            **echoed,
        }

    more = "".join(f", `{name}` of the request" for name in echoed)
    return (status(200), Expectation(summary=f"`client_id` is `{client_id}`{more}", check=check))


def token_is_the_one_before(*, expected: bool) -> Expectation:
    def check(answer: Answer) -> None:
        values = {one.json["access_token"] for one in (answer, *answer.before) if isinstance(one.json, dict)}
        assert len(values) == (1 if expected else 1 + len(answer.before))

    return Expectation(summary="the token from before" if expected else "another token", check=check)


def newest_versions() -> Expectation:
    """Expect the three newest versions, newest first (Azure page, Versioning: "the newest supported versions")."""

    def check(answer: Answer) -> None:
        assert isinstance(answer.json, dict)
        newest = answer.json["newest-versions"]
        assert len(newest) == 3
        assert newest == sorted(newest, reverse=True)
        assert newest[0] > "2020-10-01"

    return Expectation(summary="`newest-versions` has the newest three", check=check)


def header(name: str, value: str) -> Expectation:
    def check(answer: Answer) -> None:
        assert answer.headers.get(name) == value, answer

    return Expectation(summary=f"`{name}: {value}`", check=check)


def header_like(name: str, pattern: str) -> Expectation:
    def check(answer: Answer) -> None:
        assert re.fullmatch(pattern, answer.headers.get(name, "")), answer

    return Expectation(summary=f"`{name}` matches `{pattern}`", check=check)


def stays_open() -> Expectation:
    def check(answer: Answer) -> None:
        assert "Connection" not in answer.headers, answer

    return Expectation(summary="the connection stays open", check=check)


def equals(value: object) -> Expectation:
    def check(answer: Answer) -> None:
        assert answer.json == value

    return Expectation(summary=f"`{json.dumps(value)}`", check=check)


def has(path: str, value: object = None) -> Expectation:
    """Expect an element at a path of keys and indexes, with this `value` if given."""

    def check(answer: Answer) -> None:
        found = walk(answer.json, path)
        assert value is None or found == value, (path, found)

    return Expectation(summary=f"`{path}`" + ("" if value is None else f" is `{json.dumps(value)}`"), check=check)


def lacks(path: str) -> Expectation:
    def check(answer: Answer) -> None:
        try:
            walk(answer.json, path)
        except (KeyError, IndexError):
            return
        raise AssertionError(f"{path} exists")

    return Expectation(summary=f"no `{path}`", check=check)


def keys(path: str, names: Sequence[str]) -> Expectation:
    def check(answer: Answer) -> None:
        found = walk(answer.json, path) if path else answer.json
        assert isinstance(found, dict)
        assert sorted(found) == sorted(names)

    return Expectation(
        summary=f"{'has' if not path else f'`{path}` has'} {', '.join(f'`{n}`' for n in names)}", check=check
    )


def only_strings() -> Expectation:
    def check(answer: Answer) -> None:
        assert set(map(type, leaves(answer.json))) == {str}

    return Expectation(summary="every primitive is a string", check=check)


def document(*expectations: Expectation) -> tuple[Expectation, ...]:
    def check(answer: Answer) -> None:
        assert answer.document["signer_infos"]

    return (
        *ok_json(),
        Expectation(summary="`encoding` is `pkcs7`, `signature` a document", check=check),
        *expectations,
    )


def says(**fields: object) -> Expectation:
    """Expect these fields and values in the signed content."""

    def check(answer: Answer) -> None:
        assert {name: answer.content.get(name) for name in fields} == fields

    shown = ", ".join(f"`{name}` is `{json.dumps(value)}`" for name, value in fields.items())
    return Expectation(summary=f"signed: {shown}", check=check)


def says_exactly(*names: str) -> Expectation:
    def check(answer: Answer) -> None:
        assert sorted(answer.content) == sorted(names)

    return Expectation(summary=f"signed: {', '.join(f'`{name}`' for name in names)}, and no other field", check=check)


def has_lifetime(lifetime: timedelta) -> Expectation:
    def check(answer: Answer) -> None:
        stamp = answer.content["timeStamp"]
        assert isinstance(stamp, dict)
        created, expires = (datetime.strptime(stamp[n], "%m/%d/%y %H:%M:%S %z") for n in ("createdOn", "expiresOn"))
        assert expires - created == lifetime

    return Expectation(summary=f"expires {lifetime} after its creation", check=check)


def nonce_is_the_expiry() -> Expectation:
    def check(answer: Answer) -> None:
        stamp = answer.content["timeStamp"]
        assert isinstance(stamp, dict)
        expires = datetime.strptime(stamp["expiresOn"], "%m/%d/%y %H:%M:%S %z")
        assert answer.content["nonce"] == f"{expires:%Y%m%d-%H%M%S}"

    return Expectation(summary="signed: `nonce` is expiresOn as `YYYYMMDD-HHMMSS`", check=check)


def signer_is_named(domain: str) -> Expectation:
    """Expect one certificate, with the domain as CN, and as dNSNames the domain and one name below it."""

    def check(answer: Answer) -> None:
        (embedded,) = answer.document["certificates"]
        signer = x509.load_der_x509_certificate(embedded.dump())
        (name,) = signer.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert name.value == domain
        names = signer.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        region, also = names.get_values_for_type(x509.DNSName)
        assert also == domain
        assert region.removesuffix(f".{domain}").isalnum()

    return Expectation(summary=f"the signer's certificate has the names `{domain}` and one below it", check=check)


def walk(tree: object, path: str) -> object:
    for step in path.split("."):
        tree = tree[int(step)] if isinstance(tree, list) else tree[step]  # type: ignore[index]  # KeyError: no such path
    return tree


def leaves(tree: object) -> list[object]:
    if isinstance(tree, dict):
        return [leaf for member in tree.values() for leaf in leaves(member)]
    if isinstance(tree, list):
        return [leaf for member in tree for leaf in leaves(member)]
    return [tree]
