"""A program that uses the installed package, for type checkers: it is checked, never run."""

from dataclasses import dataclass
from typing import Union

from django.contrib.auth.decorators import login_required
from django.core.handlers.asgi import ASGIHandler
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from django.views.generic import TemplateView

from pistoke import WebsocketNakyma, WebsocketProtokolla
from pistoke.asgi import get_asgi_application
from pistoke.decorators import csrf_handshake, json_messages, origin_exempt
from pistoke.exceptions import WebsocketDisconnect
from pistoke.handler import WebsocketHandler
from pistoke.protocol import WebsocketJSONProtocol, WebsocketProtocol, WebsocketSubprotocol
from pistoke.request import WebsocketRequest
from pistoke.testing import WebsocketTestCase
from pistoke.typed import BadMessage, Messages, messages
from pistoke.views import WebsocketView


@method_decorator(WebsocketProtocol(), name="websocket")
class Echo(WebsocketView, TemplateView):
    template_name = "echo.html"

    async def websocket(self, request: WebsocketRequest, *args: object, **kwargs: object) -> None:
        message: Union[str, bytes] = await request.receive()
        await request.send(message)
        chosen: Union[str, None] = request.subprotocol
        async for message in request:
            await request.send(message)
        if not request.check_csrf("token"):
            await request.close(3000, chosen or "")


@method_decorator(login_required, name="dispatch")
@method_decorator(WebsocketProtocol, name="websocket")
class Bare(WebsocketView):
    async def websocket(self, request: WebsocketRequest) -> None:
        await request.auser()


@method_decorator([login_required, WebsocketSubprotocol("a")], name="websocket")
class Several(WebsocketView):
    async def websocket(self, request: WebsocketRequest, number: int) -> None:
        await request.send(number)


class Json(WebsocketView):
    @WebsocketJSONProtocol
    @csrf_handshake(csrf_key="token")
    async def websocket(self, request: WebsocketRequest, number: int) -> None:
        await request.send({"number": number})


class Kaiku(WebsocketNakyma):
    @WebsocketProtokolla
    async def websocket(self, request: WebsocketRequest) -> None:
        try:
            await request.send("hei")
        except WebsocketDisconnect as lost:
            code: int = lost.code
            raise RuntimeError(code, lost.reason) from lost


@dataclass
class Say:
    text: str


@dataclass
class Typing:
    on: bool


@messages(receives=Union[Say, Typing], sends=Say)
@WebsocketProtocol
async def typed(request: WebsocketRequest, room: int) -> None:
    try:
        async for message in request.messages(Union[Say, Typing], on_error="raise"):
            await request.send(message.text if isinstance(message, Say) else str(not message.on))
    except BadMessage as bad:
        await request.send(bad.reply)
    say: Say = await request.messages(Say, on_error=lambda exc: exc.errors).receive()
    await request.send(say)
    declared: Messages[Union[Say, Typing]] = request.messages()
    async for either in declared:
        await request.send(either.text if isinstance(either, Say) else str(not either.on))


@WebsocketProtocol
async def bare(request: WebsocketRequest) -> None:
    await request.send("text")


@login_required
@WebsocketSubprotocol("a", "b")
async def chooses(request: WebsocketRequest, number: int) -> None:
    await request.send(b"bytes")


@WebsocketJSONProtocol()
@csrf_handshake(csrf_key="token")
async def objects(request: WebsocketRequest) -> None:
    await request.send({"a": [1, 2, None]})


@WebsocketJSONProtocol
@csrf_handshake
async def bare_too(request: WebsocketRequest, number: int) -> None:
    if request.csrf_handshake is not None:
        await request.send(request.csrf_handshake["list"])


@WebsocketJSONProtocol("json", encoder=DjangoJSONEncoder)
async def both(request: WebsocketRequest) -> None:
    async for message in request:
        await request.send(message["key"])


@WebsocketProtocol
@json_messages
@origin_exempt
async def bare_all_through(request: WebsocketRequest) -> None:
    await request.close(4000, gettext_lazy("why"))


# The arguments of a view are still known, and so are those of a decorator.
chooses(1, 2)  # type: ignore[arg-type]
bare_too(number="x")  # type: ignore[call-arg, arg-type]
WebsocketSubprotocol(1)  # type: ignore[arg-type]
WebsocketJSONProtocol(encoder=int)  # type: ignore[arg-type]
csrf_handshake(csrf_keys="token")  # type: ignore[call-overload]
json_messages(loads=1)  # type: ignore[call-overload]


@origin_exempt
@WebsocketProtocol
@json_messages(loads={}, dumps={"indent": 1})
async def exempt(request: WebsocketRequest) -> None:
    await request.receive()


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"")


urlpatterns = [
    path("echo/", Echo.as_view()),
    path("bare/", bare),
    path("chooses/<int:number>/", chooses),
    path("objects/", objects),
    path("exempt/", exempt),
    path("bare_too/<int:number>/", bare_too),
    path("both/", both),
    path("json/<int:number>/", Json.as_view()),
    path("called/", WebsocketProtocol(Bare.as_view())),
    path("page/", page),
]

handler: WebsocketHandler = WebsocketHandler()
application = get_asgi_application()
http = ASGIHandler()


class EchoTest(WebsocketTestCase):
    async def test_echo(self) -> None:
        async with self.async_client.websocket("/echo/") as socket:
            await socket.send("text")
            answer: Union[str, bytes] = await socket.receive()
            self.assertEqual(answer, "text")
