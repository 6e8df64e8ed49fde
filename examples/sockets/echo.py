"""Say something, and it comes back."""

from django.views.generic import TemplateView

from pistoke.views import WebsocketView


class Echo(WebsocketView, TemplateView):
    """Render the page, then talk with it."""

    template_name = "sockets/echo.html"

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
