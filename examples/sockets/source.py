"""The source of a view, as it is on the disk, coloured by the standard library's own tokenizer."""

import inspect
import io
import keyword
import os
import textwrap
import tokenize
from importlib import import_module

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import mark_safe

TABS = [("echo", "Echo"), ("clock", "Clock"), ("json", "JSON")]

# `async` and `await` are not in the list of Python 3.6.
KEYWORDS = set(keyword.kwlist) | {"async", "await"}

# Strings with braces are three kinds of tokens from Python 3.12 on, t-strings likewise from 3.14 on.
STRINGS = {"STRING"} | {
    letter + "STRING_" + part for letter in "FT" for part in ("START", "MIDDLE", "END")
}


def behind(view):
    """
    Read the lines behind a view: those of itself, and the one that gives it an address.

    Args:
        view: a view class that `ROOT_URLCONF` names as `views.<its name>`

    Returns:
        The template's variables: `file`, `first_line`, `last_line` and `source` (safe HTML) of the view, and a
        dictionary of the same four as `route`.
    """
    lines, first = _with_decorators(view)
    return dict(_excerpt(view, lines, first), route=_route(view), tabs=TABS)


def _with_decorators(view):
    """Return what inspect.getsourcelines does, which leaves out the decorators of a class before Python 3.9."""
    lines, first = inspect.getsourcelines(view)
    module = inspect.getsourcelines(inspect.getmodule(view))[0]
    while module[first - 2].startswith("@"):
        first -= 1
        lines = [module[first - 1]] + lines
    return lines, first


def _route(view):
    urls = import_module(settings.ROOT_URLCONF)
    lines = enumerate(inspect.getsourcelines(urls)[0], 1)
    number, line = next((number, line) for number, line in lines if "views.%s." % view.__name__ in line)
    return _excerpt(urls, [line], number)


def _excerpt(subject, lines, first):
    file = inspect.getsourcefile(subject)
    return {
        "file": "/".join(file.split(os.sep)[-2:]),
        "first_line": first,
        "last_line": first + len(lines) - 1,
        "source": coloured(textwrap.dedent("".join(lines))),
    }


def coloured(source):
    """Return the source as HTML, where each kind of token that deserves a colour is a span of its own class."""
    html = "".join(_span(kind, text) for kind, text in _pieces(source))
    # A div for each line: the style sheet numbers them, and a selection copies the code without the numbers.
    return mark_safe("".join("<div>%s\n</div>" % line for line in html.rstrip("\n").split("\n")))


def _span(kind, text):
    if not kind:
        return escape(text)
    # Closed and opened again at a line break, for the sake of the divs.
    return "\n".join('<span class="%s">%s</span>' % (kind, escape(line)) for line in text.split("\n"))


def _pieces(source):
    """Yield (class or None, text) pairs that together are the whole source."""
    lines = source.splitlines(True)
    done, previous = (1, 0), ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        start, end = max(done, token.start), max(done, token.end)
        yield None, _between(lines, done, start)
        yield _kind(token, previous), _between(lines, start, end)
        done, previous = end, token.string.strip() or previous


def _between(lines, start, end):
    (row, column), (last_row, last_column) = start, end
    if row == last_row:
        return lines[row - 1][column:last_column] if row <= len(lines) else ""
    middle = lines[row:last_row - 1]
    last = lines[last_row - 1][:last_column] if last_row <= len(lines) else ""
    return "".join([lines[row - 1][column:]] + middle + [last])


def _kind(token, previous):
    name = tokenize.tok_name[token.type]
    if name in STRINGS:
        return "s"
    if name == "COMMENT":
        return "c"
    if name == "NUMBER":
        return "n"
    if token.string in KEYWORDS:
        return "k"
    if token.string == "@" or previous == "@":
        return "d"
    if previous in ("def", "class"):
        return "f"
    return "v" if token.string == "self" else None
