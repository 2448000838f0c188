"""One error tree: what may be retried, what is final, and the code a client sees.

ApeRAGError(code)
├─ Retryable    the same work may succeed later: UpstreamUnavailable, RateLimited, Busy
└─ Terminal     repeating cannot help: InvalidMessage, UnsupportedMedia, CorruptDocument, DocumentTooLarge,
│               PasswordProtected, QuotaExceeded, Gone
   └─ ClientError   the caller's fault, with the contract's code and status: NotFound, Conflict, InvalidParameter, …

Adapters translate vendor exceptions into this tree at the port, once, with ``raise … from``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar


class ApeRAGError(Exception):
    """Base of every expected failure; ``code`` is stable and machine readable."""

    code: ClassVar[str] = "UNKNOWN_ERROR"
    dead_letter: ClassVar[bool] = True
    """Whether an operator is to look at a job that was given up for it."""

    def __init__(self, message: str, *, code: str | None = None, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = code or self.code
        self.details = details or {}


class Retryable(ApeRAGError):
    """The same work may succeed later; ``retry_after`` overrides the policy's delay."""

    code = "RETRYABLE"
    number: ClassVar[int] = 1000
    status: ClassVar[int] = 503

    def __init__(self, message: str, *, code: str | None = None, retry_after: timedelta | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class UpstreamUnavailable(Retryable):
    """A service we depend on did not answer."""

    code = "UPSTREAM_UNAVAILABLE"


class RateLimited(Retryable):
    """A service we depend on asked us to slow down."""

    code = "RATE_LIMITED"


class Busy(Retryable):
    """Our own capacity is spent for now."""

    code = "BUSY"


class Terminal(ApeRAGError):
    """Repeating the work cannot help; the reason is for a person to act on."""

    code = "TERMINAL"


class InvalidMessage(Terminal):
    """A message on the bus does not fit its type."""

    code = "INVALID_MESSAGE"


class UnsupportedMedia(Terminal):
    """No reader for this kind of file."""

    code = "UNSUPPORTED_MEDIA"


class CorruptDocument(Terminal):
    """The reader for this kind of file could not read this one."""

    code = "CORRUPT_DOCUMENT"


class DocumentTooLarge(Terminal):
    """Reading the file would take more than one document may: its owner reads which limit it is, and splits it."""

    code = "DOCUMENT_TOO_LARGE"
    dead_letter = False


class EmptyDocument(Terminal):
    """The file holds no text to index."""

    code = "EMPTY_DOCUMENT"


class OcrMissing(Terminal):
    """The file is a scan or a picture, and no text recognition is installed: the document's owner reads how to go on."""

    code = "OCR_MISSING"
    dead_letter = False


class PasswordProtected(Terminal):
    """The file is encrypted, and nobody here knows its password."""

    code = "PASSWORD_PROTECTED"


class Gone(Terminal):
    """What the work is about no longer exists."""

    code = "GONE"


class WorkerLost(Terminal):
    """The work ended its worker so often that it is not given to another."""

    code = "WORKER_LOST"


class ClientError(Terminal):
    """The caller's fault; ``number`` and ``status`` are the contract's (contract: error codes)."""

    code = "INVALID_PARAMETER"
    number: ClassVar[int] = 1001
    status: ClassVar[int] = 400


class InvalidParameter(ClientError):
    """A parameter is outside what the route accepts."""


class ValidationFailed(ClientError):
    code, number, status = "VALIDATION_ERROR", 1051, 400


class NotFound(ClientError):
    code, number, status = "RESOURCE_NOT_FOUND", 1002, 404


class Forbidden(ClientError):
    code, number, status = "FORBIDDEN", 1004, 403


class Conflict(ClientError):
    code, number, status = "CONFLICT", 1005, 409


class CollectionNotFound(ClientError):
    code, number, status = "COLLECTION_NOT_FOUND", 1101, 404


class CollectionInactive(ClientError):
    code, number, status = "COLLECTION_INACTIVE", 1102, 400


class CollectionQuotaExceeded(ClientError):
    code, number, status = "COLLECTION_QUOTA_EXCEEDED", 1103, 403


class InvalidSourceConfig(ClientError):
    code, number, status = "INVALID_SOURCE_CONFIG", 1105, 400


class BotNotFound(ClientError):
    code, number, status = "BOT_NOT_FOUND", 1201, 404


class BotQuotaExceeded(ClientError):
    code, number, status = "BOT_QUOTA_EXCEEDED", 1202, 403


class BotConfigInvalid(ClientError):
    code, number, status = "BOT_CONFIG_INVALID", 1203, 400


class ProviderNotFound(ClientError):
    code, number, status = "LLM_PROVIDER_NOT_FOUND", 1204, 400


class ProviderAlreadyExists(ClientError):
    code, number, status = "LLM_PROVIDER_ALREADY_EXISTS", 1801, 400


class ProviderNotPublic(ClientError):
    code, number, status = "PROVIDER_NOT_PUBLIC", 1803, 400


class ProviderKeyMissing(ClientError):
    """The provider is there, but nobody can call it."""

    code, number, status = "PROVIDER_KEY_MISSING", 1001, 400


class ModelNotFound(ClientError):
    code, number, status = "LLM_MODEL_NOT_FOUND", 1802, 404


class ChatNotFound(ClientError):
    code, number, status = "CHAT_NOT_FOUND", 1401, 404


class MessageNotFound(ClientError):
    code, number, status = "MESSAGE_NOT_FOUND", 1402, 404


class DocumentNotFound(ClientError):
    code, number, status = "DOCUMENT_NOT_FOUND", 1301, 404


class DocumentQuotaExceeded(ClientError):
    code, number, status = "DOCUMENT_QUOTA_EXCEEDED", 1302, 403


class DocumentNameConflict(ClientError):
    code, number, status = "DOCUMENT_NAME_CONFLICT", 1307, 409


class ApiKeyNotFound(ClientError):
    code, number, status = "API_KEY_NOT_FOUND", 1205, 404


class SubscriptionLimitReached(ClientError):
    code, number, status = "SUBSCRIPTION_LIMIT_REACHED", 1004, 403
