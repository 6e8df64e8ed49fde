"""How Sphinx makes a site of these pages: `make docs` does."""
import os
import re

import django
from django.conf import settings

import pistoke

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "pistoke.Pistoke"],
    MIDDLEWARE=["pistoke.middleware.WebsocketMiddleware"],
    SECRET_KEY="documentation",
    USE_TZ=True,
)
django.setup()

project = "django-pistoke"
author = "the authors of django-pistoke"
copyright = "the authors of django-pistoke, MIT licence"
version = release = pistoke.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", ".venv"]
source_suffix = {".md": "markdown"}

# Anchors are those that a page has in a repository's own view of it.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "attrs_inline"]

# Integrations need libraries of which nothing is to be read here.
autodoc_mock_imports = ["prometheus_client", "opentelemetry"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = "django-pistoke " + release
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False

# Every name in a docstring leads somewhere.
nitpicky = True
nitpick_ignore_regex = [
    # What is Python's or Django's has pages of its own. (Looking them up would need the network for each build.)
    (r"py:.*", r"(asyncio|contextlib|json|typing|unittest|django)\..*"),
    # What only type checkers see, and what is nobody's business but passes through a signature.
    (r"py:class", r"(Scope|Event|Receive|Send|P|View|AnyView|Transform|OnError|Socket|_AnyUser|TypeForm|[ABCDT])"),
    (r"py:class", r"pistoke\.(request\.Closing|testing\.client\.Session|typed\.reading\.T_co)"),
]

HERE = os.path.dirname(os.path.abspath(__file__))

#: What is kept elsewhere in the repository, and the page of the site that shows it.
ELSEWHERE = {
    "README.md": "project/readme.md",
    "README.fi.md": "project/readme.fi.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "RELEASING.md": "project/releasing.md",
    "LICENSE": "project/licence.md",
    "benchmarks/README.md": "project/benchmarks.md",
}


def target_on_site(target, folder):
    """Return the target of a link on the site, given that in a file of a folder of the repository."""
    file, hash_sign, anchor = target.partition("#")
    path = os.path.normpath(os.path.join(folder, file))
    page = ELSEWHERE.get(path, path[len("docs/"):] if path.startswith("docs/") else None)
    return target if not file or page is None else "/" + page + hash_sign + anchor


def with_links_of_site(text, folder):
    """Return a page in which the links between files of the repository lead to pages of the site."""
    return re.sub(r"(?<=\]\()[^():]+(?=\))", lambda match: target_on_site(match.group(), folder), text)


def on_source_read(app, docname, content):
    """Let the links of a page that leave this folder lead to where the site has that."""
    content[0] = with_links_of_site(content[0], os.path.join("docs", os.path.dirname(docname)))


def on_include_read(app, path, docname, content):
    """The same for a page that is included, whose links are those of another folder."""
    folder = os.path.relpath(os.path.join(HERE, os.path.dirname(str(path))), os.path.dirname(HERE))
    content[0] = with_links_of_site(content[0], folder)


def setup(app):
    """Listen to Sphinx."""
    app.connect("source-read", on_source_read)
    app.connect("include-read", on_include_read)
