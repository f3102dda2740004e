"""Serve an application that does nothing, on the HTTP server of the service: what a request costs at least."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 - the standard library has to be patched first
import sys  # noqa: E402

from flask import Flask, Response, jsonify, request  # noqa: E402

from verifier.adapters.http.options import ServerOptions, WorkerApplication  # noqa: E402
from verifier.adapters.http.server import serve  # noqa: E402


def _create() -> WorkerApplication:
    app = Flask("bare")

    @app.post("/")
    def answer() -> Response:
        return jsonify({"received": len(json.loads(request.stream.read(request.content_length or 0)))})

    return WorkerApplication(app=app, unhandled=lambda _, error: (500, {}, str(error).encode()), finish=lambda: None)


def _announce(url: str, _: str) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(
        _create,
        ServerOptions(
            host="127.0.0.1",
            port=0,
            workers=int(sys.argv[1]),
            connections=1000,
            store_connections=0,
            request_seconds=10,
            keep_alive_seconds=65,
            graceful_stop_seconds=5,
        ),
        ready=_announce,
        worker_ended=lambda _: None,
    )
