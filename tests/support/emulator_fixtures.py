"""Emulators of several machines in any cloud, and one trust directory for all of them."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "emulator").glob("*.toml"))


@contextmanager
def emulated_machines(files: Iterable[Path]) -> Iterator[Mapping[str, RunningEmulator]]:
    """Run one emulator per file, each with its own PKI. The keys are the names of the files."""
    with ExitStack() as stack:
        yield {file.stem: stack.enter_context(loopback_emulator(read_virtual_machine(file))) for file in files}


def write_common_trust(directory: Path, emulators: Mapping[str, RunningEmulator]) -> Path:
    """Merge the trust of all emulators into the trust directory `directory`."""
    anchors: dict[str, list[str]] = {}
    domains: dict[str, str] = {}
    entries = []
    for folder in ("roots", "intermediates"):
        (directory / folder).mkdir(parents=True)
    for name, emulator in emulators.items():
        own = directory.parent / f"trust-of-{name}"
        emulator.write_trust(own)
        manifest = tomllib.loads((own / "manifest.toml").read_text("utf-8"))
        ((cloud, table),) = manifest["clouds"].items()
        domains[cloud] = table["domain"]
        for entry in manifest["certificates"]:
            file = entry["file"].replace("/", f"/{name}-")
            (directory / file).write_bytes((own / entry["file"]).read_bytes())
            if entry["role"] == "root":
                anchors.setdefault(cloud, []).append(file)
            entries.append(
                f'[[certificates]]\nfile = "{file}"\nsha256 = "{entry["sha256"]}"\nrole = "{entry["role"]}"\n'
                f'clouds = ["{cloud}"]\nsource = "{entry["source"]}"\n'
            )
    clouds = [f'[clouds.{cloud}]\ndomain = "{domains[cloud]}"\nanchors = {files}\n' for cloud, files in anchors.items()]
    text = "\n".join(['format = 1\nmode = "replace"\n', *clouds, *entries])
    (directory / "manifest.toml").write_text(text, "utf-8")
    return directory
