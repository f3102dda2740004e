"""The rendered chart, run as processes: it serves, its own test passes, a rollout drops nothing, and what it mounts is
followed."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from support.chart import NAME, NAMESPACE, Object, Values, find, manifests, merged, render, scenarios
from support.command_line import run
from support.documents import imds_answer
from support.endpoints_proxy import EndpointsProxy, running_proxy
from support.live_documents import current_document, current_pki
from support.load import repeated
from support.pods import Cluster, Pod, content_of, mount, running_pod
from support.processes import await_everywhere, await_that
from support.redis_server import RedisServer, running_redis_server
from support.redis_tls import RedisTls
from support.services import Answer, Client
from support.tcp_proxy import running_tcp_proxy

TEST = f"{NAME}-test"
KEY = "a-key-for-tests"
OPEN: Values = {"tenants": {}, "settings": {"allow_open_listening": True, "trust_refresh_seconds": 0.2}}


@pytest.fixture
def redis_secret(redis_url: str) -> dict[str, dict[str, bytes]]:
    return {"redis-url": {"url": f"{redis_url}\n".encode()}}


def certificates() -> list[Object]:
    """Values that trust the PKI of `support.live_documents`."""
    made = current_pki()
    return [
        {
            "name": name,
            "role": role,
            "clouds": ["AzurePublicCloud"],
            "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
            "source": "urn:tests",
            "pem": certificate.public_bytes(Encoding.PEM).decode(),
        }
        for name, role, certificate in (
            ("root", "root", made.root.certificate),
            ("issuing-ca", "intermediate", made.issuing_ca.certificate),
        )
    ]


def without_tenants(name: str, *changes: Values) -> Values:
    values = {key: value for key, value in scenarios()[name].items() if key != "tenants"}
    return merged(values, OPEN, *changes)


def run_helm_test(cluster: Cluster, objects: list[Object]) -> Object:
    """The pod of `helm test`, to its end."""
    ended = Pod(cluster, TEST, find(objects, "Pod", TEST)["spec"]).run()
    return {"status": ended.returncode, "out": ended.stdout, "err": ended.stderr}


@contextmanager
def running_release(
    root: Path, objects: list[Object], secrets: dict[str, dict[str, bytes]]
) -> Iterator[tuple[Cluster, Pod]]:
    """One pod of each workload, each behind its Service, with the verifier's pod last."""
    cluster = Cluster(root, objects, secrets)
    with ExitStack() as stack:
        for kind, name, port in (("StatefulSet", "valkey", "redis"), ("Deployment", "emulator", "imds")):
            if (kind, f"{NAME}-{name}") in {(one["kind"], one["metadata"]["name"]) for one in objects}:
                pod = stack.enter_context(running_pod(cluster, find(objects, kind, f"{NAME}-{name}")))
                cluster.serve(find(objects, "Service", f"{NAME}-{name}"), pod.address(port))
        pod = stack.enter_context(running_pod(cluster, find(objects, "Deployment")))
        cluster.serve(find(objects, "Service"), pod.address("http"))
        yield cluster, pod


@pytest.mark.parametrize("scenario", ["try", "tenants-with-emulator"])
def test_helm_test_attests_against_the_emulator(
    scenario: str, tmp_path: Path, redis_secret: dict[str, dict[str, bytes]]
) -> None:
    """With the authority that Helm made, which both path validators accept; and with a tenant's key, or without."""
    objects = render(scenarios()[scenario])
    with running_release(tmp_path, objects, {**redis_secret, "test-key": {"api-key": KEY.encode()}}) as (cluster, pod):
        ended = run_helm_test(cluster, objects)
        assert (ended["status"], ended["err"]) == (0, "")
        assert "vmId: 5c1a0b3e-7d42-4f0e-9a61-1b2c3d4e5f60" in ended["out"]
        assert "plan.publisher: contoso" in ended["out"]
        assert pod.client("metrics").request("GET", "/metrics").status == 200
        assert pod.client().request("GET", "/metrics").status == 404
        if "tenants" in scenarios()[scenario]:
            cluster.change_secret("test-key", {"api-key": b"another"})
            ended = run_helm_test(cluster, objects)
            assert ended["status"] != 0
            assert "unauthenticated" in ended["err"]


def test_the_notes_of_a_first_try_attest_once(tmp_path: Path) -> None:
    """Their commands, as they are, in a pod of the verifier. The decision is then kept."""
    values = merged(scenarios()["try"], {"settings": {"trust_refresh_seconds": 0.2}})
    notes = [line.strip() for line in manifests(values)["NOTES.txt"].splitlines()]
    start = f"kubectl --namespace {NAMESPACE} exec deployment/{NAME} -- "
    attest, decisions = [line.removeprefix(start).split() for line in notes if line.startswith(start)]
    with running_release(tmp_path, render(values), {}) as (cluster, pod):
        cluster.services["localhost:8080"] = pod.address("http")
        attested = pod.exec(attest)
        assert (attested.returncode, attested.stderr) == (0, "")
        assert "vmId: 5c1a0b3e-7d42-4f0e-9a61-1b2c3d4e5f60" in attested.stdout
        kept = pod.exec(decisions)
        assert (kept.returncode, kept.stderr) == (0, "")
        assert "5c1a0b3e-7d42-4f0e-9a61-1b2c3d4e5f60" in kept.stdout


def test_serves_with_a_redis_by_host_and_a_password_in_a_secret(tmp_path: Path) -> None:
    """The log, which is read too, does not have the password."""
    password = "p@/:#% s"  # noqa: S105 - of this test
    change = {
        "redis": {
            "host": "redis.example",
            "username": "verifier",
            "database": 2,
            "urlSecret": {"name": ""},
            "passwordSecret": {"name": "redis-password"},
        },
        "settings": {"log_level": "warning"},
    }
    objects = render(without_tenants("default", change))
    with running_redis_server() as server, redis.Redis.from_url(server.url) as admin:
        admin.acl_setuser("verifier", enabled=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"])
        admin.acl_setuser("default", enabled=False)
        secrets = {"redis-password": {"password": f"{password}\n".encode()}}
        cluster = Cluster(tmp_path, objects, secrets)
        cluster.services["redis.example:6379"] = f"127.0.0.1:{server.port}"
        with running_pod(cluster, find(objects, "Deployment")) as pod:
            assert pod.client().post_json("/v1/nonces").status == 201
            log = pod.log.read_text("utf-8")
        assert password not in log
        assert "answered" not in log
        cluster.change_secret("redis-password", {"password": b"another"})
        with running_pod(cluster, find(objects, "Deployment"), until="startupProbe") as pod:
            assert pod.client().post_json("/v1/nonces").code == "store-unavailable"


def test_serves_with_everything_that_can_be_mounted(tmp_path: Path, redis_server: RedisServer) -> None:
    """Settings, Redis URL and the certificates for it from Secrets under names of their own, keys that sign, and a
    trail. `helm test` without the emulator says that the service is ready, or that it is not."""
    tls = RedisTls.make(tmp_path)
    assert run("keys", "generate", "--dir", str(tmp_path / "keys")).status == 0
    keys = {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir()}
    written = find(render(scenarios()["full"]), "ConfigMap", f"{NAME}-settings")["data"]["verifier.toml"]
    values = merged(
        scenarios()["full"],
        {"policies": None, "tenants": None, "adminKeys": None},
        {"settingsSecret": {"name": "settings", "key": "a-file"}, "redis": {"urlSecret": {"key": "a-url"}}},
        {"redis": {"tls": {"caKey": "an-authority", "certificateKey": "a-certificate", "privateKeyKey": "a-key"}}},
        # Spans would be sent to nobody, and the feed is not there; the log would tell of both.
        {"settings": {"otlp_endpoint": None}, "trustFeed": {"url": "", "configMapName": "", "caKey": "", "cidrs": []}},
    )
    objects = render(values)
    secrets = {
        "settings": {"a-file": written.encode()},
        "redis-tls": {
            "an-authority": tls.authority.file.read_bytes(),
            "a-certificate": tls.client.certificate.read_bytes(),
            "a-key": tls.client.key.read_bytes(),
        },
        # There are no Sentinels: it is read, and shown to nobody.
        "redis-sentinel": {"password": b"not-asked-for"},
        "token-keys": keys,
        "test-key": {"api-key": KEY.encode()},
    }
    with (
        running_tcp_proxy(redis_server.port, tls=tls.context()) as redis,
        running_release(
            tmp_path,
            objects,
            {
                **secrets,
                "redis-url": dict.fromkeys(("a-url", "decisions-url"), f"rediss://127.0.0.1:{redis.port}\n".encode()),
            },
        ) as (cluster, pod),
    ):
        published = pod.client().request("GET", "/.well-known/jwks.json").json["keys"]
        kids = [key["kid"] for key in published]  # type: ignore[attr-defined]  # of JSON: a list
        assert kids == [name.removesuffix(".pem") for name in keys if name != "current"]
        assert pod.client().post_json("/v1/nonces").code == "unauthenticated"
        assert run_helm_test(cluster, objects) == {"status": 0, "out": "", "err": ""}
        cluster.serve(find(objects, "Service"), "127.0.0.1:9")
        assert run_helm_test(cluster, objects)["status"] == 1


class Load:
    """Attest again and again from several callers, and keep every answer and error."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.answers: list[Answer] = []
        self.faults: list[Exception] = []

    @contextmanager
    def flowing(self, callers: int = 3) -> Iterator[None]:
        with repeated([self.attest] * callers, self.faults):
            yield

    def attest(self) -> None:
        issued = self.client.post_json("/v1/nonces")
        self.answers.append(issued)
        evidence = imds_answer(current_document(str(issued.json["nonce"])))
        self.answers.append(self.client.post_json("/v1/attestations", evidence))

    @property
    def failed(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.status not in {200, 201}]


def stop_as_kubelet_does(pod: Pod, proxy: EndpointsProxy) -> None:
    """Its hook runs at once; that it is no endpoint any more becomes known a little later, and until then new
    connections still come."""
    told = threading.Timer(0.5, proxy.remove, [pod.ports["http"]])
    told.start()
    pod.stop()
    told.join()


def test_a_rolling_restart_under_load_fails_no_request(
    tmp_path: Path, redis_secret: dict[str, dict[str, bytes]]
) -> None:
    """Harder than the rollout that the chart asks for: a pod is stopped before the one in its place is started."""
    values = without_tenants(
        "default",
        {"trust": {"mode": "replace", "certificates": certificates()}},
        {"preStopSeconds": 2, "settings": {"workers": 1}},
    )
    objects = render(values)
    cluster = Cluster(tmp_path, objects, redis_secret)
    deployment = find(objects, "Deployment")
    with ExitStack() as stack:
        proxy = stack.enter_context(running_proxy())
        pods = [stack.enter_context(running_pod(cluster, deployment)) for _ in range(2)]
        for pod in pods:
            proxy.add(pod.ports["http"])
        load = Load(Client(url=proxy.url))
        with load.flowing():
            for pod in pods:
                before = len(load.answers)
                stop_as_kubelet_does(pod, proxy)
                assert load.faults == []
                served = len(load.answers) - before
                assert served > 0
                assert (pod.process.returncode, pod.was_killed) == (0, False)
                fresh = stack.enter_context(running_pod(cluster, deployment))
                proxy.add(fresh.ports["http"])
                await_some(load)
        assert load.faults == []
        assert load.failed == []
        assert len(load.answers) > 100


def await_some(load: Load) -> None:
    enough = len(load.answers) + 20
    await_that(lambda: len(load.answers) >= enough or bool(load.faults))


def test_a_config_map_brings_a_pin_and_a_policy_live(tmp_path: Path, redis_secret: dict[str, dict[str, bytes]]) -> None:
    """Those of an upgrade whose Deployment is the one before: kubelet swaps what is mounted, and nothing is started."""
    before = render(without_tenants("default"))
    after = render(
        without_tenants(
            "default",
            {"trust": {"certificates": certificates()}, "policies": {"gold": {"publishers": ["contoso"]}}},
        )
    )
    assert find(after, "Deployment") == find(before, "Deployment")
    with running_release(tmp_path, before, redis_secret) as (_, pod):
        client = pod.client()

        def attest() -> Answer:
            return client.post_json("/v1/attestations", imds_answer(current_document(client.issue_nonce())))

        def knows_the_policy() -> bool:
            return client.post_json("/v1/nonces", {"policy": "gold"}).status == 201

        assert attest().code == "issuer-unpinned"
        assert not knows_the_policy()
        for volume in ("trust", "settings"):
            mount(pod.mounts[f"/etc/imds-verifier/{volume}"], content_of(find(after, "ConfigMap", f"{NAME}-{volume}")))
        await_everywhere(lambda: attest().status == 200)
        await_everywhere(knows_the_policy)
        # And back: what an upgrade took away counts no more.
        for volume in ("trust", "settings"):
            mount(pod.mounts[f"/etc/imds-verifier/{volume}"], content_of(find(before, "ConfigMap", f"{NAME}-{volume}")))
        await_everywhere(lambda: attest().code == "issuer-unpinned")
        await_everywhere(lambda: not knows_the_policy())
        assert pod.process.poll() is None
