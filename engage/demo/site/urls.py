"""Streamly's addresses, below /demo/."""

from django.urls import path

from engage.demo.site import views

app_name = "demo"
urlpatterns = [
    path("", views.home, name="home"),
    path("watch/<slug:slug>/", views.watch, name="watch"),
    path("account/", views.account, name="account"),
    path("sign-in/", views.sign_in, name="sign_in"),
    path("identity/", views.signed_identity, name="identity"),
    path("device/", views.device, name="device"),
]
