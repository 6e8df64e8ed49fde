"""Each view by its name, with hyphens."""

from django.urls import path

from . import accounts, limited, nakyma, views

SOCKETS = [
    views.echo,
    views.json_echo,
    views.json_subprotocol,
    views.subprotocols,
    views.no_subprotocol,
    views.collect,
    views.two_readers,
    views.two_writers,
    views.polls,
    views.polls_at_once,
    views.sends_much,
    views.insists,
    views.reads_later,
    views.opens_gate,
    views.flood,
    views.flood_after_reading,
    views.facts,
    views.csrf,
    views.extensions,
    views.returns_at_once,
    views.returns_after_sending,
    views.raises_in_protocol,
    views.raises_after_message,
    views.raises_before_anything,
    views.denies_after_message,
    views.answers,
    views.sends_number,
    views.sends_after_close,
    views.closes,
    views.reads,
    views.sleeps,
    views.sleeps_after_reading,
    views.sleeps_in_protocol,
    views.for_everyone,
    views.room,
]


def route(name, view):
    """Return the route to a view."""
    name = name.replace("_", "-")
    return path(name + "/", view, name=name)


urlpatterns = nakyma.urlpatterns + limited.urlpatterns + accounts.urlpatterns + [
    path("login/", views.sign_in),
    path("favicon.ico", views.no_icon),
    path("address/", views.socket_address),
    path("too-many/", views.echo),
    path("slow-handshake/", views.reads),
    path("only-http/", views.OnlyHttp.as_view()),
    path("both/", views.Both.as_view()),
    path("undecoded/", views.undecoded),
    path("undecoded/<str:word>/", views.undecoded),
]
urlpatterns += [route(view.__name__, view) for view in SOCKETS]
urlpatterns += [route(name, view) for name, view in views.refusals.items()]
