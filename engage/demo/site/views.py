"""The pages of Streamly, the identity that its server signs, and the device on which its viewers buy."""

import json
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from engage.demo.site.films import BY_SLUG, FILMS
from engage.tenancy.models import App, IdentitySecret
from prompts import identity
from sync.models import Subscriber

APP_KEY = "streamly"
SESSION_KEY = "streamly_viewer"
MOST_VIEWERS = 12
STORES = {"amazon": "amazon", "apple": "apple", "google": "google_play", "roku": "roku"}
"""An instruction's store, and the connector whose world in the sandbox has the device."""
DEVICE_TIMEOUT = 10.0
# engage.js works under a policy as strict as this one: nothing inline, nothing from elsewhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

Page = Callable[..., HttpResponse]


def page(view: Page) -> Page:
    """Make a page of Streamly: shown anew each time, under the policy."""

    @require_GET
    @never_cache
    @wraps(view)
    def shown(request: HttpRequest, **values: Any) -> HttpResponse:
        response = view(request, **values)
        response["Content-Security-Policy"] = POLICY
        return response

    return shown


def _viewers() -> list[Subscriber]:
    return list(Subscriber.objects.filter(app__key=APP_KEY).order_by("pk")[:MOST_VIEWERS])


def _viewer(request: HttpRequest) -> Subscriber | None:
    """Return who is signed in to Streamly: who was chosen, or the first one."""
    viewers = _viewers()
    chosen = request.session.get(SESSION_KEY)
    return next((viewer for viewer in viewers if viewer.user_id == chosen), viewers[0] if viewers else None)


def _shown(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    common = {
        "viewers": _viewers(),
        "viewer": _viewer(request),
        "publishable_key": settings.ENGAGE_DEMO_PUBLISHABLE_KEY,
        "here": request.path,
    }
    return render(request, f"demo/{template}.html", {**common, **context})


@page
def home(request: HttpRequest) -> HttpResponse:
    """What is on."""
    return _shown(request, "home", featured=FILMS[0], films=FILMS[1:])


@page
def watch(request: HttpRequest, slug: str) -> HttpResponse:
    """One film."""
    film = BY_SLUG.get(slug)
    if film is None:
        raise Http404
    return _shown(request, "watch", film=film, more=[other for other in FILMS if other != film][:4])


@page
def account(request: HttpRequest) -> HttpResponse:
    """The viewer's plan, and what Engage told this page."""
    return _shown(request, "account")


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Become another viewer."""
    viewer = get_object_or_404(Subscriber, app__key=APP_KEY, user_id=request.POST.get("viewer", ""))
    request.session[SESSION_KEY] = viewer.user_id
    return HttpResponseRedirect(reverse("demo:account"))


@require_GET
@never_cache
def signed_identity(request: HttpRequest) -> HttpResponse:
    """Answer who is signed in, signed with the App's identity secret. Every app's server has a view like this."""
    viewer = _viewer(request)
    app = App.objects.filter(key=APP_KEY).first()
    secret = (
        IdentitySecret.objects.filter(app=app, revoked_at=None).order_by("-created_at").first()
        if app and viewer
        else None
    )
    if viewer is None or secret is None:
        raise Http404
    token = identity.sign(secret.secrets()["secret"], viewer.user_id, settings.ENGAGE_DEMO_PUBLISHABLE_KEY)
    return HttpResponse(token, content_type="text/plain")


@require_POST
def device(request: HttpRequest) -> HttpResponse:
    """Let the viewer's device in the sandbox carry out a purchase; answer what an app would report.

    In an app, this is where the store's own sheet asks the person. The page asks its own server, so that no other page can
    make the sandbox sell anything.
    """
    viewer = _viewer(request)
    try:
        instruction = json.loads(request.body)
        world = settings.ENGAGE_VENDOR_URLS[STORES[instruction["store"]]]
    except (ValueError, KeyError, TypeError):
        raise Http404 from None
    if viewer is None:
        raise Http404
    with requests.Session() as session:
        session.trust_env = False  # no proxy stands between the demo's own processes
        place = f"{world}/device/{quote(viewer.user_id, safe='')}"
        try:
            answer = session.post(place, json=instruction, timeout=DEVICE_TIMEOUT)
        except requests.RequestException:
            return HttpResponse(status=HTTPStatus.BAD_GATEWAY)
    return HttpResponse(answer.content, status=answer.status_code, content_type="application/json")
