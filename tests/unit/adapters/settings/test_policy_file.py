"""The policies of a file that is tested before it is in force."""

from pathlib import Path

import pytest

from verifier.adapters.settings.file import MAX_FILE_BYTES
from verifier.adapters.settings.policy_file import read_policy_file
from verifier.adapters.settings.settings import SettingsError

GOLD = b'[policies.gold]\npublishers = ["contoso"]\n'


def fault(file: Path, data: bytes) -> str:
    file.write_bytes(data)
    with pytest.raises(SettingsError) as refusal:
        read_policy_file(file)
    message = str(refusal.value)
    assert message.startswith(str(file))
    assert message.isprintable()
    return message


def test_reads_the_policies_of_a_settings_file_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "verifier.toml"
    tenant = b'[tenants.contoso]\npolicy = "gold"\n'
    top = b'format = 1\nnonce_mode = "required"\n'
    file.write_bytes(top + GOLD + b"[policies.default]\nrequirePlan = true\n" + tenant)
    assert list(read_policy_file(file)) == ["gold", "default"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no policy"),
        (b'nonce_mode = "required"', "no policy"),
        (b"policies = {}", "no policy"),
        (b"policies = 5", "policies"),
        (b"policies = [{}]", "policies"),
        (b"[policies.gold]", "policies.gold: "),
        (b'[policies.gold]\npublisher = ["contoso"]', "policies.gold.publisher: "),
        (b'[policies.gold]\nvmIds = ["vm-1"]', "policies.gold.vmIds.0: "),
        (b"[policies.gold]\nvmIds = []", "policies.gold.vmIds: the list is empty: name at least one value"),
        (b"[policies.gold]\nvmIds = 5", "policies.gold.vmIds: expected a list"),
        (b"[policies.gold]\nallOf = []", "policies.gold.allOf: the list is empty"),
        (b"[policies.gold]\nallOf = 5", "policies.gold.allOf: expected a list"),
        (b"[policies.gold]\nnot = 5", "policies.gold.not: expected a table"),
        (b'[policies."a\\u001bb"]\nvmIds = ["vm-1"]', "policies.a\\x1bb.vmIds.0: "),
        (GOLD + b"[policy.silver]\nrequirePlan = true", "Unknown field 'policy'. Did you mean 'policies'?"),
        (GOLD + GOLD, "gold"),
        (b"policies", "Expected '='"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf" + GOLD, "not TOML in UTF-8 without a byte order mark"),
        (b"port = " + b"9" * 5000, "not TOML in UTF-8 without a byte order mark"),
        (b"policies = " + b"[" * 100_000, "nested too deeply"),
        (b"format = 2\n" + GOLD, "has format 2, and this release knows format 1: update imds-verifier"),
        (b"#" * (MAX_FILE_BYTES + 1), f"more than {MAX_FILE_BYTES} bytes"),
    ],
)
def test_names_what_is_wrong_with_a_file(tmp_path: Path, data: bytes, said: str) -> None:
    assert said in fault(tmp_path / "policies.toml", data)


def test_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for file, said in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(SettingsError, match=said):
            read_policy_file(file)
