"""Pods of the rendered chart as plain processes: the same command, environment, mounted files, probes and hooks.

What is of the container's world is replaced by a table: paths of mounts by directories, ports by free ones, names of
Services by loopback, programs by those that are installed. A process is not in a container: its root is not read-only.
"""

import base64
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from support.chart import NAMESPACE, Object
from support.redis_server import redis_server_binary
from support.services import Client
from support.session_log import SESSION_LOG

_POLL_SECONDS = 0.05
#: Of a probe's `failureThreshold` times `periodSeconds`, where a laden machine is slower than a node may be.
_PATIENCE = 2
_CLOSE_SECONDS = 40

Content = Mapping[str, bytes]


def content_of(made: Object) -> Content:
    """The files of a ConfigMap or Secret, by their keys."""
    data: dict[str, str] = made.get("data", {})
    is_secret = made["kind"] == "Secret"
    return {key: base64.b64decode(value) if is_secret else value.encode() for key, value in data.items()}


def mount(directory: Path, content: Content, *, mode: int = 0o444) -> None:
    """`directory` holds `content` as kubelet writes it, also where it held other content before: the files are in a
    directory of their own, to which the one link `..data` is swapped; the names lead through it."""
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / f"..{time.time_ns()}"
    fresh.mkdir()
    for key, data in content.items():
        (fresh / key).write_bytes(data)
        # kubelet's files are root's, and their group's; here they are the process's own, and may be nobody else's.
        (fresh / key).chmod(mode & (0o400 if mode & 0o004 == 0 else 0o444))
    before = (directory / "..data").readlink() if (directory / "..data").is_symlink() else None
    (directory / "..data_tmp").symlink_to(fresh.name)
    (directory / "..data_tmp").rename(directory / "..data")
    for key in content:
        if not (directory / key).is_symlink():
            (directory / key).symlink_to(f"..data/{key}")
    for name in directory.iterdir():
        if not name.name.startswith("..") and name.name not in content:
            name.unlink()
    if before is not None:
        for file in (directory / before).iterdir():
            file.unlink()
        (directory / before).rmdir()


class Cluster:
    """What the objects of a release and the Secrets of others are to the pods that run here."""

    def __init__(self, root: Path, objects: list[Object], secrets: Mapping[str, Content]) -> None:
        self.root = root
        self._contents: dict[tuple[str, str], Content] = {("Secret", name): made for name, made in secrets.items()}
        for one in objects:
            if one["kind"] in {"ConfigMap", "Secret"}:
                self._contents[one["kind"], one["metadata"]["name"]] = content_of(one)
        #: Of each Service that pods ask for by its name: what stands for it, by `host:port`.
        self.services: dict[str, str] = {}

    def serve(self, service: Object, address: str) -> None:
        """Whoever asks for this Service reaches `address`."""
        [port] = service["spec"]["ports"]
        self.services[f"{service['metadata']['name']}.{NAMESPACE}.svc:{port['port']}"] = address

    def change_secret(self, name: str, content: Content) -> None:
        """Of pods that are started from now on."""
        self._contents["Secret", name] = content

    def content(self, volume: Object) -> tuple[Content, int] | None:
        """Of a volume of files, with their mode; None of an empty directory."""
        for kind, key, field in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
            if key in volume:
                source = volume[key]
                content = self._contents[kind, source[field]]
                if "items" in source:
                    content = {item["path"]: content[item["key"]] for item in source["items"]}
                return content, source["defaultMode"]
        return None


class Pod:
    """One pod of one container. Started and stopped by `running_pod`, or by its methods."""

    def __init__(self, cluster: Cluster, name: str, spec: Object) -> None:
        self.name = name
        self._spec = spec
        [self._container] = spec["containers"]
        self._cluster = cluster
        root = cluster.root / f"{name}-{time.time_ns()}"
        root.mkdir(parents=True)
        self.mounts = {mount["mountPath"]: root / mount["name"] for mount in self._container.get("volumeMounts", [])}
        self._mount_volumes()
        self.ports = {port["name"]: _free_port() for port in self._container.get("ports", [])}
        self._numbers = {str(port["containerPort"]): port["name"] for port in self._container.get("ports", [])}
        self.log = root / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.was_killed = False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def client(self, port: str = "http") -> Client:
        """Asks this pod, past any Service."""
        return Client(url=f"http://{self.address(port)}")

    def address(self, port: str) -> str:
        return f"127.0.0.1:{self.ports[port]}"

    def start(self) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(self._container),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )

    def await_ready(self, until: str = "readinessProbe") -> None:
        """Wait for the startup probe and then for the readiness probe, as long as kubelet does. `until` is the last."""
        for probe in ("startupProbe", "readinessProbe"):
            if probe in self._container:
                self._await(self._container[probe])
            if probe == until:
                break

    def run(self) -> subprocess.CompletedProcess[str]:
        """The container's command, to its end."""
        return self._run(self._container)

    def exec(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `kubectl exec` does."""
        return self._run({"command": words})

    def _run(self, asked: Object, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(asked),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            env=self._environment(),
        )

    def stop(self) -> None:
        """As kubelet does: preStop, SIGTERM, and after the grace period, which began before preStop, SIGKILL."""
        ends = time.monotonic() + self._spec.get("terminationGracePeriodSeconds", 30)
        hook = self._container.get("lifecycle", {}).get("preStop")
        if hook is not None:
            subprocess.run(
                self._command(hook["exec"]), check=True, timeout=ends - time.monotonic(), env=self._environment()
            )
        self._terminate(ends - time.monotonic())

    def close(self) -> None:
        """The process is gone, if there is one, and its log is the session's too."""
        if self._process is not None and self._process.poll() is None:
            self._terminate(_CLOSE_SECONDS)
        if self.log.exists():
            SESSION_LOG.lines.extend(self.log.read_text("utf-8").splitlines(keepends=True))

    def _terminate(self, seconds: float) -> None:
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.was_killed = True
            self.process.kill()
            self.process.wait()

    def _mount_volumes(self) -> None:
        volumes = {volume["name"]: volume for volume in self._spec.get("volumes", [])}
        for entry in self._container.get("volumeMounts", []):
            directory = self.mounts[entry["mountPath"]]
            found = self._cluster.content(volumes.get(entry["name"], {}))
            if found is None:
                directory.mkdir()
            else:
                mount(directory, found[0], mode=found[1])

    def _command(self, asked: Object) -> list[str]:
        words: list[str] = [*asked["command"], *asked.get("args", [])]
        programs = {
            "python": lambda: sys.executable,
            "imds-verifier": lambda: str(Path(sys.executable).with_name("imds-verifier")),
            "valkey-server": lambda: str(redis_server_binary()),
        }
        return [programs[words[0]](), *(self._here(word) for word in words[1:])]

    def _environment(self) -> dict[str, str]:
        given = {variable["name"]: self._here(variable["value"]) for variable in self._container.get("env", [])}
        temporary = str(self.mounts.get("/tmp", self._cluster.root))  # noqa: S108 - in the container
        # Those of the image; and a home that is not there, as in a container with a read-only root.
        image = {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
        return {"PATH": os.defpath, "TMPDIR": temporary, **image, **given}

    def _here(self, text: str) -> str:
        """What stands for `text`, of a container's command or environment, in a process of this machine."""
        if text in self._numbers:
            return str(self.ports[self._numbers[text]])
        if text == "0.0.0.0":  # noqa: S104 - in the container
            return "127.0.0.1"
        for path in sorted(self.mounts, key=len, reverse=True):
            if text == path or text.startswith(f"{path}/"):
                return f"{self.mounts[path]}{text.removeprefix(path)}"
        for name, address in self._cluster.services.items():
            text = text.replace(name, address)
        return text

    def _await(self, probe: Object) -> None:
        deadline = time.monotonic() + _PATIENCE * probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
        while not self._passes(probe):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready: {self.log.read_text('utf-8')[-3000:]}")
            threading.Event().wait(_POLL_SECONDS)

    def _passes(self, probe: Object) -> bool:
        seconds = probe.get("timeoutSeconds", 1)
        if "tcpSocket" in probe:
            with socket.socket() as probing:
                probing.settimeout(seconds)
                return probing.connect_ex(("127.0.0.1", self.ports[probe["tcpSocket"]["port"]])) == 0
        asked = probe["httpGet"]
        connection = HTTPConnection("127.0.0.1", self.ports[asked["port"]], timeout=seconds)
        try:
            connection.request("GET", asked["path"])
            return connection.getresponse().status in range(200, 400)
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running_pod(cluster: Cluster, workload: Object, *, until: str = "readinessProbe") -> Iterator[Pod]:
    """A pod of a Deployment or StatefulSet that passed the probe `until`; stopped afterwards without its hook."""
    pod = Pod(cluster, workload["metadata"]["name"], workload["spec"]["template"]["spec"])
    try:
        pod.start()
        pod.await_ready(until)
        yield pod
    finally:
        pod.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
