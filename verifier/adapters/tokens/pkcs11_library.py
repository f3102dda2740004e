"""Call the library of a PKCS#11 device: the few functions that a signature needs, by ctypes.

docs/adr/0038-pkcs11.md says why no package does this. Each call blocks its thread and releases the interpreter lock.
"""

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from verifier.core.values import dataclass

_ULONG = ctypes.c_ulong
_BUFFER = ctypes.c_char_p
_POINTER = ctypes.c_void_p

_OK: Final = 0x000
#: Return values (PKCS#11 v2.40, section 3.1 of the header) that an operator meets, by their names.
_NAMES: Final[Mapping[int, str]] = {
    0x002: "CKR_HOST_MEMORY",
    0x003: "CKR_SLOT_ID_INVALID",
    0x005: "CKR_GENERAL_ERROR",
    0x006: "CKR_FUNCTION_FAILED",
    0x007: "CKR_ARGUMENTS_BAD",
    0x00A: "CKR_CANT_LOCK",
    0x012: "CKR_ATTRIBUTE_TYPE_INVALID",
    0x030: "CKR_DEVICE_ERROR",
    0x031: "CKR_DEVICE_MEMORY",
    0x032: "CKR_DEVICE_REMOVED",
    0x054: "CKR_FUNCTION_NOT_SUPPORTED",
    0x060: "CKR_KEY_HANDLE_INVALID",
    0x063: "CKR_KEY_TYPE_INCONSISTENT",
    0x068: "CKR_KEY_FUNCTION_NOT_PERMITTED",
    0x070: "CKR_MECHANISM_INVALID",
    0x082: "CKR_OBJECT_HANDLE_INVALID",
    0x090: "CKR_OPERATION_ACTIVE",
    0x091: "CKR_OPERATION_NOT_INITIALIZED",
    0x0A0: "CKR_PIN_INCORRECT",
    0x0A1: "CKR_PIN_INVALID",
    0x0A2: "CKR_PIN_LEN_RANGE",
    0x0A3: "CKR_PIN_EXPIRED",
    0x0A4: "CKR_PIN_LOCKED",
    0x0B0: "CKR_SESSION_CLOSED",
    0x0B1: "CKR_SESSION_COUNT",
    0x0B3: "CKR_SESSION_HANDLE_INVALID",
    0x0E0: "CKR_TOKEN_NOT_PRESENT",
    0x0E1: "CKR_TOKEN_NOT_RECOGNIZED",
    0x100: "CKR_USER_ALREADY_LOGGED_IN",
    0x101: "CKR_USER_NOT_LOGGED_IN",
    0x102: "CKR_USER_PIN_NOT_INITIALIZED",
    0x190: "CKR_CRYPTOKI_NOT_INITIALIZED",
    0x191: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
}
_ALREADY_LOGGED_IN: Final = 0x100
_ALREADY_INITIALIZED: Final = 0x191
_NO_ATTRIBUTE: Final = 0x012
_PIN_CODES: Final = range(0x0A0, 0x0A5)

_CKF_OS_LOCKING_OK: Final = 0x2
_CKF_SERIAL_SESSION: Final = 0x4
_CKU_USER: Final = 1
_UNAVAILABLE: Final = _ULONG(-1).value
#: More than any token of a service has.
_MAX_SLOTS: Final = 1024
_MAX_SIGNATURE: Final = 512
_MAX_ATTRIBUTE: Final = 4096

#: Object classes, attributes and mechanisms.
PUBLIC_KEY: Final = 2
PRIVATE_KEY: Final = 3
CKA_CLASS: Final = 0x000
CKA_LABEL: Final = 0x003
CKA_ID: Final = 0x102
CKA_EC_PARAMS: Final = 0x180
CKA_EC_POINT: Final = 0x181
CKM_ECDSA: Final = 0x1041
CKM_EDDSA: Final = 0x1057


class Pkcs11Error(Exception):
    """Report that the device did not do what it was asked. The sentence has no secret."""


class PinRefusedError(Pkcs11Error):
    """Report that the token refused the PIN. Another attempt may lock the token."""


class _Version(ctypes.Structure):
    _fields_ = (("major", ctypes.c_ubyte), ("minor", ctypes.c_ubyte))


class _InitializeArguments(ctypes.Structure):
    _fields_ = (("mutexes", _POINTER * 4), ("flags", _ULONG), ("reserved", _POINTER))


class _Attribute(ctypes.Structure):
    _fields_ = (("type", _ULONG), ("value", _POINTER), ("length", _ULONG))


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _ULONG), ("parameter", _POINTER), ("length", _ULONG))


class _TokenInfo(ctypes.Structure):
    _fields_ = (
        ("label", ctypes.c_char * 32),
        ("manufacturer", ctypes.c_char * 32),
        ("model", ctypes.c_char * 16),
        ("serial", ctypes.c_char * 16),
        ("flags", _ULONG),
        ("counts_and_sizes", _ULONG * 10),
        ("versions", _Version * 2),
        ("time", ctypes.c_char * 16),
    )


#: The functions that are called: their place in CK_FUNCTION_LIST and their parameters (PKCS#11 v2.40, section 5).
_FUNCTIONS: Final[Mapping[str, tuple[int, tuple[type, ...]]]] = {
    "C_Initialize": (0, (_POINTER,)),
    "C_Finalize": (1, (_POINTER,)),
    "C_GetSlotList": (4, (ctypes.c_ubyte, _POINTER, _POINTER)),
    "C_GetTokenInfo": (6, (_ULONG, _POINTER)),
    "C_OpenSession": (12, (_ULONG, _ULONG, _POINTER, _POINTER, _POINTER)),
    "C_CloseSession": (13, (_ULONG,)),
    "C_Login": (18, (_ULONG, _ULONG, _BUFFER, _ULONG)),
    "C_GetAttributeValue": (24, (_ULONG, _ULONG, _POINTER, _ULONG)),
    "C_FindObjectsInit": (26, (_ULONG, _POINTER, _ULONG)),
    "C_FindObjects": (27, (_ULONG, _POINTER, _ULONG, _POINTER)),
    "C_FindObjectsFinal": (28, (_ULONG,)),
    "C_SignInit": (42, (_ULONG, _POINTER, _ULONG)),
    "C_Sign": (43, (_ULONG, _BUFFER, _ULONG, _BUFFER, _POINTER)),
}


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", _Version), ("functions", _POINTER * 68))


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Describe one token, by the attributes of RFC 7512. `slot` may change when the library is initialized again."""

    slot: int
    token: str
    manufacturer: str
    model: str
    serial: str


class Pkcs11Library:
    """Load a PKCS#11 library. Thread-safe after `initialize`, if no session is used by two threads at once.

    Each method raises Pkcs11Error. Load and initialize it after a fork: its state does not survive one.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
            get_list = self._library.C_GetFunctionList
        except (OSError, AttributeError) as error:
            raise Pkcs11Error(f"{path}: not a PKCS#11 library that this system can load") from error
        functions = ctypes.POINTER(_FunctionList)()
        get_list.restype = _ULONG
        _check("C_GetFunctionList", get_list(ctypes.byref(functions)))
        self._functions = {
            name: ctypes.CFUNCTYPE(_ULONG, *parameters)(functions.contents.functions[place])
            for name, (place, parameters) in _FUNCTIONS.items()
        }

    def initialize(self) -> None:
        """Initialize the library for several threads. Without this flag, SoftHSM takes no lock and crashes."""
        arguments = _InitializeArguments(flags=_CKF_OS_LOCKING_OK)
        code = self._functions["C_Initialize"](ctypes.byref(arguments))
        if code != _ALREADY_INITIALIZED:
            _check("C_Initialize", code)

    def finalize(self) -> None:
        """End all sessions. No other call may be under way."""
        self._call("C_Finalize", None)

    def tokens(self) -> tuple[Token, ...]:
        slots = (_ULONG * _MAX_SLOTS)()
        count = _ULONG(_MAX_SLOTS)
        self._call("C_GetSlotList", 1, slots, ctypes.byref(count))
        found = []
        for slot in slots[: count.value]:
            with suppress(Pkcs11Error):  # one broken token hides no other
                found.append(self._describe(slot))
        return tuple(found)

    def open_session(self, slot: int) -> int:
        session = _ULONG()
        self._call("C_OpenSession", slot, _CKF_SERIAL_SESSION, None, None, ctypes.byref(session))
        return session.value

    def close_session(self, session: int) -> None:
        self._call("C_CloseSession", session)

    def login(self, session: int, pin: str) -> None:
        """Log in all sessions of this process with the token. Raises PinRefusedError."""
        data = pin.encode()
        code = self._functions["C_Login"](session, _CKU_USER, data, len(data))
        if code in _PIN_CODES:
            raise PinRefusedError(f"the token refused the PIN ({_NAMES[code]})")
        if code != _ALREADY_LOGGED_IN:
            _check("C_Login", code)

    def find(self, session: int, kind: int, *, label: str | None, key_id: bytes | None) -> int:
        """Return the only object of this kind with this label and id. Raises Pkcs11Error if there is not one."""
        wanted = [(CKA_CLASS, bytes(_ULONG(kind)))]
        wanted += [] if label is None else [(CKA_LABEL, label.encode())]
        wanted += [] if key_id is None else [(CKA_ID, key_id)]
        values = [ctypes.create_string_buffer(value, len(value)) for _, value in wanted]
        template = (_Attribute * len(wanted))(
            *(
                _Attribute(type=name, value=ctypes.addressof(value), length=len(value))
                for (name, _), value in zip(wanted, values, strict=True)
            )
        )
        found, count = (_ULONG * 2)(), _ULONG()
        self._call("C_FindObjectsInit", session, template, len(wanted))
        try:
            self._call("C_FindObjects", session, found, 2, ctypes.byref(count))
        finally:
            self._call("C_FindObjectsFinal", session)
        if count.value != 1:
            name = "private" if kind == PRIVATE_KEY else "public"
            number = f"more than one {name} key" if count.value else f"no {name} key"
            raise Pkcs11Error(f"the token has {number} with this object and id")
        return found[0]

    def read(self, session: int, handle: int, attribute: int) -> bytes:
        """Return the value of an attribute, which is empty if the object does not have it or does not reveal it."""
        wanted = _Attribute(type=attribute, value=None, length=0)
        code = self._functions["C_GetAttributeValue"](session, handle, ctypes.byref(wanted), 1)
        if code == _NO_ATTRIBUTE or wanted.length == _UNAVAILABLE:
            return b""
        _check("C_GetAttributeValue", code)
        if wanted.length > _MAX_ATTRIBUTE:
            raise Pkcs11Error(f"an attribute of the key has more than {_MAX_ATTRIBUTE} bytes")
        value = ctypes.create_string_buffer(wanted.length)
        wanted.value = ctypes.addressof(value)
        self._call("C_GetAttributeValue", session, handle, ctypes.byref(wanted), 1)
        return value.raw[: wanted.length]

    def sign(self, session: int, handle: int, mechanism: int, data: bytes) -> bytes:
        chosen = _Mechanism(mechanism=mechanism)
        signature, length = ctypes.create_string_buffer(_MAX_SIGNATURE), _ULONG(_MAX_SIGNATURE)
        self._call("C_SignInit", session, ctypes.byref(chosen), handle)
        self._call("C_Sign", session, data, len(data), signature, ctypes.byref(length))
        return signature.raw[: length.value]

    def _describe(self, slot: int) -> Token:
        info = _TokenInfo()
        self._call("C_GetTokenInfo", slot, ctypes.byref(info))
        return Token(
            slot=slot,
            token=_text(info.label),
            manufacturer=_text(info.manufacturer),
            model=_text(info.model),
            serial=_text(info.serial),
        )

    def _call(self, name: str, *arguments: object) -> None:
        _check(name, self._functions[name](*arguments))


def _check(name: str, code: int) -> None:
    if code != _OK:
        raise Pkcs11Error(f"{name} failed with {_NAMES.get(code, hex(code))}")


def _text(padded: bytes) -> str:
    return padded.decode(errors="replace").rstrip(" ")
