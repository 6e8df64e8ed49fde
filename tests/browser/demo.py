"""The demonstration as a server: a copy of it, with a database and a key of its own."""

import shutil
import subprocess
import sys

from ..servers import harness

EXAMPLES = harness.REPOSITORY / "examples"
OWN = shutil.ignore_patterns("db.*", ".secret-key", "__pycache__")


class Demo(harness.Server):
    """What `make demo` serves, at one address over all its starts."""

    name = "demo"
    modules = ("uvicorn", "websockets")
    package = "uvicorn[standard]"

    def __init__(self, directory):
        super().__init__(directory)
        self.project = self.directory / "examples"
        shutil.copytree(str(EXAMPLES), str(self.project), ignore=OWN)
        self.port = harness.free_port()
        subprocess.run(self.manage("migrate", "--verbosity", "0"), env=self.environment(), check=True, timeout=120)

    def environment(self):
        """Return the environment that it runs in."""
        return dict(harness.environment(self.directory), DJANGO_SETTINGS_MODULE="demo.settings")

    def manage(self, *arguments):
        """Return a command line for the project."""
        return [sys.executable, str(self.project / "manage.py")] + list(arguments)

    def start(self):
        """Serve it, at the address that it has had before."""
        with open(str(self.directory / "output"), "ab") as output:
            self.process = subprocess.Popen(
                self.manage("runserver", "--asgi", "--noreload", self.address),
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        harness.eventually(lambda: self.process.poll() is not None or self.listens())
        if self.process.poll() is not None:
            self.kill()
            raise RuntimeError("the demonstration did not start:\n{}".format(self.output))
        return self

    def url(self, path="/"):
        """Return the address of a page."""
        return "http://{}{}".format(self.address, path)
