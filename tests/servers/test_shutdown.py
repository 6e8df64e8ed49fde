"""A server that is told to end ends soon, and so do the views."""

import pytest

from . import harness
from .clients import Bare


class TestShutdown:
    @pytest.mark.parametrize("application", ["asgi", "asgi_whole"])
    def test_open_sockets_do_not_keep_the_server(self, own_server, key, application):
        own_server.application = "tests.servers.project.{}:application".format(application)
        own_server.start()
        assert own_server.get("/both/")[:2] == (200, "over HTTP")
        sockets = {path: Bare(own_server.address, "{}?key={}".format(path, key + path)) for path in PATHS}
        for path, ws in sockets.items():
            ws.send("hello")
            own_server.event(event="began", key=key + path)
        assert own_server.stop() < 8
        if own_server.ends_views:
            assert {path for path in PATHS if own_server.journal(event="ended", key=key + path)} == set(PATHS)
        codes = {path: ws.close_code() for path, ws in sockets.items()}
        for ws in sockets.values():
            ws.leave()
        assert own_server.alarms() == []
        assert codes


PATHS = ["/reads/", "/sleeps/", "/sleeps-after-reading/", "/flood/"]


class TestLoops:
    def test_uvicorn_runs_on_uvloop(self, database, tmp_path_factory):
        pytest.importorskip("uvloop")
        assert harness
