"""Managed identity: selection, cached tokens, and the bounds of the cache."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient

from verifier.emulator.controls import Controls
from verifier.emulator.documents import ManagedIdentity, VirtualMachine
from verifier.emulator.imds import create_imds
from verifier.emulator.pki import Pki
from verifier.emulator.rules import RequestLimiter
from verifier.emulator.scenarios import Authorities

METADATA = {"Metadata": "true"}
RESOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
SYSTEM = ManagedIdentity(tenant_id="t", client_id="c0", object_id="o0")
FIRST = ManagedIdentity(tenant_id="t", client_id="c1", object_id="o1", resource_id=f"{RESOURCE}one")
SECOND = ManagedIdentity(tenant_id="t", client_id="c2", object_id="o2", resource_id=f"{RESOURCE}two")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 8, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client_of(pki: Pki, clock: Clock) -> Callable[..., FlaskClient]:
    authorities = Authorities.from_ca(pki.issuing_ca, cloud=VirtualMachine().cloud, region="eastus")

    def make(system: ManagedIdentity | None = None, *users: ManagedIdentity) -> FlaskClient:
        controls = Controls(authorities=authorities, clock=clock, base_url="http://127.0.0.1")
        vm = VirtualMachine(identity=system, user_identities=users)
        seconds = iter(range(10_000_000))
        limiter = RequestLimiter(monotonic=lambda: float(next(seconds)))
        return create_imds(vm=vm, controls=controls, limiter=limiter, wait=lambda _: None).test_client()

    return make


def token(client: FlaskClient, resource: str = "r", **selected: str) -> dict[str, str]:
    query = {"api-version": "2018-02-01", "resource": resource, **selected}
    answer: dict[str, str] = client.get(
        "/metadata/identity/oauth2/token", query_string=query, headers=METADATA
    ).get_json()
    return answer


@pytest.mark.parametrize(
    ("selected", "found"),
    [
        ({}, SYSTEM),
        ({"client_id": ""}, SYSTEM),
        ({"client_id": "c0"}, SYSTEM),
        ({"object_id": "o0"}, SYSTEM),
        ({"client_id": "C2"}, SECOND),
        ({"object_id": "o1"}, FIRST),
        ({"msi_res_id": f"{RESOURCE}two"}, SECOND),
        ({"msi_res_id": f"{RESOURCE}TWO".upper()}, SECOND),
        ({"mi_res_id": f"{RESOURCE}one"}, FIRST),
    ],
)
def test_request_selects_an_identity(
    client_of: Callable[..., FlaskClient], selected: dict[str, str], found: ManagedIdentity
) -> None:
    answer = token(client_of(SYSTEM, FIRST, SECOND), **selected)
    assert answer["client_id"] == found.client_id
    # The answer repeats what was selected, and no other identifier.
    assert {name: answer[name] for name in answer if name in {"object_id", "msi_res_id", "mi_res_id"}} == {
        name: value for name, value in selected.items() if name != "client_id"
    }


@pytest.mark.parametrize(
    "selected", [{"client_id": "o1"}, {"object_id": "c1"}, {"msi_res_id": "c1"}, {"client_id": "t"}]
)
def test_identifier_of_another_kind_selects_no_identity(
    client_of: Callable[..., FlaskClient], selected: dict[str, str]
) -> None:
    answer = token(client_of(SYSTEM, FIRST, SECOND), **selected)
    assert answer == {"error": "invalid_request", "error_description": "Identity not found"}


def test_identifiers_are_compared_without_the_case_of_ascii_letters_only(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of(SYSTEM, replace(FIRST, client_id="straße"), SECOND)
    assert token(client, client_id="STRASSE")["error_description"] == "Identity not found"
    assert token(client, client_id="STRAßE")["client_id"] == "straße"


@pytest.mark.parametrize(
    ("system", "users", "answer"),
    [
        (SYSTEM, (), {"tenantId": "t"}),
        (SYSTEM, (FIRST,), {"tenantId": "t"}),
        (None, (FIRST, SECOND), {"tenantId": "t"}),
        (
            None,
            (replace(FIRST, tenant_id=""),),
            {"error": "invalid_request", "error_description": "Identity not found"},
        ),
        (None, (), {"error": "invalid_request", "error_description": "Identity not found"}),
    ],
)
def test_info_has_the_tenant_of_the_identities(
    client_of: Callable[..., FlaskClient],
    system: ManagedIdentity | None,
    users: tuple[ManagedIdentity, ...],
    answer: dict[str, str],
) -> None:
    info = client_of(system, *users).get("/metadata/identity/info?api-version=2018-02-01", headers=METADATA)
    assert info.get_json() == answer


def test_only_user_assigned_identity_needs_no_selector(client_of: Callable[..., FlaskClient]) -> None:
    assert token(client_of(None, FIRST))["client_id"] == "c1"
    assert "Multiple user assigned identities exist" in token(client_of(None, FIRST, SECOND))["error_description"]


@pytest.mark.parametrize(
    "selected",
    [
        {"client_id": "c1", "object_id": "o1"},
        {"client_id": "c1", "msi_res_id": "x"},
        {"object_id": "o1", "msi_res_id": "x"},
        {"msi_res_id": "x", "mi_res_id": "x"},
    ],
)
def test_two_selectors_are_refused_even_if_they_agree(
    client_of: Callable[..., FlaskClient], selected: dict[str, str]
) -> None:
    answer = token(client_of(SYSTEM, FIRST), **selected)
    first, second = selected
    expected = f"The query variables '{first}' and '{second}' are mutually exclusive"
    assert answer == {"error": "invalid_request", "error_description": expected}


def test_token_is_cached_for_its_identity_and_resource(client_of: Callable[..., FlaskClient], clock: Clock) -> None:
    client = client_of(SYSTEM, FIRST)
    first = token(client)
    clock.now += timedelta(seconds=82)
    again = token(client)
    assert again["access_token"] == first["access_token"]
    assert (first["expires_in"], again["expires_in"]) == ("86400", "86318")
    assert {name: again[name] for name in ("expires_on", "not_before", "ext_expires_in")} == {
        name: first[name] for name in ("expires_on", "not_before", "ext_expires_in")
    }
    others = {token(client, "s")["access_token"], token(client, client_id="c1")["access_token"]}
    assert len({first["access_token"], *others}) == 3


def test_bypassed_cache_keeps_the_new_token(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of(SYSTEM)
    old = token(client)["access_token"]
    new = token(client, bypass_cache="true")["access_token"]
    assert old != new
    assert token(client)["access_token"] == new


@pytest.mark.parametrize("value", ["false", "", "True", "1"])
def test_other_values_of_bypass_cache_are_refused(client_of: Callable[..., FlaskClient], value: str) -> None:
    assert "bypass_cache" in token(client_of(SYSTEM), bypass_cache=value)["error_description"]


@pytest.mark.parametrize("step", [timedelta(hours=24), timedelta(seconds=-1)])
def test_token_outside_its_lifetime_is_replaced(
    client_of: Callable[..., FlaskClient], clock: Clock, step: timedelta
) -> None:
    client = client_of(SYSTEM)
    old = token(client)["access_token"]
    clock.now += step
    assert token(client)["access_token"] != old


def test_cache_is_bounded_and_drops_the_oldest(client_of: Callable[..., FlaskClient]) -> None:
    client = client_of(SYSTEM)
    oldest, newer = token(client, "0")["access_token"], token(client, "1")["access_token"]
    for number in range(2, 1001):
        token(client, str(number))
    assert token(client, "1")["access_token"] == newer
    assert token(client, "0")["access_token"] != oldest
