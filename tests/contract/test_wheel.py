"""The wheel ``aperag`` holds every package but the tools of tests, and requires what these packages require."""

from __future__ import annotations

import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from aperag_common.version import VERSION

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[2]
DEVELOPMENT = "testing"
FULFILLED = {"aperag-cli": "stack"}
"""Extras that the wheel has no choice about: it holds the package that they name."""


def project(path: Path) -> dict[str, Any]:
    return dict(tomllib.loads(path.read_text(encoding="utf-8"))["project"])


MEMBERS = [p.parent for folder in ("libs", "services") for p in sorted((ROOT / folder).glob("*/pyproject.toml"))]
SHIPPED = [member for member in MEMBERS if member.name != DEVELOPMENT]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    made = list(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist"))))
    return zipfile.ZipFile(made[0])


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return BytesParser().parsebytes(wheel.read(f"aperag-{VERSION}.dist-info/METADATA"))


def canonical(requirements: list[str]) -> set[str]:
    """Without those on each other."""
    parsed = map(Requirement, requirements)
    return {str(it).replace("'", '"') for it in parsed if not it.name.startswith("aperag-")}


def test_every_file_of_every_package_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    sources = [member / "src" for member in SHIPPED]
    expected = {
        file.relative_to(source).as_posix()
        for source in sources
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert len(sources) > 8
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected
    assert "aperag_cli/demo/samples/kimchi-ko.docx" in expected


def test_the_wheel_requires_what_its_packages_require(metadata: Message) -> None:
    wanted = [it for member in SHIPPED for it in project(member / "pyproject.toml").get("dependencies", [])]
    for member in SHIPPED:
        described = project(member / "pyproject.toml")
        if described["name"] in FULFILLED:
            wanted += described["optional-dependencies"][FULFILLED[described["name"]]]
    required = [it for it in metadata.get_all("Requires-Dist") or [] if "extra ==" not in it]
    assert canonical(required) == canonical(wanted)
    assert len(canonical(required)) > 40


def test_the_other_extras_stay_a_choice(metadata: Message) -> None:
    assert metadata.get_all("Provides-Extra") == ["korean"]
    (chosen,) = [it for it in metadata.get_all("Requires-Dist") or [] if "extra ==" in it]
    assert chosen.startswith("kiwipiepy")


def test_the_version_is_written_once(metadata: Message) -> None:
    assert metadata["Version"] == VERSION
    assert {project(member / "pyproject.toml")["version"] for member in MEMBERS} == {"0"}
    assert "version" not in project(ROOT / "pyproject.toml")


def test_no_package_reads_the_version_of_one_that_is_not_installed_on_its_own() -> None:
    sources = [file for member in MEMBERS for file in (member / "src").rglob("*.py")]
    asking = [file.name for file in sources if 'version("aperag-' in file.read_text(encoding="utf-8")]
    assert asking == []


def test_the_python_that_is_asked_for_is_the_same_everywhere(metadata: Message) -> None:
    asked = {project(member / "pyproject.toml")["requires-python"] for member in MEMBERS}
    assert asked == {metadata["Requires-Python"]}
