"""A hook of hatchling that puts the bill of materials into the wheel, as `*.dist-info/sboms/` (PEP 770)."""

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BillOfMaterials(BuildHookInterface):  # type: ignore[type-arg]  # its configuration is hatchling's
    """Write the bill before the wheel is packed. Hatchling copies it, and the directory is removed afterwards."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - `standard` or `editable`
        made = runpy.run_path(str(Path(self.root) / "tools" / "bill_of_materials.py"))
        self._directory = tempfile.TemporaryDirectory()
        file = Path(self._directory.name) / str(made["FILE"])
        file.write_text(made["bill_of_materials"](Path(self.root)), "utf-8")
        build_data["sbom_files"].append(str(file))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - as above
        self._directory.cleanup()
