"""Signing in and out, and what else becomes of users."""

from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.http import HttpResponse
from django.urls import path


def sign_in(request):
    """Log in the user whom the query names, who need not have been there."""
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"])
    login(request, user)
    return HttpResponse()


def sign_out(request):
    """Log the user out."""
    logout(request)
    return HttpResponse()


def change_password(request):
    """Change the password of the user."""
    request.user.set_password("another")
    request.user.save()
    update_session_auth_hash(request, request.user)
    return HttpResponse()


def deactivate(request):
    """Deactivate the user, and tell nobody."""
    get_user_model().objects.filter(pk=request.user.pk).update(is_active=False)
    return HttpResponse()


urlpatterns = [
    path("accounts/sign-in/", sign_in),
    path("accounts/sign-out/", sign_out),
    path("accounts/change-password/", change_password),
    path("accounts/deactivate/", deactivate),
]
