"""One view: an event and its execution in one transaction, and a message."""

import json
import uuid

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from bench.bare.celery import nothing
from prompts.models import Execution, PromptEvent


@csrf_exempt
def report(request: HttpRequest) -> JsonResponse:
    """Believe what is sent, and store it: the names are those of rows."""
    told = json.loads(request.body)
    now = timezone.now()
    with transaction.atomic():
        event = PromptEvent.objects.create(
            app_id=told["app"],
            event_id=uuid.UUID(told["event_id"]),
            prompt_id=told["prompt"],
            subscriber_id=told["subscriber"],
            interaction="accept",
            received_at=now,
        )
        execution = Execution.objects.create(
            app_id=told["app"],
            event=event,
            subscriber_id=told["subscriber"],
            connector="api",
            action="call",
            created_at=now,
            due_at=now,
        )
    nothing.delay(str(execution.pk))
    return JsonResponse({"event_id": told["event_id"]}, status=202)


urlpatterns = [path("events", report)]
