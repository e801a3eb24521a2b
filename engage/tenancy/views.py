"""Pages about people, keys and the App."""

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.views import PasswordResetConfirmView, PasswordResetView
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.views import View
from django.views.generic import TemplateView

from engage.audit.record import differences, record, snapshot
from engage.tenancy import current, invitations, lockout, people, second_factor
from engage.tenancy.forms import (
    AcceptForm,
    AppForm,
    ForgottenPasswordForm,
    InviteForm,
    ModeForm,
    NewAppForm,
    NewPasswordForm,
    RoleForm,
)
from engage.tenancy.models import ApiKey, App, DeliveryMode, IdentitySecret, Invitation, KeyKind, Membership, User
from engage.tenancy.people import NotAllowed
from engage.tenancy.roles import Right, Role
from engage.tenancy.scoped import ConsoleViewMixin

SENT_FORMS = "sent_key_forms"
MOST_SENT_FORMS = 20
"""In a session are the ids of the last forms that made a key; the key itself is kept nowhere."""
MOST_IDENTITY_SECRETS = 2
"""Valid at once: the one in use, and the one that follows it."""


class SwitchAppView(View):
    """Take another App of one's own as the one at hand."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Switch, and begin at the dashboard: a page of the App before would be a 404."""
        chosen = request.POST.get("app", "")
        app = get_object_or_404(current.apps_of(_person(request)), pk=int(chosen) if chosen.isdecimal() else None)
        current.choose(request, app)
        return HttpResponseRedirect(reverse("admin:index"))


class ForgottenView(PasswordResetView):
    """Ask for a link to a new password; where no e-mail leaves, only say who can set one."""

    form_class = ForgottenPasswordForm
    email_template_name = "registration/password_reset_email.txt"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Whether a link can be sent."""
        return super().get_context_data(email_is_set_up=settings.EMAIL_IS_SET_UP, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send it."""
        return (super().post if settings.EMAIL_IS_SET_UP else self.get)(request, *args, **kwargs)


class NewPasswordView(PasswordResetConfirmView):
    """Set a new password by the link of an e-mail. The browser is known from then on: whoever reads the mailbox is the person."""

    form_class = NewPasswordForm

    def form_valid(self, form: Any) -> HttpResponse:
        """Set it."""
        return lockout.remember(super().form_valid(form), form.user)


class AcceptView(TemplateView):
    """Accept an invitation: somebody new sets name and password, somebody known signs in first."""

    template_name = "tenancy/accept.html"
    # The address is the secret: it goes to no other site, and into no cache.
    invitation: Invitation | None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Find the invitation."""
        self.invitation = invitations.find(kwargs["token"])
        response = super().dispatch(request, *args, **kwargs)
        add_never_cache_headers(response)
        return response

    def _known(self) -> User | None:
        return User.objects.filter(email__iexact=self.invitation.email).first() if self.invitation else None

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Say what is accepted, and what is missing for it."""
        known = self._known()
        mine = known is not None and known.pk == self.request.user.pk
        if (
            self.invitation is not None
            and known is None
            and not self.request.user.is_authenticated
            and "form" not in kwargs
        ):
            kwargs["form"] = AcceptForm(User(email=self.invitation.email))
        title = "Accept the invitation" if self.invitation else "This link does not work any more"
        return super().get_context_data(
            title=title, invitation=self.invitation, known=known is not None, mine=mine, **kwargs
        )

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """A link that does not work is a 404."""
        kwargs.setdefault("status", 200 if self.invitation else 404)
        return super().render_to_response(context, **kwargs)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Accept."""
        if self.invitation is None:
            return self.get(request, **kwargs)
        known = self._known()
        try:
            if known is not None:
                if known.pk != request.user.pk:
                    raise PermissionDenied("Sign in with the invited address first.")
                invitations.accept(self.invitation, known)
            else:
                if request.user.is_authenticated:
                    raise PermissionDenied("Sign out first: this invitation is for somebody else.")
                form = AcceptForm(User(email=self.invitation.email.lower()), request.POST)
                if not form.is_valid():
                    return self.render_to_response(self.get_context_data(form=form, **kwargs))
                with transaction.atomic():
                    form.user.name = form.cleaned_data["name"]
                    known = form.save()
                    invitations.accept(self.invitation, known)
                login(request, known, backend="django.contrib.auth.backends.ModelBackend")
        except NotAllowed:
            self.invitation = None
            return self.get(request, **kwargs)
        if self.invitation.app:
            current.choose(request, self.invitation.app)
        messages.success(request, f"Welcome. You are {self.invitation.get_role_display().lower()} here.")
        return HttpResponseRedirect(reverse("admin:index"))


class InviteView(ConsoleViewMixin, TemplateView):
    """Invite somebody. The link stands in the answer to the form, once, and nowhere else."""

    title = "Invite somebody"
    template_name = "tenancy/invite.html"
    right = Right.MANAGE_USERS

    def _form(self, data: Any = None) -> InviteForm:
        roles = people.grantable(current.current_role(self.request))
        return InviteForm(data, roles=roles, initial={"role": Role.APP_MEMBER})

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Form, and what each role may do."""
        kwargs.setdefault("form", self._form())
        return super().get_context_data(email_is_set_up=settings.EMAIL_IS_SET_UP, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Invite and show the link, or say what is wrong."""
        form = self._form(request.POST)
        if form.is_valid():
            try:
                invitation, link = invitations.invite(
                    request, form.cleaned_data["email"], Role(form.cleaned_data["role"])
                )
            except NotAllowed as no:
                form.add_error(None, str(no))
            else:
                return self.render_to_response(self.get_context_data(form=self._form(), **_sent(invitation, link)))
        return self.render_to_response(self.get_context_data(form=form))


class InvitationView(ConsoleViewMixin, TemplateView):
    """Renew or revoke an invitation."""

    title = "Invitation"
    template_name = "tenancy/invite.html"
    right = Right.MANAGE_USERS
    http_method_names = ["post"]

    def post(self, request: HttpRequest, invitation: int, what: str) -> HttpResponse:
        """Do it; a new link is shown once, like the first."""
        row = get_object_or_404(invitations.open_invitations(request), pk=invitation)
        try:
            if what == "revoke":
                invitations.revoke(request, row)
                messages.success(request, f"The invitation of {row.email} is revoked; its link does not work any more.")
                return HttpResponseRedirect(reverse("admin:tenancy_membership_changelist"))
            link = invitations.renew(request, row)
        except NotAllowed as no:
            messages.error(request, str(no))
            return HttpResponseRedirect(reverse("admin:tenancy_membership_changelist"))
        return self.render_to_response(self.get_context_data(**_sent(row, link)))


class PersonView(ConsoleViewMixin, TemplateView):
    """A person in the App at hand: role, access, and the credentials that they know."""

    template_name = "tenancy/person.html"
    right = Right.MANAGE_USERS
    membership: Membership

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Find the membership; one of another App is not there."""
        if self.has_permission():
            pk = kwargs["object_id"]
            self.membership = get_object_or_404(
                people.people_of(current.current_app(request)), pk=int(pk) if str(pk).isdecimal() else None
            )
        return super().dispatch(request, *args, **kwargs)

    @property
    def title(self) -> str:
        """The person's name."""
        return str(self.membership.user)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The person, what may be done, and why not."""
        membership, user = self.membership, self.membership.user
        why_not = people.why_not(self.request, membership)
        apps = current.apps_of(_person(self.request)).filter(company=membership.company_id)
        kwargs.setdefault(
            "role_form",
            RoleForm(roles=people.grantable(current.current_role(self.request)), initial={"role": membership.role}),
        )
        return super().get_context_data(
            membership=membership,
            person=user,
            why_not=why_not,
            may_deactivate=not why_not
            and current.may(self.request, Right.MANAGE_COMPANY)
            and not user.memberships.exclude(company=membership.company_id).exists(),
            second_factor=second_factor.factor_of(user),
            secrets_known=people.secrets_known_to(user, apps),
            other_apps=user.memberships.filter(app__in=apps).exclude(pk=membership.pk).select_related("app"),
            **kwargs,
        )

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Change the role, remove, deactivate or reactivate, reset the second factor."""
        what, name = request.POST.get("do", ""), str(self.membership.user)
        back = reverse("admin:tenancy_membership_change", args=[self.membership.pk])
        try:
            if what == "role":
                form = RoleForm(request.POST, roles=list(Role))
                if not form.is_valid():
                    return self.render_to_response(self.get_context_data(role_form=form))
                role = Role(form.cleaned_data["role"])
                people.change_role(request, self.membership, role)
                messages.success(request, f"{name} is {role.label.lower()} now.")
            elif what == "remove":
                people.remove(request, self.membership)
                messages.success(request, f"{name} has no role here any more.")
                back = reverse("admin:tenancy_membership_changelist")
            elif what in {"deactivate", "reactivate"}:
                people.set_active(request, self.membership, active=what == "reactivate")
                messages.success(
                    request,
                    f"{name} can sign in again."
                    if what == "reactivate"
                    else f"{name} is signed out everywhere and cannot sign in.",
                )
            elif what == "reset-factor":
                people.reset_second_factor(request, self.membership)
                messages.success(request, f"{name} is signed out everywhere and signs in with the password alone.")
            else:
                raise Http404
        except NotAllowed as no:
            messages.error(request, str(no))
        return HttpResponseRedirect(back)


class KeysView(ConsoleViewMixin, TemplateView):
    """API keys and identity secrets. A new one stands in the answer to the form, once, and nowhere else."""

    title = "API keys"
    template_name = "tenancy/keys.html"
    right = Right.MANAGE_KEYS

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Both kinds of keys, and the identity secrets; revoked ones apart."""
        app = current.current_app(self.request)
        keys = list(ApiKey.objects.filter(app=app).select_related("created_by").order_by("-id"))
        secrets = list(IdentitySecret.objects.filter(app=app).select_related("created_by").order_by("-created_at"))
        return super().get_context_data(
            kinds=[
                {
                    "kind": kind,
                    "about": about,
                    "keys": [key for key in keys if key.kind == kind and key.revoked_at is None],
                }
                for kind, about in (
                    (
                        KeyKind.SECRET,
                        "For your servers. It may report for every subscriber and write traits: keep it out of browsers and apps.",
                    ),
                    (
                        KeyKind.PUBLISHABLE,
                        "For engage.js in browsers. It may be seen; actions need a signed identity beside it.",
                    ),
                )
            ],
            identity_secrets=[secret for secret in secrets if secret.revoked_at is None],
            most_identity_secrets=MOST_IDENTITY_SECRETS,
            new_form=uuid4(),
            revoked=[*(key for key in keys if key.revoked_at), *(secret for secret in secrets if secret.revoked_at)],
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Make or revoke a key or an identity secret."""
        what = request.POST.get("do", "")
        app, by = current.current_app(request), _person(request)
        if what in {"make-key", "make-secret"} and self._is_sent_again(request):
            messages.warning(request, "Nothing was made: this form was sent before. What it made is shown only once.")
        elif what == "make-key" and request.POST.get("kind") in KeyKind.values:
            with transaction.atomic():
                key, token = ApiKey.make(app, request.POST["kind"], by)
                record("created", key, {"kind": [None, key.get_kind_display()]}, request=request)
            return self._show(token, key.get_kind_display())
        elif what == "make-secret":
            with transaction.atomic():
                App.objects.select_for_update().get(pk=app.pk)
                if IdentitySecret.objects.filter(app=app, revoked_at=None).count() < MOST_IDENTITY_SECRETS:
                    secret, token = IdentitySecret.make(app, by)
                    record("created", secret, request=request)
                    return self._show(token, "Identity secret")
            messages.error(request, "Two identity secrets are valid already. Revoke the older one first.")
        elif what in {"revoke-key", "revoke-secret"}:
            model: Any = ApiKey if what == "revoke-key" else IdentitySecret
            thing = get_object_or_404(model, app=app, revoked_at=None, **_pk(model, request.POST.get("id", "")))
            with transaction.atomic():
                thing.revoked_at = timezone.now()
                thing.save(update_fields=["revoked_at"])
                record("revoked", thing, request=request)
            messages.success(request, f"{thing} is revoked. Whoever still uses it is refused from now on.")
        else:
            raise Http404
        return HttpResponseRedirect(reverse("admin:tenancy_apikey_changelist"))

    @staticmethod
    def _is_sent_again(request: HttpRequest) -> bool:
        """Whether this form was sent before, as a reload of the answer does: that is a page of its own, not kept anywhere."""
        form, sent = request.POST.get("form", ""), request.session.get(SENT_FORMS, [])
        if form in sent:
            return True
        if form:
            request.session[SENT_FORMS] = [*sent, form[:36]][-MOST_SENT_FORMS:]
        return False

    def _show(self, token: str, what: str) -> HttpResponse:
        return self.render_to_response(self.get_context_data(once=token, once_what=what))


class AppView(ConsoleViewMixin, TemplateView):
    """Name, time zone, domains and delivery mode of the App at hand: everybody may look, administrators change."""

    title = "App & delivery mode"
    template_name = "tenancy/app.html"
    right = Right.LOOK

    MODES = {
        DeliveryMode.LIVE: (
            "rocket_launch",
            "Every subscriber is shown live prompts, and what they accept is carried out at the vendors.",
        ),
        DeliveryMode.TEST: (
            "science",
            "Only test subscribers are shown prompts. What others answer is recorded and never sent, also not later.",
        ),
        DeliveryMode.NOBODY: (
            "pause_circle",
            "Nobody is shown prompts. Answers that still come are recorded and never sent, also not later.",
        ),
    }

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The settings, and the three modes in words."""
        app = current.current_app(self.request)
        kwargs.setdefault("form", AppForm(instance=App.objects.get(pk=app.pk)))
        modes = [
            {"mode": mode, "icon": icon, "about": about, "current": mode == app.delivery_mode}
            for mode, (icon, about) in self.MODES.items()
        ]
        return super().get_context_data(
            may_change=current.may(self.request, Right.MANAGE_APP),
            may_add=current.may(self.request, Right.MANAGE_COMPANY),
            modes=modes,
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Save the settings, or change the mode."""
        current.require(request, Right.MANAGE_APP)
        app = App.objects.get(pk=current.current_app(request).pk)
        fields = ["delivery_mode"] if request.POST.get("do") == "mode" else ["name", "time_zone", "domains"]
        before = snapshot(app, fields)
        if request.POST.get("do") == "mode":
            mode_form = ModeForm(request.POST)
            if not mode_form.is_valid():
                raise Http404
            app.delivery_mode = mode_form.cleaned_data["mode"]
        else:
            form = AppForm(request.POST, instance=app)
            if not form.is_valid():
                return self.render_to_response(self.get_context_data(form=form))
        with transaction.atomic():
            app.save(update_fields=fields)
            if changes := differences(before, snapshot(app, fields)):
                record(
                    "changed the delivery mode" if "delivery_mode" in changes else "changed",
                    app,
                    changes,
                    request=request,
                )
        messages.success(
            request, f"Delivery mode: {app.get_delivery_mode_display()}." if fields == ["delivery_mode"] else "Saved."
        )
        return HttpResponseRedirect(reverse("admin:tenancy_app_changelist"))


class AddAppView(ConsoleViewMixin, TemplateView):
    """One more App of the company: it starts in test mode, in the time zone of the App at hand, and becomes the one at hand."""

    title = "Add App"
    template_name = "tenancy/add_app.html"
    right = Right.MANAGE_COMPANY

    def _form(self, data: Any = None) -> NewAppForm:
        beside = current.current_app(self.request)
        return NewAppForm(data, instance=App(company=beside.company, time_zone=beside.time_zone))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The form."""
        kwargs.setdefault("form", self._form())
        return super().get_context_data(**kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Make it and switch to it, or say what is wrong."""
        form = self._form(request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        with transaction.atomic():
            app = form.save()
            record("created", app, request=request)
        current.choose(request, app)
        messages.success(
            request, f"{app} is there, and you are in it now. Only test subscribers are served until you go live."
        )
        return HttpResponseRedirect(reverse("admin:index"))


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


def _pk(model: type[ApiKey | IdentitySecret], text: str) -> dict[str, Any]:
    field = model._meta.pk
    try:
        return {"pk": field.to_python(text)}
    except ValidationError as error:
        raise Http404 from error


def _sent(invitation: Invitation, link: str) -> dict[str, Any]:
    return {"invited": invitation, "link": link, "mailed": invitations.mail(invitation, link)}
