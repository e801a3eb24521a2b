"""Pages below /console/account/ that need no role: the second step of signing in, a new password, and invitations."""

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.urls import path

from engage.tenancy.forms import ForgottenPasswordForm
from engage.tenancy.second_factor_views import CodeView
from engage.tenancy.views import AcceptView, NewPasswordView

urlpatterns = [
    path("code/", CodeView.as_view(), name="sign_in_code"),
    path(
        "forgotten/",
        auth_views.PasswordResetView.as_view(
            form_class=ForgottenPasswordForm,
            email_template_name="registration/password_reset_email.txt",
            extra_context={"email_is_set_up": settings.EMAIL_IS_SET_UP},
        ),
        name="admin_password_reset",
    ),
    path("forgotten/sent/", auth_views.PasswordResetDoneView.as_view(), name="password_reset_done"),
    path(
        "password/<uidb64>/<token>/",
        NewPasswordView.as_view(),
        name="password_reset_confirm",
    ),
    path(
        "password/set/",
        auth_views.PasswordResetCompleteView.as_view(),
        name="password_reset_complete",
    ),
    path("invitation/<str:token>/", AcceptView.as_view(), name="accept_invitation"),
]
