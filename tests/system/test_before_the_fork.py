"""Test what `serve` holds when it forks a worker, and that other commands do not import gevent."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# The service, which tells on standard error what there is before each fork.
_TELLING = """
import os, sys

def tell():
    import gc, json, socket, sqlite3
    import redis
    links = {int(name): os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
             if os.path.exists(f"/proc/self/fd/{name}")}
    sockets = []
    for number, target in links.items():
        if target.startswith("socket:"):
            with socket.socket(fileno=os.dup(number)) as opened:
                sockets.append(bool(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)))
    gc.unfreeze()
    kinds = (sqlite3.Connection, redis.Redis, redis.ConnectionPool, redis.connection.AbstractConnection)
    held = [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)]
    files = [target for target in links.values() if "sqlite3" in target]
    threads = len(os.listdir("/proc/self/task"))
    from gevent import monkey
    patched = monkey.is_module_patched("threading") and monkey.is_module_patched("ssl")
    told = {"listeners": sockets.count(True), "sockets": sockets.count(False), "files": files, "held": held,
            "threads": threads, "patched": patched}
    sys.stderr.write(f"FORK {json.dumps(told)}\\n")
    sys.stderr.flush()

os.register_at_fork(before=tell)
from verifier.__main__ import main
sys.argv = ["imds-verifier", "serve"]
sys.exit(main())
"""


def environment(**settings: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")}
    return {**inherited, **settings}


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_no_socket_database_thread_or_redis_client_exists_before_the_fork(
    request: pytest.FixtureRequest, tmp_path: Path, trust_dir: Path, kind: str
) -> None:
    """The two listeners are the only sockets."""
    store = f"sqlite://{tmp_path}/nonces.sqlite3" if kind == "sqlite" else str(request.getfixturevalue("redis_url"))
    settings = environment(
        VERIFIER_PORT="0",
        VERIFIER_METRICS_PORT="0",
        VERIFIER_TRUST_DIR=str(trust_dir),
        VERIFIER_NONCE_STORE=store,
    )
    command = [sys.executable, "-P", "-c", _TELLING]
    forks: list[dict[str, object]] = []
    with subprocess.Popen(
        command, env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            while len(forks) < 2:
                line = process.stderr.readline()
                assert line, "it ended before it forked"
                if line.startswith("FORK "):
                    forks.append(json.loads(line.removeprefix("FORK ")))
        finally:
            process.terminate()
            process.communicate(timeout=30)
    bare = {"listeners": 2, "sockets": 0, "files": [], "held": [], "threads": 1, "patched": True}
    assert forks == [bare, bare]


# The command, which tells on standard error at its end what of gevent was imported.
_WATCHED = """
import atexit, sys

def tell():
    found = sorted(name for name in sys.modules if name.partition(".")[0] == "gevent")
    sys.stderr.write(f"GEVENT {found}\\n")

atexit.register(tell)
from verifier.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["serve", "--help"], 0),
        (["api-key"], 0),
        (["inspect", "/dev/null"], 2),
        (["verify", "/dev/null"], 2),
        (["policy", "test", "/dev/null", "--document", "/dev/null"], 2),
        (["trust", "list", "--create"], 0),
        (["keys", "show"], 2),
        (["emulator", "--help"], 0),
        (["attest", "--help"], 0),
        (["document", "--help"], 0),
        (["demo", "--help"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_no_other_command_imports_gevent(tmp_path: Path, trust_dir: Path, arguments: list[str], status: int) -> None:
    settings = environment(
        VERIFIER_TRUST_DIR=str(trust_dir), VERIFIER_NONCE_STORE=f"sqlite://{tmp_path}/nonces.sqlite3"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _WATCHED, *arguments],
        env=settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == status, ran.stderr
    [told] = [line for line in ran.stderr.splitlines() if line.startswith("GEVENT ")]
    if arguments[0] == "serve":
        assert "'gevent.monkey'" in told
    else:
        assert told == "GEVENT []"


def test_serve_patches_before_anything_else_is_imported_and_keeps_the_lock_of_native_threads() -> None:
    probe = (
        "import sys\n"
        "from gevent import monkey\n"
        "patch, seen = monkey.patch_all, []\n"
        "def watch():\n"
        "    seen.extend(name for name in ('ssl', 'urllib3', 'redis', 'flask', 'sqlite3') if name in sys.modules)\n"
        "    patch()\n"
        "monkey.patch_all = watch\n"
        "from verifier.__main__ import main\n"
        "sys.argv = ['imds-verifier', 'serve', '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    pass\n"
        "import threading\n"
        "from verifier.adapters.native_lock import native_lock\n"
        "original = monkey.get_original('_thread', 'allocate_lock')\n"
        "print(seen, native_lock is original, threading.Lock is original, file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr.splitlines()[-1] == "[] True False"
