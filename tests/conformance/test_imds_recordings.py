"""The emulator answers like recorded machines: tests/data/imds-recordings names their sources."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from socket import create_server
from urllib.parse import urlsplit

import pytest
from support.imds_conformance import Answer, Request

from verifier.emulator.documents import ManagedIdentity, VirtualMachine
from verifier.emulator.scenarios import Authorities
from verifier.emulator.server import RunningEmulator, running_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

RECORDINGS = Path(__file__).parents[1] / "data" / "imds-recordings"
ANSWERS = json.loads((RECORDINGS / "answers.json").read_bytes())
TOKEN, NO_IDENTITY, INSTANCE = ANSWERS
SECONDS = 86_400


@pytest.fixture(scope="module")
def emulator_of() -> Iterator[Callable[[VirtualMachine], RunningEmulator]]:
    """Return a function that starts an emulator. All have one PKI, because making keys is slow."""
    standard = VirtualMachine()
    authorities = Authorities.generate(now=datetime.now(UTC), cloud=standard.cloud, region=standard.region)
    with ExitStack() as stack:

        def start(vm: VirtualMachine) -> RunningEmulator:
            listener = stack.enter_context(create_server(("127.0.0.1", 0)))
            return stack.enter_context(running_emulator(listener, vm=vm, authorities=authorities))

        yield start


def recorded(name: str) -> object:
    return json.loads((RECORDINGS / name).read_bytes())


@pytest.mark.parametrize(
    ("file", "query"),
    [
        ("instance-2021-02-01.json", "api-version=2021-02-01"),
        ("instance-2023-11-15-extended.json", "api-version=2023-11-15&extended=true"),
    ],
)
def test_machine_of_a_recorded_answer_answers_the_same(
    emulator_of: Callable[[VirtualMachine], RunningEmulator], file: str, query: str
) -> None:
    emulator = emulator_of(read_virtual_machine(RECORDINGS / file))
    assert Request(target=f"/metadata/instance?{query}").send(emulator.url).json == recorded(file)


def test_network_of_2025_answers_the_same(emulator_of: Callable[[VirtualMachine], RunningEmulator]) -> None:
    network = recorded("network-2025-04-07.json")
    assert isinstance(network, dict)
    emulator = emulator_of(VirtualMachine(interfaces=tuple(network["interface"])))
    assert Request(target="/metadata/instance/network?api-version=2025-04-07").send(emulator.url).json == network


def test_network_of_the_preview_answers_as_its_page_shows(
    emulator_of: Callable[[VirtualMachine], RunningEmulator], tmp_path: Path
) -> None:
    file = tmp_path / "vm.toml"
    file.write_text(
        '[compute]\nvmId = "v"\nlocation = "eastus"\n'
        '[[network.interface]]\nmacAddress = "000D3A00FA89"\n'
        'ipv4.ipAddress = [{privateIpAddress = "10.0.0.4", publicIpAddress = "192.0.2.4"}]\n'
        'ipv4.subnet = [{address = "10.0.0.0", prefix = "24", '
        'dnsservers = [{ipaddress = "10.0.0.2"}, {ipaddress = "10.0.0.3"}]}]\n',
        "utf-8",
    )
    emulator = emulator_of(read_virtual_machine(file))
    answer = Request(target="/metadata/instance/network?api-version=2017-03-01").send(emulator.url)
    assert answer.json == recorded("network-2017-03-01.json")


def test_load_balancer_answers_the_same(emulator_of: Callable[[VirtualMachine], RunningEmulator]) -> None:
    balancer = recorded("loadbalancer-2025-04-07.json")
    assert isinstance(balancer, dict)
    emulator = emulator_of(VirtualMachine(load_balancer=balancer["loadbalancer"]))
    assert Request(target="/metadata/loadbalancer?api-version=2025-04-07").send(emulator.url).json == balancer


def seconds(answer: dict[str, str], name: str) -> int:
    assert isinstance(answer[name], str)
    return int(answer[name])


def test_token_has_the_members_and_the_times_of_the_recorded_one(
    emulator_of: Callable[[VirtualMachine], RunningEmulator],
) -> None:
    identity = ManagedIdentity(tenant_id="t", client_id=TOKEN["body"]["client_id"])
    emulator = emulator_of(VirtualMachine(identity=identity))
    answer = Request(target=TOKEN["request"]).send(emulator.url)
    assert isinstance(answer.json, dict)
    assert answer.json.keys() == TOKEN["body"].keys()
    for body, date in ((TOKEN["body"], TOKEN["headers"]["Date"]), (answer.json, answer.headers["Date"])):
        now = datetime.strptime(f"{date}+0000", "%a, %d %b %Y %H:%M:%S GMT%z").timestamp()
        assert seconds(body, "expires_on") - seconds(body, "not_before") == SECONDS + 300
        assert seconds(body, "ext_expires_in") == SECONDS - 1
        assert abs(seconds(body, "expires_in") - (seconds(body, "expires_on") - now)) <= 2
    assert {name: answer.json[name] for name in ("client_id", "resource", "token_type")} == {
        name: TOKEN["body"][name] for name in ("client_id", "resource", "token_type")
    }


def test_missing_identity_is_refused_as_recorded(emulator_of: Callable[[VirtualMachine], RunningEmulator]) -> None:
    answer = Request(target=NO_IDENTITY["request"]).send(emulator_of(VirtualMachine()).url)
    assert (answer.status, answer.json) == (NO_IDENTITY["status"], NO_IDENTITY["body"])
    assert len(answer.body) == int(NO_IDENTITY["headers"]["Content-Length"])


@pytest.mark.parametrize("kept", ANSWERS, ids=lambda kept: str(kept["headers"]["Server"]))
def test_headers_are_those_of_recorded_answers(
    emulator_of: Callable[[VirtualMachine], RunningEmulator], kept: dict[str, dict[str, str]]
) -> None:
    answer = Request(target=str(kept["request"])).send(emulator_of(VirtualMachine()).url)
    # The recorded answers of managed identity are older, and have no x-ms-request-id.
    assert answer.headers.keys() == kept["headers"].keys() | {"x-ms-request-id"}
    assert answer.headers["Content-Type"] == kept["headers"]["Content-Type"]
    assert answer.headers["Server"].split("/")[0] == kept["headers"]["Server"].split("/")[0] == "IMDS"
    assert len(answer.headers["x-ms-request-id"]) == len(INSTANCE["headers"]["x-ms-request-id"])


def test_connection_stays_open_and_each_answer_has_its_own_request_id(
    emulator_of: Callable[[VirtualMachine], RunningEmulator],
) -> None:
    parts = urlsplit(emulator_of(VirtualMachine()).url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.connect()
    source = connection.sock.getsockname()
    answers = []
    for target in ("/metadata/versions", "/metadata/unknown", "/metadata/versions"):
        connection.request("GET", target, headers={"Metadata": "true"})
        response = connection.getresponse()
        answers.append(Answer(status=response.status, headers=dict(response.getheaders()), body=response.read()))
        assert connection.sock is not None
        assert connection.sock.getsockname() == source
    connection.close()
    assert [answer.status for answer in answers] == [200, 404, 200]
    assert len({answer.headers["x-ms-request-id"] for answer in answers}) == 3
