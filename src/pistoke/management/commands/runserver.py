"""Django's development server, with Uvicorn in its place where there is one.

What is Django's stays Django's: the autoreloader, checks, the banner, the messages about ports, and every flag of
whichever ``runserver`` would be used if this package had none. ``pistoke.devserver`` is the Uvicorn half, imported only
when it is needed.
"""

import argparse
import os
import re
import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type, Union

from django.apps import apps
from django.conf import settings
from django.core.management import find_commands, load_command_class
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.core.management.commands.runserver import Command as DjangoCommand

#: What ``-v`` understands beside numbers: Uvicorn's names for its log levels, and what each is to the rest of Django.
LOG_LEVELS = {"critical": 0, "error": 0, "warning": 0, "info": 1, "debug": 2, "trace": 3}

#: The name that stands for each number; numbers have no word for what lies between critical and info.
LOG_LEVEL_OF_NUMBER = {"0": "critical", "1": "info", "2": "debug", "3": "trace"}

#: The flags of ours that take a value: destination and spellings.
VALUED_FLAGS: Dict[str, Tuple[str, ...]] = {
    "verbosity": ("-v", "--verbosity", "--verbose"),
    "ssl_certfile": ("--ssl-certfile",),
    "ssl_keyfile": ("--ssl-keyfile",),
}


class Verbosity(int):
    """A verbosity of Django, 0 to 3, that remembers by which log level it was asked for."""

    #: The log level by Uvicorn's name.
    log_level = "info"

    def __new__(cls, value: Union[int, str]) -> "Verbosity":
        """Make one of a number or a name.

        Raises:
            argparse.ArgumentTypeError: it is neither.
        """
        name = LOG_LEVEL_OF_NUMBER.get(str(value), str(value).lower())
        if name not in LOG_LEVELS:
            message = "expected 0, 1, 2, 3 or one of {}, got {!r}".format(", ".join(LOG_LEVELS), value)
            raise argparse.ArgumentTypeError(message)
        self = super().__new__(cls, LOG_LEVELS[name])
        self.log_level = name
        return self


def positive(value: str) -> int:
    """Return a number of processes."""
    if not value.isdigit() or int(value) < 1:
        raise argparse.ArgumentTypeError("expected a number of processes from 1 up, got {!r}".format(value))
    return int(value)


def apps_after_pistoke() -> Iterator[Any]:
    """Yield the configurations of the apps that come after this package in ``INSTALLED_APPS``."""
    # A module can be imported before Django knows its applications, though this one is of no use then.
    configs = list(apps.get_app_configs()) if apps.apps_ready else []
    names = [config.name for config in configs]
    return iter(configs[names.index("pistoke") + 1:] if "pistoke" in names else configs)


def next_runserver() -> Type[BaseCommand]:
    """Return the class that would be ``runserver`` if this package had none.

    Django lets the first app win, so that is the first one after us that has the command, found as Django finds it.
    """
    for config in apps_after_pistoke():
        if "runserver" in find_commands(os.path.join(config.path, "management")):
            return type(load_command_class(config.name, "runserver"))
    return DjangoCommand


def restartable(argv: List[str]) -> List[str]:
    """Return a command line in which each flag of ours is one word, as in ``--verbose=debug``.

    When an app does not import (a syntax error, say), the autoreloader's child falls back to Django's own runserver until
    that is repaired. It drops the words that it does not know, one by one, and so would take the value of an unknown flag
    for an address, and «debug» for a bad number of its own ``-v``: the server would end instead of waiting.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for dest, flags in VALUED_FLAGS.items():
        parser.add_argument(*flags, dest=dest)
    values, rest = parser.parse_known_args(argv)
    given = ((VALUED_FLAGS[dest][-1], value) for dest, value in sorted(vars(values).items()) if value is not None)
    return rest + ["{}={}".format(flag, value) for flag, value in given]


class BannerOutput(OutputWrapper):
    """The output of the command, in which Django's banner says what is starting.

    Django prints its banner in one piece from the middle of ``inner_run`` (``on_bind`` in newer versions). To rewrite two
    words on the way out needs no copy of the rest: date, versions, address, the warning about production.
    """

    def __init__(self, out: OutputWrapper) -> None:
        super().__init__(out)  # type: ignore[arg-type]
        # The one underneath, which ends lines and colours them.
        self.out = out

    def write(self, msg: str = "", *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        banner = "Starting ASGI/Uvicorn development server"
        self.out.write(re.sub(r"Starting (WSGI )?development server", banner, msg), *args, **kwargs)


class Command(next_runserver()):  # type: ignore[misc]
    #: The defaults of ``--ssl-certfile`` and ``--ssl-keyfile``; a project may set them on this class.
    oletus_ssl_certfile: Optional[str] = None
    oletus_ssl_keyfile: Optional[str] = None

    stdout: OutputWrapper

    #: The ``pistoke.devserver.DevelopmentServer`` of ASGI mode, once it is there.
    server: Any = None

    #: Whether it is Django's server for want of Uvicorn: nobody has asked for that.
    lacks_uvicorn = False

    # Flags ------------------------------------------------------------------------------------------------------------

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Django's own -v takes numbers only. What add_arguments adds by the same name replaces it.
        kwargs.setdefault("conflict_handler", "resolve")
        return super().create_parser(prog_name, subcommand, **kwargs)  # type: ignore[no-any-return]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            *VALUED_FLAGS["verbosity"], dest="verbosity", type=Verbosity, default=Verbosity(1), metavar="LEVEL",
            help="Verbosity level: 0=critical, 1=info, 2=debug, 3=trace, or one of {}.".format(", ".join(LOG_LEVELS)),
        )
        server = parser.add_mutually_exclusive_group()
        server.add_argument(
            "--asgi", action="store_true", dest="asgi", default=None,
            help="Runs an ASGI server, Uvicorn. The default where Uvicorn is installed.",
        )
        server.add_argument(
            "--wsgi", action="store_false", dest="asgi", default=None,
            help="Runs the WSGI server of Django, which has no WebSockets.",
        )
        self.add_uvicorn_arguments(parser)

    def add_uvicorn_arguments(self, parser: CommandParser) -> None:
        """Add the flags that only ASGI mode has."""
        parser.add_argument(
            "--ssl-certfile", default=self.oletus_ssl_certfile, help="ASGI: serves https with this certificate."
        )
        parser.add_argument(
            "--ssl-keyfile", default=self.oletus_ssl_keyfile, help="ASGI: the key, if it is not beside the certificate."
        )
        parser.add_argument(
            "--workers", type=positive, metavar="N", help="ASGI: serves with N processes. Only with --noreload."
        )

    # What was asked for -----------------------------------------------------------------------------------------------

    def handle(self, *args: Any, **options: Any) -> None:
        options["verbosity"] = self.verbosity(options["verbosity"])
        options["asgi"] = self.wants_asgi(options)
        check_options = self.check_asgi_options if options["asgi"] else self.check_wsgi_options
        check_options(options)
        if "use_asgi" in options:
            # The next one is Daphne's, which asks for settings and runs itself unless told that this is WSGI.
            options["use_asgi"] = False
        super().handle(*args, **options)

    def verbosity(self, value: Union[int, str]) -> Verbosity:
        """Return a verbosity, which ``call_command`` hands over as it was given."""
        try:
            return value if isinstance(value, Verbosity) else Verbosity(value)
        except argparse.ArgumentTypeError as exc:
            raise CommandError("--verbosity: {}".format(exc)) from None

    def wants_asgi(self, options: Dict[str, Any]) -> bool:
        """Return whether to run Uvicorn: as asked, or else if it is installed.

        Raises:
            CommandError: it is asked for and is not installed.
        """
        # use_asgi is Daphne's, false after its --noasgi.
        if options["asgi"] is False or (options["asgi"] is None and options.get("use_asgi") is False):
            return False
        try:
            import uvicorn  # noqa: F401
        except ImportError as exc:
            if options["asgi"] is None:
                self.lacks_uvicorn = True
                return False
            message = "--asgi needs Uvicorn ({}): run pip install django-pistoke[runserver]"
            raise CommandError(message.format(exc)) from exc
        return True

    def check_asgi_options(self, options: Dict[str, Any]) -> None:
        """Raise CommandError for what ASGI mode cannot do."""
        if options["workers"] and options["use_reloader"]:
            raise CommandError("--workers works only without the autoreloader: add --noreload")
        if options["ssl_keyfile"] and not options["ssl_certfile"]:
            raise CommandError("expected --ssl-certfile beside --ssl-keyfile")
        for path in filter(None, (options["ssl_certfile"], options["ssl_keyfile"])):
            if not os.path.isfile(path):
                raise CommandError("expected a certificate or key file, got {!r}".format(str(path)))
        if options["ssl_certfile"]:
            self.protocol = "https"

    def check_wsgi_options(self, options: Dict[str, Any]) -> None:
        """Raise CommandError for flags that would be without effect; defaults of the project may be."""
        for name in ("ssl_certfile", "ssl_keyfile", "workers"):
            if options[name] not in (None, getattr(self, "oletus_" + name, None)):
                flag = "--" + name.replace("_", "-")
                raise CommandError("{} works only in ASGI mode, by Uvicorn: add --asgi".format(flag))

    # Running ----------------------------------------------------------------------------------------------------------

    def run(self, **options: Any) -> None:
        """Run the server, in a thread of the autoreloader's child if there is one, and end that as soon as told to.

        The child is told by SystemExit (a file has changed, SIGTERM) or a return (Ctrl-C); its server is told by nobody.
        """
        code: Any = 0
        if options["use_reloader"] and self._called_from_command_line:
            sys.argv[1:] = restartable(sys.argv[1:])
        try:
            super().run(**options)
        except SystemExit as exc:
            code = exc.code
            raise
        finally:
            if self.server is not None and options["use_reloader"]:
                self.server.stop(code)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Check and serve, as Django does, with Uvicorn for its server.

        ``server_cls`` is what Django has for this: ``inner_run`` hands it to ``run()``, in all versions, which calls it with
        an address, gives what it gets the application of ``get_handler`` and lets that serve. So Django's checks, its
        banner and its answers to OSError and KeyboardInterrupt stay around our server; to override ``inner_run`` itself
        would be to copy them. Without threading ``run()`` takes any callable, and does not mix threads into it.
        """
        if not options.get("asgi"):
            self.say_what_is_lacking()
            return super().inner_run(*args, **options)  # type: ignore[no-any-return]
        from pistoke.devserver import DevelopmentServer

        self.server = DevelopmentServer(
            serve_static=self.serves_static(options), log_level=options["verbosity"].log_level, style=self.style,
            workers=options["workers"], ssl_certfile=options["ssl_certfile"], ssl_keyfile=options["ssl_keyfile"],
        )
        self.server_cls: Any = self.server.bind
        self.stdout = BannerOutput(self.stdout)
        # Daphne's inner_run is a server of its own, not a layer around Django's.
        inner_run = DjangoCommand.inner_run.__get__(self) if "use_asgi" in options else super().inner_run
        return inner_run(*args, **dict(options, use_threading=False))  # type: ignore[no-any-return]

    def say_what_is_lacking(self) -> None:
        """Say why pages will find nobody to open a socket to; nothing to one who wants it so."""
        if self.lacks_uvicorn:
            message = "Uvicorn is not installed, so there are no WebSockets: run pip install django-pistoke[runserver]"
            self.stderr.write(message + ", or add --wsgi if you want none", self.style.WARNING)

    def get_handler(self, *args: Any, **options: Any) -> Any:
        """Return the application to serve; in ASGI mode the one that serves static files too."""
        if not options.get("asgi"):
            return super().get_handler(*args, **options)
        from pistoke.devserver import development_application

        return development_application(self.serves_static(options))

    def serves_static(self, options: Dict[str, Any]) -> bool:
        """Return whether to serve static files, by the rules and flags of staticfiles' own runserver."""
        wanted = apps.is_installed("django.contrib.staticfiles") and options.get("use_static_handler", True)
        return bool(wanted and (settings.DEBUG or options.get("insecure_serving")))
