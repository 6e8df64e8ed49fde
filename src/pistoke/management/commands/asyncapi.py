"""``manage.py asyncapi``: the sockets of the URLconf as an AsyncAPI 3 document."""

import argparse
import sys
import typing
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Write an AsyncAPI 3 document of the views of sockets."""

    help = (
        "Writes an AsyncAPI 3 document: the addresses of the views of sockets, and what they receive and send as far "
        "as they declare it with pistoke.typed.messages."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the flags."""
        parser.add_argument("--output", metavar="FILE", help="the file to write; standard output by default")
        parser.add_argument("--format", choices=["json", "yaml"], help="by default as the name of the file ends, or JSON")
        parser.add_argument("--title", help="the title of the API; the name of the project by default")
        parser.add_argument("--api-version", default="1.0.0", help="the version of the API (%(default)s)")
        parser.add_argument("--urlconf", help="the URLconf; that of the settings by default")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the document; raise CommandError where that is not possible."""
        if sys.version_info < (3, 7):
            raise CommandError("expected Python 3.7 or later for typed messages")
        output: "str | None" = options["output"]
        text = text_in(format_for(options["format"], output), self.content(options))
        if output is None:
            self.stdout.write(text, ending="")
        else:
            try:
                Path(output).write_text(text, encoding="utf-8")
            except OSError as exc:
                raise CommandError("expected a file that can be written, got {}".format(exc)) from exc

    def content(self, options: "dict[str, Any]") -> "dict[str, Any]":
        """Return the document."""
        from ...typed.asyncapi import Document

        urlconf: str = options["urlconf"] or settings.ROOT_URLCONF
        return Document(options["title"] or project_name(), options["api_version"], urlconf).content


def project_name() -> str:
    """Return the name of the package that has the settings."""
    return typing.cast(str, getattr(settings, "SETTINGS_MODULE", "") or "project").partition(".")[0]


def format_for(chosen: "str | None", output: "str | None") -> str:
    """Return the format that was chosen, or that the name of the file asks for."""
    return chosen or ("yaml" if output is not None and output.endswith((".yaml", ".yml")) else "json")


def text_in(form: str, content: "dict[str, Any]") -> str:
    """Return a document as text; raise CommandError where there is nothing that writes it."""
    from ...typed.asyncapi import as_json, as_yaml

    if form == "json":
        return as_json(content)
    try:
        return as_yaml(content)
    except ImportError:
        raise CommandError("expected PyYAML for --format yaml: pip install PyYAML") from None
