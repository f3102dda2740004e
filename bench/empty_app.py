"""Serve an empty application with the server, worker and settings of the service.

`python -P bench/empty_app.py` reads the settings of the service from the environment.
"""

from verifier.adapters.http.process import prepare_process

prepare_process()

from collections.abc import Mapping  # noqa: E402 - after the patch
from http import HTTPStatus  # noqa: E402 - as above

from flask import Flask, request  # noqa: E402 - as above

from verifier.adapters.http.options import WorkerApplication  # noqa: E402 - as above
from verifier.adapters.http.server import serve  # noqa: E402 - as above
from verifier.adapters.settings.settings import load_settings  # noqa: E402 - as above
from verifier.ports.telemetry import UnhandledCause  # noqa: E402 - as above
from verifier.startup import server_options  # noqa: E402 - as above


def create() -> WorkerApplication:
    app = Flask("empty")
    app.config["MAX_CONTENT_LENGTH"] = 16 * 1024  # the server's stream reads only bounded bodies

    @app.post("/")
    def answer() -> dict[str, int]:
        return {"fields": len(request.get_json())}

    return WorkerApplication(app=app, unhandled=_refuse, finish=lambda: None)


def _refuse(_: UnhandledCause, __: Exception) -> tuple[int, Mapping[str, str], bytes]:
    return HTTPStatus.BAD_REQUEST, {}, b""


if __name__ == "__main__":
    serve(
        create,
        server_options(load_settings()),
        ready=lambda url, _: print(f"empty: listening on {url}", flush=True),
        worker_ended=lambda _: None,
    )
