"""The identifiers of VMs: GUIDs, as IMDS and the platforms' tools write them."""

import re
from typing import Final

_GUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
#: What `parse_vm_id` accepts, as a pattern of JSON Schema: a GUID, perhaps in braces.
VM_ID_PATTERN: Final = rf"^(?:{_GUID}|\{{{_GUID}\}})$"
_VM_ID = re.compile(VM_ID_PATTERN)


def parse_vm_id(text: str) -> str:
    """Return a GUID in lower case and without braces. Raises ValueError with a sentence that does not quote `text`."""
    if _VM_ID.fullmatch(text) is None:
        raise ValueError("expected a GUID, such as 02aab8a4-74ef-476e-8182-f6d2ba4166a6")
    return text.strip("{}").lower()


def swap_bytes(vm_id: str) -> str | None:
    """Return the GUID with its first three groups in the other byte order, or None if `vm_id` is not a GUID.

    SMBIOS before version 2.6 has this order, so `dmidecode` shows it on Gen1 VMs (SMBIOS 2.6, section 7.2.1).
    """
    try:
        first, second, third, *others = parse_vm_id(vm_id).split("-")
    except ValueError:
        return None
    swapped = (bytes.fromhex(group)[::-1].hex() for group in (first, second, third))
    return "-".join((*swapped, *others))
