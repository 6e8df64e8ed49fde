"""The source behind a page, as it is on the disk, coloured by the standard library's own tokenizer."""

import inspect
import io
import keyword
import os
import tokenize
from importlib import import_module

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import mark_safe

# `async` and `await` are not in the list of Python 3.6.
KEYWORDS = set(keyword.kwlist) | {"async", "await"}

# Strings with braces are three kinds of tokens from Python 3.12 on, t-strings likewise from 3.14 on.
STRINGS = {"STRING"} | {
    letter + "STRING_" + part for letter in "FT" for part in ("START", "MIDDLE", "END")
}


def behind(request):
    """
    Give each template what is behind its page, as a context processor: the views themselves know nothing of it.

    Returns:
        The variables `module`, `route` and, where the module has any of its own, `models`: dictionaries of `file`,
        `first_line`, `last_line` and `source` (safe HTML). Nothing where the view is not one of the demonstration's.
    """
    view = getattr(getattr(request.resolver_match, "func", None), "view_class", None)
    if view is None or not view.__module__.startswith("sockets."):
        return {}
    module, urls = import_module(view.__module__), import_module(settings.ROOT_URLCONF)
    return {"module": _excerpt(module), "models": _models(module), "route": _route(urls, view)}


def _models(module):
    names = {getattr(value, "__module__", None) for value in vars(module).values()}
    return _excerpt(import_module("sockets.models")) if "sockets.models" in names else None


def _route(urls, view):
    lines = enumerate(inspect.getsourcelines(urls)[0], 1)
    number, line = next((number, line) for number, line in lines if ".%s." % view.__name__ in line)
    return _excerpt(urls, line.strip() + "\n", number)


def _excerpt(module, text=None, first=1):
    """Describe lines of a module; all of it, where no text is given."""
    text = inspect.getsource(module) if text is None else text
    return {
        "file": "/".join(inspect.getsourcefile(module).split(os.sep)[-2:]),
        "first_line": first,
        "last_line": first + text.count("\n") - 1,
        "source": coloured(text),
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
