from django.urls import path, re_path
from django.views.generic import RedirectView

from sockets import chat, dashboard, echo, signup

urlpatterns = [
    path("", echo.Echo.as_view(), name="echo"),
    path("chat/", RedirectView.as_view(url="lobby/")),
    re_path(r"^chat/(?P<room>[-a-z0-9_]{1,40})/$", chat.Chat.as_view(), name="chat"),
    path("dashboard/", dashboard.Dashboard.as_view(), name="dashboard"),
    path("signup/", signup.SignUp.as_view(), name="signup"),
]
