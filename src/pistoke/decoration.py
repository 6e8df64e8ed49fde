"""Decorated views: what a protocol or another decorator of this package makes of a view.

A decorated view leaves an HTTP request alone. Called with a WebSocket it returns at once, with a response that may be
awaited: awaiting it runs the socket. So decorators that know nothing of sockets work around it, those that await the view
and those that do not: they find a response to add their headers to.
"""

import asyncio
import functools
import inspect
import typing
from typing import Any

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View

from ._compat import COROUTINE_MARKS, is_async_def, iscoroutinefunction, markcoroutinefunction
from .request import WebsocketRequest

if typing.TYPE_CHECKING:
    from typing_extensions import Self

    from ._types import P
    from ._types import View as AnyView
    from .protocol import WebsocketProtocol


class PlaceholderResponse(HttpResponse):
    """Stands for the answer that a socket does not have.

    Middleware and decorators may treat it like any other response. It is made of nothing until one does: sockets are
    opened by the thousand, and most of the time nobody looks.
    """

    status_code = 200

    def __init__(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if "closed" in self.__dict__ or name.startswith("__"):
            raise AttributeError("{!r} object has no attribute {!r}".format(type(self).__name__, name))
        so_far = dict(self.__dict__)
        super().__init__()
        self.__dict__.update(so_far)
        return getattr(self, name)


class SocketResponse(PlaceholderResponse):
    """Runs a socket when it is awaited, and comes to what the view answers: to a placeholder, where that is nothing."""

    def __init__(
        self,
        decorator: "ViewDecorator",
        view: "AnyView",
        request: WebsocketRequest,
        args: "tuple[Any, ...]",
        kwargs: "dict[str, Any]",
    ) -> None:
        self._decorator = decorator
        self._call = view, request, args, kwargs

    def __await__(self) -> "typing.Generator[Any, None, Any]":
        return self.run().__await__()

    async def run(self) -> Any:
        """Run the socket."""
        response = await self._decorator.session(*self._call)
        return self if response is None else response

    async def begin(self) -> Any:
        """Open the socket and call the view; return what the call returns.

        This is for whoever closes the socket by the outcome of the view, as the handler does. Others await the response.
        """
        return await self._decorator.begin(*self._call)


class DecoratedView:
    """A view with the session of a :class:`ViewDecorator` around each of its sockets."""

    # A coroutine mark lives in a slot, not in __dict__, because functools.wraps copies the latter: a plain ``def`` around
    # this view would be taken for a coroutine function.
    __slots__ = COROUTINE_MARKS + ("__dict__", "__weakref__", "decorator", "view")

    # Set by some decorators.
    websocket_protocol: "WebsocketProtocol"
    origin_exempt: bool

    def __init__(self, view: "AnyView", decorator: "ViewDecorator") -> None:
        functools.update_wrapper(self, view)
        self.view = view
        self.decorator = decorator
        if is_async_def(view) or (isinstance(view, DecoratedView) and iscoroutinefunction(view)):
            # An HTTP request of this view is awaited.
            markcoroutinefunction(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request = find_request(args)
        if isinstance(request, WebsocketRequest):
            return SocketResponse(self.decorator, self.view, request, args, kwargs)
        return self.view(*args, **kwargs)

    def __get__(self, instance: object, owner: "type | None" = None) -> "AnyView":
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return "<{} of {!r}>".format(type(self).__name__, self.view)


class ViewDecorator:
    """A decorator that works bare and called, on functions, on methods and through ``method_decorator``."""

    @typing.overload
    def __new__(cls, __view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":  # type: ignore[misc]  # bare
        ...

    @typing.overload
    def __new__(cls, *args: Any, **kwargs: Any) -> "Self":
        ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and is_view(args[0]):
            return cls()(args[0])
        return super().__new__(cls)

    def __call__(self, view: "typing.Callable[P, Any]") -> "typing.Callable[P, Any]":
        """Return ``view`` decorated."""
        return DecoratedView(view, self)

    async def session(
        self, view: "AnyView", request: WebsocketRequest, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Run ``view`` for one socket; subclasses do what they are there for around it."""
        return await call_view(view, *args, **kwargs)

    async def begin(
        self, view: "AnyView", request: WebsocketRequest, args: "tuple[Any, ...]", kwargs: "dict[str, Any]"
    ) -> Any:
        """Return a coroutine that runs ``view`` for one socket."""
        return self.session(view, request, args, kwargs)


def is_view(candidate: object) -> bool:
    """Return whether a decorator is being applied to ``candidate``, and not called with it as an argument."""
    return callable(candidate) and not isinstance(candidate, type)


def find_request(args: "tuple[Any, ...]") -> "HttpRequest | None":
    """Return the request among the arguments of a view, which is a function or a method."""
    for argument in args[:2]:
        if isinstance(argument, HttpRequest):
            return argument
    return None


async def call_view(view: "AnyView", *args: Any, **kwargs: Any) -> Any:
    """Call a view of a socket and return what it answers."""
    response = await begin(view, *args, **kwargs)
    return await response if inspect.isawaitable(response) else response


async def begin(view: "AnyView", *args: Any, **kwargs: Any) -> Any:
    """Call a view of a socket and return what the call returns: a coroutine, as a rule.

    Code that may do anything before its first ``await`` (a plain ``def`` decorator, a ``dispatch`` that is not Django's
    own) is called in a thread. Whether it may is known, and never tried. Raises TypeError for a plain ``def`` that answers
    nothing.
    """
    response = view(*args, **kwargs) if returns_at_once(view) else await _call_in_thread(view, args, kwargs)
    if isinstance(response, HttpResponseBase) or inspect.isawaitable(response):
        return response
    raise TypeError(
        "expected an 'async def' as the view of a socket, got {!r}, a plain 'def' that returned {!r}".format(view, response)
    )


async def _call_in_thread(view: "AnyView", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
    call = _Call()
    try:
        return await sync_to_async(call.run)(view, args, kwargs)
    except asyncio.CancelledError:
        call.abandon()
        raise


class _Call:
    """One call of a view in a thread, which goes on to its end where nobody waits for it any more."""

    def __init__(self) -> None:
        self.made: Any = None
        self.abandoned = False

    def run(self, view: "AnyView", args: "tuple[Any, ...]", kwargs: "dict[str, Any]") -> Any:
        # asgiref refuses to call what only looks like a coroutine function.
        self.made = view(*args, **kwargs)
        if self.abandoned:
            self.abandon()
        return self.made

    def abandon(self) -> None:
        """Close the coroutine that was made, now or when it is."""
        self.abandoned = True
        if inspect.iscoroutine(self.made):
            self.made.close()


#: Implementations of ``dispatch`` that do no I/O themselves: the user is known when a view is called. By name, because
#: Django's mixins cannot be imported before its applications are loaded.
PLAIN_DISPATCH = {
    ("django.views.generic.base", "View.dispatch"),
    ("django.contrib.auth.mixins", "LoginRequiredMixin.dispatch"),
}

#: By their code one knows the functions that Django makes of a view class and of a decorated method.
_AS_VIEW_CODE = View.as_view().__code__
_METHOD_DECORATOR_CODE = method_decorator(lambda view: view)(lambda self: None).__code__


def returns_at_once(view: Any) -> bool:
    """Return whether calling ``view`` makes a coroutine and does no I/O."""
    while isinstance(view, functools.partial):
        view = view.func
    if isinstance(view, DecoratedView) or is_async_def(view):
        return True
    function = getattr(view, "__func__", view)
    if is_plain_dispatch(function):
        return dispatches_at_once(type(view.__self__))  # type: ignore[arg-type]  # any class is hashable
    code = getattr(function, "__code__", None)
    if code is _AS_VIEW_CODE:
        return dispatches_at_once(function.view_class)
    return code is _METHOD_DECORATOR_CODE and _decorated_at_once(function)


@functools.lru_cache(maxsize=1024)
def dispatches_at_once(view_class: "type[View]") -> bool:
    """Return whether ``view_class`` gets from its request to its ``websocket`` method by code of Django's alone."""
    dispatch = [cls.__dict__["dispatch"] for cls in view_class.__mro__ if "dispatch" in cls.__dict__]
    return (
        all(is_plain_dispatch(function) or returns_at_once(function) for function in dispatch)
        and view_class.setup is View.setup
        and view_class.__init__ is View.__init__
        and returns_at_once(getattr(view_class, "websocket", View.http_method_not_allowed))
    )


def _decorated_at_once(method: "AnyView") -> bool:
    """Return whether ``method_decorator`` made ``method`` with nothing but decorators of this package."""
    made_of = inspect.getclosurevars(method).nonlocals
    decorators = (item if isinstance(item, type) else type(item) for item in made_of["decorators"])
    return all(issubclass(item, ViewDecorator) for item in decorators) and (
        is_plain_dispatch(made_of["method"]) or returns_at_once(made_of["method"])
    )


def is_plain_dispatch(function: object) -> bool:
    """Return whether ``function`` is one of :data:`PLAIN_DISPATCH`, and not one that took its place."""
    module = getattr(function, "__globals__", {}).get("__name__")
    return (module, getattr(function, "__qualname__", None)) in PLAIN_DISPATCH
