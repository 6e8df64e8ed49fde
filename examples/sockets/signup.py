"""A form checked while it is filled in, by what checks it when it is sent."""

import json

from asgiref.sync import sync_to_async
from django import forms
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.views.generic import FormView

from pistoke.views import WebsocketView


class SignUpForm(forms.ModelForm):
    password = forms.CharField(
        widget=forms.PasswordInput, validators=[validate_password]
    )
    again = forms.CharField(widget=forms.PasswordInput, label="Password again")

    class Meta:
        model, fields = User, ["username"]

    def clean_again(self):
        if self.cleaned_data["again"] != self.data.get("password"):
            raise forms.ValidationError("The two passwords differ.")


class SignUp(WebsocketView, FormView):
    template_name = "sockets/signup.html"
    form_class = SignUpForm

    def form_valid(self, form):
        form.instance.set_password(form.cleaned_data["password"])
        login(self.request, form.save())
        self.request.session["name"] = form.instance.username[:30]
        return redirect("chat", "lobby")

    async def websocket(self, request):
        async for message in request:
            await request.send(await verdict(json.loads(message)))


@sync_to_async  # it asks the database
def verdict(values):
    context = {"form": SignUpForm(values), "changed": values.get("changed")}
    return render_to_string("sockets/verdict.html", context)
