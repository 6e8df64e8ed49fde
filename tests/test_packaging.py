"""What is built from this checkout: a wheel, and an sdist that makes the same wheel."""
import configparser
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import pistoke
from tests.parts import on_path, require

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


def test_wheel_holds_no_file_that_git_ignores(wheel):
    require("git", on_path("git") and (ROOT / ".git").exists(), "clone the repository")
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/pistoke"]
    known = subprocess.check_output(words, cwd=str(ROOT), universal_newlines=True, timeout=20).split()
    assert files_of_package(ROOT) <= {name[len("src/") :] for name in known}


def test_wheel_holds_only_kinds_of_files_that_are_used():
    kinds = {os.path.splitext(name)[1] for name in files_of_package(ROOT) if name != "pistoke/py.typed"}
    # Python, and translations with their sources, as Django ships its own.
    assert kinds == {".py", ".po", ".mo"}


def test_wheel_runs_on_every_python_and_names_its_licence(wheel):
    assert wheel.name == "django_pistoke-{}-py3-none-any.whl".format(pistoke.__version__)
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


def test_extras_are_those_that_the_documentation_names(wheel):
    """An extra that no page names is either forgotten there, or not for users."""
    extras = {name for name in re.findall(r"^Provides-Extra: (\S+)$", read_metadata(wheel), re.M) if "test" not in name}
    pages = [ROOT / "README.md"] + sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs").glob("[a-z]*/*.md"))
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    named = {name for names in re.findall(r"django-pistoke\[([\w,-]+)\]", text) for name in names.split(",")}
    assert named == extras


def matrix():
    """Return the Pythons and the Djangos of tox.ini, as pairs like («3.6», «3.1»)."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(str(ROOT / "tox.ini"))
    names = re.findall(r"^py(3)(\d+)-django(?:(\d)(\d)|(latest))$", tox["tox"]["env_list"], re.M)
    return [(major + "." + minor, latest or first + "." + second) for major, minor, first, second, latest in names]


def classifiers(wheel, kind):
    """Return the versions that the classifiers of a kind name, in the order of the numbers."""
    found = re.findall(r"^Classifier: {} :: (\d+\.\d+)$".format(kind), read_metadata(wheel), re.M)
    return sorted(found, key=number)


def number(version):
    """Return a version as something that can be compared."""
    return tuple(map(int, version.split(".")))


def test_classifiers_name_the_pythons_of_the_matrix(wheel):
    pythons = {python for python, _ in matrix()}
    assert classifiers(wheel, "Programming Language :: Python") == sorted(pythons, key=number)


def test_classifiers_name_the_djangos_of_the_matrix(wheel):
    """The newest, whichever that is, has the last classifier."""
    pinned = sorted({django for _, django in matrix()} - {"latest"}, key=number)
    *named, newest = classifiers(wheel, "Framework :: Django")
    assert named == pinned and number(newest) > number(pinned[-1])


def test_readme_names_the_matrix():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Compatibility")[2].partition("##")[0]
    said = re.sub(r"\s+", " ", text)
    for python, django in matrix():
        with_django = django if django != "latest" else "the newest"
        assert re.search(r"\b{}\b[^.]*?(?:\.\d[^.]*?)*with ".format(re.escape(python)), said), python
        assert with_django in said


def test_changelog_begins_with_the_version():
    heading = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M).group(1)
    assert re.match(r"{} \((unreleased|\d{{4}}-\d\d-\d\d)\)$".format(re.escape(pistoke.__version__)), heading), heading


def test_instructions_for_a_release_name_what_there_is():
    text = (ROOT / "RELEASING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)make ([\w-]+)", text, re.M))
    assert {"build", "check-install", "docs"} <= targets
    assert [target for target in targets if not re.search("^{}:".format(target), makefile, re.M)] == []
    files = re.findall(r"\]\(([^):]+)\)", text) + re.findall(r"(?:tools|tests)/\w+\.py|\.ci/run", text)
    assert [name for name in files if not (ROOT / name).exists()] == []


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
