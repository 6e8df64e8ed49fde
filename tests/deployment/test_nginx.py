"""The configuration of nginx, before real processes of Uvicorn."""

import asyncio
import json
import signal
import subprocess
import time

from ..pages import closing
from .site import PATIENCE


async def exchange(ws, message):
    """Send an object, and return the answer."""
    await ws.send(json.dumps(message))
    return json.loads(await asyncio.wait_for(ws.recv(), PATIENCE))


def test_nginx_finds_no_fault_with_it(place):
    done = subprocess.run(place.write_nginx("tried") + ["-t"], stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert b"[warn]" not in done.stderr and b"[emerg]" not in done.stderr, done.stderr


def test_page_is_secure_and_knows_the_address_of_its_socket(site):
    status, _, body = site.get(**{"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http"})
    seen = json.loads(body)
    assert (status, seen["secure"], seen["client"]) == (200, True, "127.0.0.1")
    assert seen["websocket"] == "wss://example.org:{}".format(site.https)


def test_client_would_choose_its_address_with_the_usual_example(site):
    """Why the page does not use `$proxy_add_x_forwarded_for`."""
    with site.again("usual", change=lambda text: text.replace("$remote_addr", "$proxy_add_x_forwarded_for")) as other:
        _, _, body = other.get(**{"X-Forwarded-For": "192.0.2.7"})
    assert json.loads(body)["client"] == "192.0.2.7"


def test_plain_http_is_redirected(site):
    status, headers, _ = site.get("/seen/?a=1", secure=False, Host="example.org")
    assert (status, headers["Location"]) == (301, "https://example.org/seen/?a=1")


def test_static_files_come_from_nginx(site):
    status, headers, body = site.get("/static/lasting.js")
    assert status == 200 and "function lastingSocket" in body
    assert headers["Server"].startswith("nginx") and headers["Cache-Control"] == "max-age=3600"


async def test_wss_and_what_the_view_sees(site):
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http", "X_Forwarded_For": "192.0.2.8"}
    async with site.connect("/seen/?a=1", headers=forged) as ws:
        seen = await exchange(ws, "äö€")
    assert (seen["message"], seen["client"], seen["secure"]) == ("äö€", "127.0.0.1", True)
    assert seen["address"] == "https://example.org:{}/seen/?a=1".format(site.https)


async def test_only_pages_of_these_hosts_open_a_socket(site):
    async with site.connect("/seen/", origin="https://www.example.org") as ws:
        assert (await exchange(ws, 1))["message"] == 1
    for origin in ("https://elsewhere.example", "http://example.org:{}".format(site.https), "null"):
        assert await site.refusal("/seen/", origin=origin) == 403


async def test_another_host_is_refused(site):
    assert await site.refusal("/seen/", name="elsewhere.example") == 400
    assert site.get(Host="elsewhere.example")[0] == 400


async def test_messages_are_limited_by_the_setting_and_not_by_nginx(site):
    async with site.connect("/seen/", max_size=None) as ws:
        assert len((await exchange(ws, "a" * 2 ** 21))["message"]) == 2 ** 21
        await ws.send(b"a" * (2 ** 22 + 1))
        assert await asyncio.wait_for(closing(ws), PATIENCE) == 1009


def without_tls(text):
    """Make the changes that the page names for nginx behind something that speaks TLS."""
    lines = [line for line in text.splitlines(True) if not line.strip().startswith("ssl_")]
    return "".join(lines).replace(" ssl;", ";").replace("$scheme", "$http_x_forwarded_proto")


async def test_ws_behind_something_that_speaks_tls(site):
    with site.again("plain", change=without_tls) as other:
        async with other.connect("/seen/", secure=False, headers={"X-Forwarded-Proto": "https"}) as ws:
            seen = await exchange(ws, 1)
        assert seen["address"] == "https://example.org:{}/seen/".format(other.https)
        # SECURE_SSL_REDIRECT
        assert await other.refusal("/seen/", secure=False, headers={"X-Forwarded-Proto": "http"}) == 403


def impatient(text):
    """Let nginx wait for a second only."""
    assert "proxy_read_timeout 60s;" in text
    return text.replace("proxy_read_timeout 60s;", "proxy_read_timeout 1s;")


async def idle(site, seconds):
    """Return the code that an idle socket is closed with, None where it still works after that long."""
    async with site.connect("/seen/", ping_interval=None) as ws:
        try:
            return await asyncio.wait_for(closing(ws), seconds)
        except asyncio.TimeoutError:
            assert (await exchange(ws, 1))["message"] == 1


async def test_pings_keep_an_idle_socket_open_for_longer_than_the_time_out(site):
    unix_socket = str(site.directory / "run" / "pings.sock")

    def to_it(text):
        return impatient(text).replace(site.unix_socket, unix_socket)

    with site.again("impatient", change=impatient) as without:
        with site.uvicorn(unix_socket, ws_ping_interval=0.3), site.again("pinged", change=to_it) as pinged:
            assert await asyncio.gather(idle(without, PATIENCE), idle(pinged, 2.5)) == [1006, None]


async def test_sockets_outlive_a_reload_of_nginx_until_its_time_out(site):
    def soon(text):
        assert "worker_shutdown_timeout 10m;" in text
        return text.replace("worker_shutdown_timeout 10m;", "worker_shutdown_timeout 1s;")

    with site.again("reloaded", main=soon) as other:
        async with other.connect("/seen/") as ws:
            other.process.send_signal(signal.SIGHUP)
            began = time.monotonic()
            while time.monotonic() < began + 0.6:
                assert (await exchange(ws, 1))["message"] == 1
            assert await asyncio.wait_for(closing(ws), PATIENCE) == 1006
        async with other.connect("/seen/") as ws:
            assert (await exchange(ws, 2))["message"] == 2
