"""Run the tests of a page in its project, and fail where a line of the page has not been run."""
import sys
from pathlib import Path

import coverage

HERE = Path(__file__).resolve().parent


def files():
    """Return the Python files that the page has written; settings run when they are imported."""
    ours = (HERE / "run.py", HERE / "checks" / "tests.py", HERE / "project" / "settings.py")
    return [path for path in sorted(HERE.rglob("*.py")) if path.stat().st_size and path not in ours]


measured = coverage.Coverage(data_file=None, config_file=False, include=[str(HERE / "*")], concurrency=["thread"])
measured.start()

from django.core.management import execute_from_command_line  # noqa: E402  # measured from its beginning

failed = 0
try:
    execute_from_command_line(["manage.py", "test", "--verbosity", "1"])
except SystemExit as ended:
    failed = ended.code
measured.stop()
for path in files():
    missing = measured.analysis2(str(path))[3]
    if missing and not failed:
        print("{}: nobody has run {}".format(path.relative_to(HERE), measured.analysis2(str(path))[4]))
        failed = 1
sys.exit(failed)
