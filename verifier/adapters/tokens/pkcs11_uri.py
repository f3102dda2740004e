"""Read the PKCS#11 URI of a key (RFC 7512).

The URI says which token and which key, and no more. The library and the PIN come from the settings alone, so that a key
file can neither load code nor carry a secret.
"""

from dataclasses import fields
from urllib.parse import unquote_to_bytes

from verifier.core.values import dataclass
from verifier.ports.tokens import TokenKeyError

_SCHEME = "pkcs11:"
_MAX_LENGTH = 1024
#: These would load code or carry a secret, or they change when a token moves.
_SETTINGS = {
    "module-path": "set VERIFIER_PKCS11_MODULE",
    "module-name": "set VERIFIER_PKCS11_MODULE",
    "pin-value": "set VERIFIER_PKCS11_PIN_FILE",
    "pin-source": "set VERIFIER_PKCS11_PIN_FILE",
    "slot-id": "name the token, because slots change",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Uri:
    """Name one key of one token. None stands for an attribute that the URI does not have."""

    token: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    serial: str | None = None
    object: str | None = None
    id: bytes | None = None
    text: str

    def __str__(self) -> str:
        return self.text


_KNOWN = tuple(field.name for field in fields(Pkcs11Uri) if field.name != "text")


def parse_uri(text: str) -> Pkcs11Uri:
    """Parse a URI that names a token (`token` or `serial`) and a key (`object` or `id`). Raises TokenKeyError.

    `type=private` is accepted, because tools print it.
    """
    if not text.startswith(_SCHEME) or len(text) > _MAX_LENGTH:
        raise TokenKeyError(f"expected a PKCS#11 URI, such as {_SCHEME}token=TOKEN;object=KEY")
    path, _, query = text.removeprefix(_SCHEME).partition("?")
    values: dict[str, bytes] = {}
    for part in [*filter(None, path.split(";")), *filter(None, query.split("&"))]:
        name, _, value = part.partition("=")
        if name in _SETTINGS:
            raise TokenKeyError(f"a PKCS#11 URI with {name} is refused: {_SETTINGS[name]}")
        if name not in {*_KNOWN, "type"}:
            raise TokenKeyError(f"unknown attribute {name[:64]!r} in a PKCS#11 URI; expected {', '.join(_KNOWN)}")
        if name in values or not value:
            raise TokenKeyError(f"{name} must have one value in a PKCS#11 URI")
        values[name] = unquote_to_bytes(value)
    if values.pop("type", b"private") != b"private":
        raise TokenKeyError("a PKCS#11 URI must name a private key: type=private")
    if not {"token", "serial"} & values.keys() or not {"object", "id"} & values.keys():
        raise TokenKeyError("a PKCS#11 URI must name a token (token or serial) and a key (object or id)")
    key_id = values.pop("id", None)
    try:
        return Pkcs11Uri(id=key_id, text=text, **{name: value.decode() for name, value in values.items()})
    except UnicodeDecodeError:
        raise TokenKeyError("a PKCS#11 URI must be UTF-8") from None
