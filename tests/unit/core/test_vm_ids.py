"""The identifiers of VMs: which texts are GUIDs, and the byte order of SMBIOS before 2.6."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.core.vm_ids import VM_ID_PATTERN, parse_vm_id, swap_bytes


@given(guid=st.uuids())
def test_each_form_of_a_guid_is_read(guid: uuid.UUID) -> None:
    for form in (str(guid), str(guid).upper(), f"{{{guid}}}"):
        assert parse_vm_id(form) == str(guid)
        assert re.search(VM_ID_PATTERN, form)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vm-1",
        "{5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90",
        "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90}",
        "5c1a0b3e7d424f0a9b571f6d2e8c4a90",
        "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90\n",
        "urn:uuid:5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90",
        "\u0665c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90",
    ],
)
def test_other_text_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a GUID, such as") as refusal:
        parse_vm_id(text)
    assert not text or text not in str(refusal.value)
    assert swap_bytes(text) is None


def test_the_first_three_groups_are_swapped() -> None:
    assert swap_bytes("{5C1A0B3E-7D42-4F0A-9B57-1F6D2E8C4A90}") == "3e0b1a5c-427d-0a4f-9b57-1f6d2e8c4a90"


@given(guid=st.uuids())
def test_swapping_twice_changes_nothing(guid: uuid.UUID) -> None:
    assert swap_bytes(str(swap_bytes(str(guid)))) == str(guid)
