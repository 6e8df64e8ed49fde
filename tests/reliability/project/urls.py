"""Each view by its name."""

from django.urls import path

from tests.servers.project import views as others

from . import views

SOCKETS = [
    views.orders,
    views.ticks,
    views.queries,
    views.stubborn,
    others.reads,
    others.sleeps,
    others.sleeps_after_reading,
]

urlpatterns = [path("{}/".format(view.__name__.replace("_", "-")), view) for view in SOCKETS]
