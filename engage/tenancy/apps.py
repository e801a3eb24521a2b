"""Tenancy as a Django app."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    """People, companies, Apps, and who may do what in which App."""

    name = "engage.tenancy"
    label = "tenancy"

    def ready(self) -> None:
        """Answer what Django, axes and corsheaders tell or ask by signal."""
        from axes.signals import user_locked_out
        from corsheaders.signals import check_request_enabled
        from django.contrib.auth.signals import user_logged_in

        from engage.tenancy import domains, lockout, people

        check_request_enabled.connect(domains.is_known, dispatch_uid="engage.domains")
        user_locked_out.connect(lockout.tell_the_person, dispatch_uid="engage.lockout")
        user_logged_in.connect(people.record_sign_in, dispatch_uid="engage.sign_in")
