"""The identifiers of VMs: GUIDs, as IMDS and the platforms' tools write them."""

import re
import uuid

_HEX = "[0-9A-Fa-f]"
_GUID = re.compile(rf"(\{{)?({_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}})(?(1)\}})")


def parse_vm_id(text: str) -> str:
    """Return a GUID in lower case and without braces. Raises ValueError with a sentence that does not quote `text`."""
    found = _GUID.fullmatch(text)
    if found is None:
        raise ValueError("expected a GUID, such as 02aab8a4-74ef-476e-8182-f6d2ba4166a6")
    return found[2].lower()


def swap_bytes(vm_id: str) -> str | None:
    """Return the GUID with its first three groups in the other byte order, or None if `vm_id` is not a GUID.

    SMBIOS before version 2.6 has this order, so `dmidecode` shows it on Gen1 VMs (SMBIOS 2.6, section 7.2.1).
    """
    try:
        return str(uuid.UUID(bytes_le=uuid.UUID(parse_vm_id(vm_id)).bytes))
    except ValueError:
        return None
