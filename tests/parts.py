"""Decide what a missing part of the machine means to a test: a server, a browser, a database.

A newcomer who lacks one gets a skip that says how to get it. Where everything is promised (`PISTOKE_REQUIRE_ALL=1`, as in
continuous integration) the same test fails instead, so that no test is ever lost in silence.
"""
import importlib.util
import os
import shutil

import pytest


def require(part, present, how_to_get_it, exists=True):
    """Skip the test, fixture or module that calls this, unless a part that it needs is there.

    part: what is needed, in words. present: whether it is there. how_to_get_it: what to do when it is not.
    exists: false where the part was never made for this Python or Django, which is a skip everywhere.
    """
    if not exists:
        pytest.skip("{} does not exist for this Python".format(part), allow_module_level=True)
    if present:
        return
    message = "{} is missing: {}".format(part, how_to_get_it)
    if everything_is_promised():
        pytest.fail(message, pytrace=False)
    pytest.skip(message, allow_module_level=True)


def everything_is_promised():
    """Return whether a missing part is to be a failure."""
    return os.environ.get("PISTOKE_REQUIRE_ALL", "0") not in ("", "0")


def importable(*modules):
    """Return whether all of these top-level modules can be imported."""
    return all(importlib.util.find_spec(name) is not None for name in modules)


def on_path(*programs):
    """Return whether all of these programs can be run."""
    return all(shutil.which(name) is not None for name in programs)
