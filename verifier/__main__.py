"""Run the command line: `imds-verifier`, or `python -m verifier`."""

import sys

_UNAVAILABLE = 3
#: 128 plus the number of SIGINT, as in shells.
_INTERRUPTED = 130


def main() -> int:
    """Run the command that the arguments name, and return its exit status.

    `serve` patches the standard library before other modules import it: a lock or socket created earlier would block a
    whole worker. The other commands and the library do not import gevent.
    """
    try:
        return _run()
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"imds-verifier: the module {error.name!r} is missing: it is not installed, or not for this system\n"
        )
        return _UNAVAILABLE
    except KeyboardInterrupt:
        sys.stderr.write("imds-verifier: interrupted\n")
        return _INTERRUPTED


def _run() -> int:
    if sys.argv[1:2] == ["serve"]:
        from gevent import monkey  # noqa: PLC0415 - for this command alone

        import verifier.adapters.native_lock  # noqa: F401, PLC0415 - it keeps what is patched next

        monkey.patch_all()
    from verifier.wiring import main as run  # noqa: PLC0415 - after the patch

    return run()


if __name__ == "__main__":
    sys.exit(main())
