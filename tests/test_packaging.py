"""What is built from this checkout: a wheel, and an sdist that makes the same wheel."""
import configparser
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

BUILD = "import sys; from flit_core import buildapi; print(getattr(buildapi, sys.argv[1])(sys.argv[2]))"


def build(kind, source, target):
    """Build a «wheel» or an «sdist» of the source in the target: in a process, because the back end works in its folder."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, "build_" + kind, str(target)],
        cwd=str(source),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
        timeout=120,
    )
    return target / done.stdout.split()[-1]


def files_of_package(root):
    """Return the path, inside the package, of each file that belongs in a distribution."""
    package = root / "src" / "pistoke"
    return {
        "pistoke/" + path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the path of a wheel of this checkout."""
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """Return the path of an sdist of this checkout."""
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


def read_metadata(wheel):
    """Return the text of the METADATA of a wheel."""
    with zipfile.ZipFile(str(wheel)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name).decode("utf-8")


def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(str(wheel)) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == files_of_package(ROOT)


def test_package_has_its_type_marker_and_its_compiled_translations():
    names = files_of_package(ROOT)
    assert "pistoke/py.typed" in names
    texts = {name for name in names if name.endswith(".po")}
    assert texts
    assert {name[: -len("po")] + "mo" for name in texts} <= names


def test_wheel_runs_on_every_python_and_names_its_licence(wheel):
    assert wheel.name == "django_pistoke-1.0.0-py3-none-any.whl"
    metadata = read_metadata(wheel)
    assert "Requires-Python: >=3.6\n" in metadata
    assert "License-Expression: MIT\n" in metadata


def test_wheel_requires_django_and_asgiref_without_upper_pins(wheel):
    required = [line for line in read_metadata(wheel).splitlines() if line.startswith("Requires-Dist:")]
    assert {line for line in required if "extra ==" not in line} == {
        "Requires-Dist: Django>=3.1",
        "Requires-Dist: asgiref>=3.4.1",
    }


def test_wheel_has_the_extra_of_the_development_server(wheel):
    metadata = read_metadata(wheel)
    assert "Provides-Extra: runserver\n" in metadata
    assert 'Requires-Dist: uvicorn[standard] ; extra == "runserver"' in metadata


def test_wheel_declares_the_settings_extension(wheel):
    entry_points = configparser.ConfigParser()
    with zipfile.ZipFile(str(wheel)) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        entry_points.read_string(archive.read(name).decode("utf-8"))
    assert dict(entry_points["django.asetukset"]) == {"pistoke": "pistoke.asetukset"}


def test_sdist_has_what_a_build_needs_and_nothing_else(sdist):
    with tarfile.open(str(sdist)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    beside = {name for name in names if not name.startswith("src/pistoke/")}
    assert beside == {"LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert {name[len("src/") :] for name in names - beside} == files_of_package(ROOT)


def test_sdist_makes_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(str(sdist)) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(str(tmp_path))
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    (tmp_path / "built").mkdir()
    again = build("wheel", source, tmp_path / "built")
    assert contents(again) == contents(wheel)


def contents(wheel):
    """Return the bytes of each file of a wheel by its name."""
    with zipfile.ZipFile(str(wheel)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_nothing_names_a_place_on_a_machine():
    """Documents and code are read elsewhere than where they were written."""
    homes = tuple(folder + "/" for folder in (str(ROOT), os.path.expanduser("~")) if folder != "/")
    for name in sorted(files_of_package(ROOT)):
        text = (ROOT / "src" / name).read_bytes().decode("utf-8", "replace")
        assert not [home for home in homes if home in text], name
