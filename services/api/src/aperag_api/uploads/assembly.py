"""How this gateway receives documents, by its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.uploads.arrivals import Arrivals
from aperag_api.uploads.intake import Limits
from aperag_api.uploads.service import UploadService
from aperag_common.objects import LocalObjectStore

if TYPE_CHECKING:
    from aperag_api.settings import Settings
    from aperag_work.runtime import Runtime
    from aperag_work.scheduler import TaskScheduler


def upload_service(runtime: Runtime, settings: Settings, scheduler: TaskScheduler) -> UploadService:
    objects = LocalObjectStore(settings.objects.directory)
    limits = Limits(settings.max_document_size, settings.max_documents_per_request, settings.max_staged_documents)
    arrivals = Arrivals(settings.objects.directory, settings.max_uploads_per_user, settings.min_free_space)
    return UploadService(
        runtime.engine, objects, runtime.dispatcher, scheduler, limits, settings.interactive_documents, arrivals
    )
