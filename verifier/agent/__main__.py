"""Run the agent as `python -m verifier.agent` or as a zipapp."""

import argparse
import sys

from verifier.agent.command import configure, run


def main() -> None:
    """Run the command and exit with its status. A zipapp ignores the value that its entry point returns."""
    parser = argparse.ArgumentParser(prog="attest", description="Ask a verifier to verify this virtual machine.")
    configure(parser)
    sys.exit(run(parser.parse_args()))


if __name__ == "__main__":
    main()
