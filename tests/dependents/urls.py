"""Where the views are."""

from django.urls import path
from ilmoitus.nakyma import Ilmoitukset

from . import views

urlpatterns = [
    path("token/", views.token),
    path("terminal/", views.Terminal.as_view()),
    path("editor/<int:pk>/", views.Editor.as_view()),
    path("document/", views.document),
    path("document/<int:pk>/", views.document),
    path("notifications/", Ilmoitukset.as_view()),
    path("notify/", views.notify),
    path("notify-from-outside/", views.notify_from_outside),
    path("listeners/", views.listeners),
    path("chat/", views.Chat.as_view()),
    path("table/", views.Table.as_view()),
]
