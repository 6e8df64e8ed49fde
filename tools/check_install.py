"""Install each distribution in a folder with this interpreter's pip, and import every module it holds.

Then install the wheel as the README says, with the development server, and do what the README says.

Usage: python tools/check_install.py FOLDER
"""
import pathlib
import subprocess
import sys

IMPORT_EVERY_MODULE = """
import importlib, pkgutil, pistoke

# The first is a settings file, which runs inside a settings namespace; the second needs the extra `runserver`.
exempt = {"pistoke.asetukset", "pistoke.devserver"}
# What modules that are there for them may import: engines of topics, the fixtures for pytest, metrics, kinds of messages.
extras = {
    "redis", "channels", "psycopg", "pytest", "prometheus_client", "opentelemetry", "dataclasses", "pydantic", "msgspec"
}
for module in pkgutil.walk_packages(pistoke.__path__, "pistoke."):
    if module.name not in exempt:
        try:
            importlib.import_module(module.name)
        except ImportError as exc:
            if (exc.name or "").partition(".")[0] not in extras:
                raise
print(pistoke.__file__)
"""


def main(folder):
    """Check one wheel and one sdist."""
    distributions = sorted(pathlib.Path(folder).glob("*.whl")) + sorted(pathlib.Path(folder).glob("*.tar.gz"))
    if len(distributions) != 2:
        found = [path.name for path in distributions]
        sys.exit("expected one wheel and one sdist in {}, got {}".format(folder, found))
    for distribution in distributions:
        check(distribution)
    check_example(distributions[0])
    print("3 passed, 0 failed")


def check(distribution):
    """Install one distribution afresh, import what it holds and take it away again."""
    print("{} on Python {}".format(distribution.name, sys.version.split()[0]), flush=True)
    python("-m", "pip", "install", "--quiet", "--no-cache-dir", str(distribution))
    python("-m", "pip", "check")
    python("-I", "-c", IMPORT_EVERY_MODULE)
    python("-m", "pip", "uninstall", "--quiet", "--yes", "django-pistoke")


def check_example(wheel):
    """Install a wheel with the extra `runserver`, and let the README's example run on it."""
    python("-m", "pip", "install", "--quiet", "{}[runserver]".format(wheel))
    python("-m", "pip", "check")
    here = pathlib.Path(__file__).resolve().parent
    python(str(here / "check_example.py"), str(here.parent / "README.md"))


def python(*arguments):
    """Run this interpreter; its failure is ours."""
    subprocess.run([sys.executable] + list(arguments), check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
