"""View classes that answer sockets."""

from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.decorators import classonlymethod
from django.utils.functional import classproperty
from django.views import View

from ._compat import iscoroutinefunction

if TYPE_CHECKING:
    from ._types import View as AnyView
    from .request import WebsocketRequest


class WebsocketView(View):
    """A view class with an ``async def websocket(self, request, ...)`` beside ``get()`` and the like.

    Inherit from it before the class whose ``get()`` renders the page::

        class Echo(WebsocketView, TemplateView):
            template_name = "echo.html"

            async def websocket(self, request):
                async for message in request:
                    await request.send(message)
    """

    http_method_names: "list[str]"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Allow the method, in a list of the class's own: Django's is shared by all views."""
        super().__init_subclass__(**kwargs)
        if "websocket" not in cls.http_method_names:
            cls.http_method_names = [*cls.http_method_names, "websocket"]

    @classproperty
    def view_is_async(cls: Any) -> bool:
        """Whether the HTTP methods are async; the socket's own, which always is, does not count."""
        methods = [name for name in cls.http_method_names if name not in ("options", "websocket") and hasattr(cls, name)]
        are_async = {iscoroutinefunction(getattr(cls, name)) for name in methods}
        if len(are_async) > 1:
            raise ImproperlyConfigured(
                "expected the HTTP methods of {} to be all sync or all async, got both among {}".format(
                    cls.__qualname__, ", ".join(methods)
                )
            )
        return are_async == {True}

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> "AnyView":
        """Return the view; raise TypeError for this class itself, which answers nothing."""
        if cls is WebsocketView:
            raise TypeError("expected a subclass of WebsocketView with a method 'websocket', got WebsocketView itself")
        return super().as_view(**initkwargs)

    async def websocket(self, request: "WebsocketRequest", *args: Any, **kwargs: Any) -> Any:
        """Answer a socket; a subclass does."""
        raise NotImplementedError("expected {} to have an 'async def websocket'".format(type(self).__qualname__))
