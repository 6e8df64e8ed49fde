"""A view for each of the packages."""

import asyncio
import json
import os

from asgiref.sync import async_to_sync, sync_to_async
from django.contrib import messages
from django.http import HttpResponse, JsonResponse, QueryDict
from django.utils.decorators import method_decorator
from django.views import generic
from django.views.decorators.csrf import csrf_exempt
from ilmoitus.nakyma import Ilmoitukset
from ilmoitus.uusi import tallenna_asynkroninen_ilmoitus
from synkroni.synkroni import Synkroni
from synkroni.toiminnot import Toiminnot, muuttaa_tietoja, toiminto
from xterm import XtermNakyma

from pistoke.nakyma import WebsocketNakyma
from pistoke.tyokalut import csrf_tarkistus, json_viestiliikenne

from .models import Document, Remark

# django-xterm --------------------------------------------------------------------------------------------------------


class Terminal(XtermNakyma):
    """A shell, behind the check of a token that the package's own description shows."""

    def prosessi(self):
        """Run in the child process."""
        os.execve("/bin/sh", ["sh"], {"PS1": "$ ", "PATH": os.environ["PATH"]})

    async def websocket(self, request, *args, **kwargs):
        """Check the token, then hand over to the package."""
        data = json.loads(await request.receive())
        if not request._tarkista_csrf(data.get("csrfmiddlewaretoken")):
            return await request.send("CSRF-avain puuttuu tai se on virheellinen!")
        return await super().websocket(request, *args, **kwargs)


# django-synkroni -----------------------------------------------------------------------------------------------------


class Editor(Toiminnot, Synkroni, generic.TemplateView):
    """A document that a browser and the server both change."""

    template_name = "document.html"
    model = Document

    def get(self, request, *args, **kwargs):
        """Show the page."""
        self.object = self.get_object()
        return super().get(request, *args, **kwargs)

    @toiminto
    async def rename(self, name):
        """Change the document on the server."""
        async with muuttaa_tietoja(self):
            self.data["name"] = name
        return {"renamed": True}


def document(request, pk=None):
    """Return what is stored, decimal numbers as text; without a key, store something new first."""
    stored = Document.objects.get(pk=pk) if pk else Document.objects.create(data={"name": "first", "rows": []})
    return JsonResponse({"pk": stored.pk, "data": stored.data})


# django-celery-ilmoitus ----------------------------------------------------------------------------------------------


def notify(request):
    """Notify the user within a request of his own."""
    messages.info(request, request.GET["text"])
    return HttpResponse()


def notify_from_outside(request):
    """Notify the user as a background job does."""
    with tallenna_asynkroninen_ilmoitus(request.session.session_key) as store:
        store.add(messages.constants.WARNING, request.GET["text"])
    return HttpResponse()


def listeners(request):
    """Return the number of sockets that wait for notifications of this session."""
    channel = Ilmoitukset.viestikanava(request.session.session_key)
    waiting = channel._viestikanava._vastaanottajat
    return JsonResponse({"listeners": len(waiting.get(request.session.session_key, ()))})


# django-juttulaatikko: it is not on the package index; this has its shape ------------------------------------------


class ChatBase(WebsocketNakyma):
    """The chat of the package: decorated in the class body, without ``method_decorator`` and without a protocol."""

    @json_viestiliikenne
    @csrf_tarkistus(csrf_avain="csrfmiddlewaretoken", virhe_avain="teksti")
    async def websocket(self, request, *args, **kwargs):
        """Store what is said, and say it to the one who said it, from a thread that knows nothing of the event loop."""
        # Made on the event loop, called in a thread, as the package does with the events of Celery.
        say = async_to_sync(self.say)
        for remark in await sync_to_async(self.remarks)():
            await self.say(remark)
        loop = asyncio.get_event_loop()
        while True:
            text = (await request.receive()).get("teksti")
            remark = await sync_to_async(Remark.objects.create)(text=text)
            await loop.run_in_executor(None, say, remark)

    def remarks(self):
        """Return what has been said before."""
        return list(Remark.objects.all())

    async def say(self, remark):
        """Send one remark."""
        await self.request.send({"teksti": remark.text})


@method_decorator(csrf_exempt, name="websocket")
class Chat(ChatBase, generic.View):
    """The chat of a site: undecorated, it awaits the database first, and cleans up there in the end."""

    async def websocket(self, request, *args, **kwargs):
        """Count those present."""
        await sync_to_async(Remark.objects.get_or_create)(text="welcome")
        try:
            await super().websocket(request, *args, **kwargs)
        finally:
            await sync_to_async(Remark.objects.create)(text="gone")

    def get(self, request):
        """Show what has been said, and give a token."""
        return JsonResponse({"remarks": [remark.text for remark in self.remarks()]})


def token(request):
    """Give the browser a token and its cookie."""
    from django.middleware.csrf import get_token

    return JsonResponse({"token": get_token(request)})


# datatables-websocket: a widget in the browser; this is the server that its description asks for ---------------------


class Table(WebsocketNakyma):
    """Rows on demand: a query string comes in, JSON goes out."""

    async def websocket(self, request):
        """Answer each query under its own number."""
        async for query in request:
            wanted = QueryDict(query)
            first, length = int(wanted["start"]), int(wanted["length"])
            rows = [[number] for number in range(100)][first:first + length]
            await request.send(json.dumps({"draw": int(wanted["draw"]), "recordsTotal": 100, "data": rows}))
