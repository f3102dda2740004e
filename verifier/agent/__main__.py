"""`python -m verifier.agent`."""

import argparse
import sys

from verifier.agent.command import configure, run


def main() -> None:
    """Ends the process with the command's status itself: what a zipapp's entry point returns is thrown away."""
    parser = argparse.ArgumentParser(prog="attest", description="Have a verifier verify this virtual machine.")
    configure(parser)
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
