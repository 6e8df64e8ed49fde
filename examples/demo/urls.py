from django.urls import path

from sockets import views

urlpatterns = [
    path("", views.Echo.as_view(), name="echo"),
    path("clock/", views.Clock.as_view(), name="clock"),
    path("json/", views.Json.as_view(), name="json"),
]
