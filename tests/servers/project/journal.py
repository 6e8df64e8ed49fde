"""What happens in the project, one JSON object a line, for the tests to read."""

import json
import logging
import os


def note(event, **details):
    """Append an event to the journal."""
    path = os.path.join(os.environ["PISTOKE_TEST_DIRECTORY"], "journal")
    line = json.dumps(dict(details, event=event, pid=os.getpid())) + "\n"
    # One write of a line is not torn by those of other threads.
    with open(path, "a") as journal:
        journal.write(line)


class JournalHandler(logging.Handler):
    """Notes the records of Django's loggers."""

    def emit(self, record):
        """Note one record."""
        error = record.exc_info[0].__name__ if record.exc_info else None
        note("log", logger=record.name, level=record.levelname, message=record.getMessage(), error=error)
