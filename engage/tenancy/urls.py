"""Pages below /console/account/ that need no role: the second step of signing in, a new password, and invitations."""

from django.contrib.auth import views as auth_views
from django.urls import path

from engage.tenancy.second_factor_views import CodeView
from engage.tenancy.views import AcceptView, ForgottenView, NewPasswordView

urlpatterns = [
    path("code/", CodeView.as_view(), name="sign_in_code"),
    path(
        "forgotten/",
        ForgottenView.as_view(),
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
