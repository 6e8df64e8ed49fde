"""Rooms: the database keeps what was said, a topic brings it to all."""

from random import randrange

from asgiref.sync import sync_to_async
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.text import slugify
from django.views.generic import TemplateView

from pistoke.protocol import WebsocketJSONProtocol
from pistoke.views import WebsocketView
from sockets.models import Message, topic_of


@method_decorator(WebsocketJSONProtocol(), name="websocket")
class Chat(WebsocketView, TemplateView):
    template_name = "sockets/chat.html"

    def get_context_data(self, room):
        guest = f"Guest {randrange(100, 1000)}"
        name = self.request.session.setdefault("name", guest)
        last = Message.objects.filter(room=room).order_by("-pk")[:50]
        return {"room": room, "name": name, "last": last, "topic": topic_of(room)}

    def post(self, request, room):
        request.session["name"] = request.POST["name"].strip()[:30] or "Guest"
        return redirect("chat", slugify(request.POST["room"])[:40] or room)

    async def websocket(self, request, room):
        topic, name = topic_of(room), request.session.get("name", "Guest")
        since, after = request.GET.get("since", ""), request.GET.get("after", 0)
        here = request.present(topic, key=name, announce=True)
        news = request.follow(topic, since=since, transform=with_position)
        async with here, news:
            # Where the history is too short (it ends with the process), ask the database.
            missed = [] if news.recovered else await missed_after(room, after)
            await request.send({"missed": missed})
            async for said in request:
                await say(said, room, name)


say = sync_to_async(Message.say)
missed_after = sync_to_async(Message.after)


def with_position(message):
    """Tell the client what to show when it comes back."""
    return dict(message.data, position=str(message.position))
