"""View classes that answer sockets."""

from typing import TYPE_CHECKING, Any, Sequence

from django.core.exceptions import ImproperlyConfigured
from django.utils.decorators import classonlymethod
from django.utils.functional import classproperty
from django.views import View

from ._compat import iscoroutinefunction

if TYPE_CHECKING:
    from ._types import View as AnyView
    from .request import WebsocketRequest

    # Of any response, so that it goes together with any other class of views.
    BaseView = View[Any]
else:
    BaseView = View


def has_async_methods(view_class: "type[View[Any]]") -> bool:
    """Return whether the HTTP methods of a view class are async; the socket's own, which always is, does not count."""
    names = view_class.http_method_names
    methods = [name for name in names if name not in ("options", "websocket") and hasattr(view_class, name)]
    are_async = {iscoroutinefunction(getattr(view_class, name)) for name in methods}
    if len(are_async) > 1:
        raise ImproperlyConfigured(
            "expected the HTTP methods of {} to be all sync or all async, got both among {}".format(
                view_class.__qualname__, ", ".join(methods)
            )
        )
    return are_async == {True}


class WebsocketView(BaseView):
    """A view class with an ``async def websocket(self, request, ...)`` beside ``get()`` and the like.

    Inherit from it before the class whose ``get()`` renders the page::

        class Echo(WebsocketView, TemplateView):
            template_name = "echo.html"

            async def websocket(self, request):
                async for message in request:
                    await request.send(message)
    """

    http_method_names: Sequence[str]
    view_is_async: Any = classproperty(has_async_methods)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Allow the method, in a list of the class's own: Django's is shared by all views."""
        super().__init_subclass__(**kwargs)
        if "websocket" not in cls.http_method_names:
            cls.http_method_names = [*cls.http_method_names, "websocket"]

    @classonlymethod
    def as_view(cls, **initkwargs: Any) -> "AnyView":
        """Return the view; raise TypeError for this class itself, which answers nothing."""
        if cls is WebsocketView:
            raise TypeError("expected a subclass of WebsocketView with a method 'websocket', got WebsocketView itself")
        return super().as_view(**initkwargs)

    async def websocket(self, request: "WebsocketRequest", *args: Any, **kwargs: Any) -> Any:
        """Answer a socket; a subclass does."""
        raise NotImplementedError("expected {} to have an 'async def websocket'".format(type(self).__qualname__))
