"""What the wheel ``aperag`` requires: the requirements of the packages that it holds, as their own pyprojects have them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

NAME = re.compile(r"[A-Za-z0-9._-]+")


class MembersMetadata(MetadataHookInterface):
    """Hatchling calls it while it builds; the packages are those of ``tool.hatch.build.targets.wheel.packages``."""

    def update(self, metadata: dict[str, Any]) -> None:
        build = self.config_of_wheel()
        members = [project_of(Path(self.root) / package) for package in build["packages"]]
        metadata["dependencies"], metadata["optional-dependencies"] = combined(members)

    def config_of_wheel(self) -> dict[str, Any]:
        root = tomllib.loads((Path(self.root) / "pyproject.toml").read_text(encoding="utf-8"))
        wheel: dict[str, Any] = root["tool"]["hatch"]["build"]["targets"]["wheel"]
        return wheel


def project_of(package: Path) -> dict[str, Any]:
    """Of ``libs/common/src/aperag_common``: the project table of ``libs/common``."""
    found = tomllib.loads((package.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = found["project"]
    return project


def combined(members: list[dict[str, Any]]) -> tuple[list[str], dict[str, list[str]]]:
    """The requirements of all ``members`` and their extras, without what they require of each other.

    An extra that names a member is no choice here: the wheel holds that member, so what else the extra names is required.
    """
    ours = {member["name"] for member in members}
    required = {it for member in members for it in member.get("dependencies", [])}
    extras: dict[str, list[str]] = {}
    for member in members:
        for name, wanted in member.get("optional-dependencies", {}).items():
            if any(_name(it) in ours for it in wanted):
                required.update(wanted)
            else:
                extras[name] = sorted({*extras.get(name, []), *wanted})
    return sorted(it for it in required if _name(it) not in ours), extras


def _name(requirement: str) -> str:
    found = NAME.match(requirement)
    return found[0] if found else ""
