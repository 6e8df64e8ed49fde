"""What the pages on deployment and scaling say: their blocks, with paths of this machine in place of the example's."""

import configparser
import re
import shlex
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "howto" / "deployment.md"
SCALING = REPOSITORY / "docs" / "howto" / "scaling.md"

#: Where the programs of this environment are.
PROGRAMS = Path(sys.executable).parent


def blocks(page=PAGE):
    """Return the blocks of code by the file that the first line of each names, or by their language."""
    text = page.read_text(encoding="utf-8")
    found = {}
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S):
        named = re.match(r"(?:#|//|<!--) (\S+?\.\w+|/\S+|Dockerfile)(?: -->)?\n", body)
        found[named.group(1) if named else language] = body
    return found


def block(name, directory):
    """Return the block of a file, with the paths of the example moved below a directory."""
    text = blocks()[name]
    moved = [
        ("/srv/project/.venv/bin", str(PROGRAMS)),
        ("/srv/project", str(directory / "project")),
        ("/run/project", str(directory / "run")),
        ("/etc/ssl", str(directory / "ssl")),
        ("/etc/circus/", str(directory) + "/"),
    ]
    for path, other in moved:
        text = text.replace(path, other)
    return text


def unit(name, directory):
    """Return the sections of a unit of systemd."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read_string(block("/etc/systemd/system/" + name, directory).replace("\\\n", " "))
    return parser


def words_of(unit, option):
    """Return the words of a command of a unit."""
    return shlex.split(unit["Service"][option])
