"""Pages of the second factor: its code at sign-in, setting one up, replacing and removing it."""

from typing import Any

import segno
from django.contrib import admin, messages
from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.crypto import constant_time_compare
from django.utils.safestring import SafeString, mark_safe
from django.views.generic import FormView, TemplateView

from engage.audit.record import record
from engage.tenancy import current, lockout, second_factor
from engage.tenancy.forms import CodeForm, PasswordForm, SignInForm
from engage.tenancy.models import Authenticator, Company, User
from engage.tenancy.roles import Right
from engage.tenancy.scoped import ConsoleViewMixin

HALF_WAY = "engage_half_way"
"""In the session of somebody whose password was right and whose code is asked for."""
HALF_WAY_SECONDS = 600


class SignInView(LoginView):
    """E-mail address and password. Somebody with a second factor is not signed in by them, but asked for its code."""

    form_class = SignInForm
    template_name = "admin/login.html"

    def form_valid(self, form: Any) -> HttpResponse:
        """Sign in, or ask for the code."""
        user = form.get_user()
        if second_factor.factor_of(user) is None:
            return lockout.remember(super().form_valid(form), user)
        self.request.session[HALF_WAY] = {
            "user": user.pk,
            "password": user.get_session_auth_hash(),
            "until": timezone.now().timestamp() + HALF_WAY_SECONDS,
            "next": self.get_success_url(),
        }
        return HttpResponseRedirect(reverse("sign_in_code"))


class CodeView(FormView[CodeForm]):
    """The second step of signing in."""

    template_name = "tenancy/code.html"
    form_class = CodeForm
    extra_context = {"title": "Enter the code"}
    factor: Authenticator

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Only for somebody whose password was right, a short while ago, and is still the same."""
        factor = self._factor(request)
        if factor is None:
            request.session.pop(HALF_WAY, None)
            return HttpResponseRedirect(reverse("admin:login"))
        self.factor = factor
        response = super().dispatch(request, *args, **kwargs)
        add_never_cache_headers(response)
        return response

    def _factor(self, request: HttpRequest) -> Authenticator | None:
        half_way = request.session.get(HALF_WAY)
        if half_way is None or half_way["until"] < timezone.now().timestamp():
            return None
        user = User.objects.filter(pk=half_way["user"], is_active=True).first()
        if user is None or not constant_time_compare(user.get_session_auth_hash(), half_way["password"]):
            return None
        return second_factor.factor_of(user)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        """Sign in, if the code is right."""
        if said := second_factor.why_refused(self.request, self.factor, form.cleaned_data["code"]):
            form.add_error("code", said)
            return self.form_invalid(form)
        before, user = len(self.factor.recovery_hashes), self.factor.user
        self.factor.refresh_from_db(fields=["recovery_hashes"])
        left = len(self.factor.recovery_hashes)
        following = self.request.session.pop(HALF_WAY)["next"]
        user.otp_device = self.factor  # django-otp keeps it in the session
        login(self.request, user, backend="django.contrib.auth.backends.ModelBackend")
        if left < before:
            second_factor.note(user, "signed in with a recovery code", request=self.request)
            messages.warning(
                self.request,
                f"That was a recovery code; {left} are left. If your phone is gone, replace your second factor now.",
            )
        return lockout.remember(HttpResponseRedirect(following), user)


class SecondFactorView(TemplateView):
    """Somebody's own second factor. Its secret and its recovery codes stand in an answer to a form, once, and nowhere else."""

    template_name = "tenancy/second_factor.html"
    user: User

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Find the person."""
        if not isinstance(request.user, User):
            raise PermissionDenied("Sign in first.")
        self.user = request.user
        response = super().dispatch(request, *args, **kwargs)
        add_never_cache_headers(response)
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """What there is, who requires it, and the forms."""
        kwargs.setdefault("form", CodeForm())
        kwargs.setdefault("password_form", PasswordForm())
        return super().get_context_data(
            **admin.site.each_context(self.request),
            title="Second factor",
            factor=second_factor.factor_of(self.user),
            required_by=list(second_factor.required_by(self.user)),
            **kwargs,
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        """Set up, replace, remove, or make new recovery codes. What is there is changed only with one of its codes."""
        what = request.POST.get("do", "")
        factor = second_factor.factor_of(self.user)
        if what == "begin" and factor is None:
            return self._begin(PasswordForm(request.POST))
        needed = second_factor.waiting_for(request, self.user) if what == "confirm" else factor
        if needed is None and what == "confirm":
            messages.error(request, "This took too long, or was begun elsewhere. Begin again.")
            return HttpResponseRedirect(reverse("admin:second_factor"))
        if needed is None or what not in {"confirm", "replace", "recovery", "remove"}:
            raise Http404
        form = CodeForm(request.POST)
        if form.is_valid() and (said := second_factor.why_refused(request, needed, form.cleaned_data["code"])):
            form.add_error("code", said)
        if not form.is_valid():
            return self._set_up(needed, form) if what == "confirm" else self._show(form=form, doing=what)
        needed.refresh_from_db()
        return self._carry_out(what, needed)

    def _begin(self, form: PasswordForm) -> HttpResponse:
        """Whoever finds a session open sets up no factor of their own in it."""
        if form.is_valid() and (
            said := second_factor.why_not_them(self.request, self.user, form.cleaned_data["password"])
        ):
            form.add_error("password", said)
        return (
            self._set_up(second_factor.begin(self.request, self.user))
            if form.is_valid()
            else self._show(password_form=form)
        )

    def _carry_out(self, what: str, factor: Authenticator) -> HttpResponse:
        if what == "confirm":
            return self._show(recovery_codes=second_factor.confirm(self.request, factor))
        if what == "recovery":
            return self._show(recovery_codes=second_factor.renew_recovery_codes(self.request, factor))
        if what == "replace":
            return self._set_up(second_factor.begin(self.request, self.user))
        if second_factor.required_by(self.user).exists():
            messages.error(self.request, "Your company requires a second factor. You can replace yours.")
        else:
            second_factor.forget(self.user, "removed their second factor", request=self.request)
            messages.success(self.request, "Your second factor is removed. Your password alone signs you in.")
        return HttpResponseRedirect(reverse("admin:second_factor"))

    def _set_up(self, waiting: Authenticator, form: CodeForm | None = None) -> HttpResponse:
        secret = waiting.secrets()["secret"]
        spaced = " ".join(secret[part : part + 4] for part in range(0, len(secret), 4))
        return self._show(form=form or CodeForm(), qr_code=_qr_code(waiting.address), secret=spaced)

    def _show(self, **context: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(**context))


class RequireSecondFactorView(ConsoleViewMixin, TemplateView):
    """Require a second factor of the company's people, or do so no longer."""

    title = "Second factor"
    template_name = "tenancy/second_factor.html"
    right = Right.MANAGE_COMPANY
    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        """Do it. Whoever requires it has one, so that at least one administrator can still sign in."""
        company = Company.objects.get(pk=current.current_app(request).company_id)
        required = request.POST.get("required") == "yes"
        if required and not (isinstance(request.user, User) and second_factor.factor_of(request.user)):
            messages.error(request, "Set up your own second factor first. Then you can require one of everybody.")
            return HttpResponseRedirect(reverse("admin:second_factor"))
        if Company.objects.filter(pk=company.pk, second_factor_required=not required).update(
            second_factor_required=required
        ):
            changes = {"second_factor_required": [not required, required]}
            record("changed", company, changes, request=request)
        messages.success(
            request,
            f"Everybody of {company} needs a second factor now. Who has none sets it up before anything else."
            if required
            else f"People of {company} may sign in with their password alone.",
        )
        return HttpResponseRedirect(reverse("admin:tenancy_membership_changelist"))


def _qr_code(text: str) -> SafeString:
    """Return an SVG, dark on white in every theme: cameras read it so. It is made of numbers alone."""
    svg = segno.make(text, error="m").svg_inline(scale=5, border=4, dark="#000", light="#fff", svgclass="eg-qr")
    return mark_safe(svg)  # noqa: S308 - nothing of it is a person's text
