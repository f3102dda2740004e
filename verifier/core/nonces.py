"""Nonces: their form, what the store keeps of each, and the outcomes of a redemption."""

import re
import string
from datetime import datetime
from enum import StrEnum

from verifier.core.values import dataclass

#: The default nonce of IMDS is a time, as text. Nonces of this service have no hyphen.
DEFAULT_NONCE = re.compile(r"[0-9]{8}-[0-9]{6}")


class NonceForm(StrEnum):
    """The form of issued nonces. The Azure page asks for 10 digits; IMDS itself accepts 32 alphanumeric characters."""

    DIGITS_10 = "digits-10"
    ALPHANUMERIC_32 = "alphanumeric-32"

    @property
    def alphabet(self) -> str:
        return string.digits if self is NonceForm.DIGITS_10 else string.ascii_letters + string.digits

    @property
    def length(self) -> int:
        return 10 if self is NonceForm.DIGITS_10 else 32


class NonceMode(StrEnum):
    """Whether a document must carry a nonce that this service issued."""

    REQUIRED = "required"
    #: A document without a nonce, or with IMDS's default nonce, is accepted once and remembered.
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceRecord:
    """An issued nonce's times and bindings. A binding is empty if the caller named none."""

    issued_at: datetime
    expires_at: datetime
    vm_id: str = ""
    policy: str = ""
    jkt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstUse:
    """The nonce was outstanding and is used from now on."""

    record: NonceRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyUsed:
    """The nonce was issued, and an earlier document was appraised with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownNonce:
    """The nonce was never issued to this tenant, or the store has forgotten it."""


Redemption = FirstUse | AlreadyUsed | UnknownNonce
