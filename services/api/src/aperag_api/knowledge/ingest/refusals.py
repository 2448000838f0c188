"""Why an event is not taken; every reason has a code of its own."""

from __future__ import annotations

from aperag_common import errors


class RefusedEvent(errors.InvalidParameter):
    """Repeating it as it is cannot help."""

    code = "INVALID_EVENT"


class UnknownEventType(RefusedEvent):
    code = "UNKNOWN_EVENT_TYPE"


class SubjectMissing(RefusedEvent):
    code = "SUBJECT_MISSING"


class TimeInFuture(RefusedEvent):
    code = "TIME_IN_FUTURE"


class InvalidName(RefusedEvent):
    code = "INVALID_NAME"


class ContentTooLarge(RefusedEvent):
    code, status = "CONTENT_TOO_LARGE", 413


class ReferenceUnsupported(RefusedEvent):
    code = "REFERENCE_UNSUPPORTED"


class ReferenceRefused(RefusedEvent):
    """The host was asked, and gave no document."""

    code = "REFERENCE_REFUSED"


class CollectionMissing(RefusedEvent):
    """The event does not say whose collection it is about, or in a way that names none."""

    code = "COLLECTION_MISSING"
