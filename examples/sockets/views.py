"""Three views. Each renders a page and answers the socket that the page opens to the same address."""

import asyncio
import time

from django.contrib.auth import get_user_model, login, logout
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.generic import View

from pistoke.protocol import WebsocketJSONProtocol
from pistoke.views import WebsocketView
from sockets.source import behind


class Echo(WebsocketView, View):
    """Render the page, then talk with it."""

    def get(self, request):
        return render(request, "sockets/echo.html", behind(Echo))

    async def websocket(self, request):
        async for message in request:
            if message == "bye":
                return  # the socket closes with 1000
            if message == "oops":
                raise ValueError("as you asked")  # … with 1011
            if isinstance(message, bytes):
                await request.send(message.upper())  # binary
            else:
                await request.send(f"You wrote “{message}”.")


@method_decorator(WebsocketJSONProtocol(), name="websocket")
class Clock(WebsocketView, View):
    """Push the time, and how many are watching."""

    watching = set()

    def get(self, request):
        return render(request, "sockets/clock.html", behind(Clock))

    async def websocket(self, request):
        self.watching.add(request)
        try:
            while True:
                now = timezone.localtime()
                await request.send({
                    "time": f"{now:%H:%M:%S}",
                    "zone": f"{now:%Z}",
                    "watching": len(self.watching),
                })
                await asyncio.sleep(1 - time.time() % 1)
        finally:  # however the page goes away
            self.watching.discard(request)


@method_decorator(WebsocketJSONProtocol(), name="websocket")
class Json(WebsocketView, View):
    """Know the user, like any other view does."""

    def get(self, request):
        return render(request, "sockets/json.html", behind(Json))

    def post(self, request):
        if request.user.is_authenticated:
            logout(request)
        else:  # no password: a demonstration only
            users = get_user_model().objects
            user, _ = users.get_or_create(username="demo")
            login(request, user)
        return redirect("json")

    async def websocket(self, request):
        user = await request.auser()
        async for question in request:
            await request.send({
                "question": question,
                "user": user.get_username() or None,
                "path": request.path,
                "method": request.method,
            })
