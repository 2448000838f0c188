"""The documents of one upload request between their arrival and the transaction that accepts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from aperag_api.knowledge.uploads.names import clean_name, suffix_of
from aperag_common import errors, ids
from aperag_common.objects import ObjectTooLarge, layout
from aperag_work.accepting import NewDocument

if TYPE_CHECKING:
    from types import TracebackType

    from aperag_api.kernel.multipart import MultipartBody, Part
    from aperag_common.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Limits:
    """``document_size`` is in bytes; ``staged`` are documents of one user that wait to be confirmed."""

    document_size: int
    documents: int
    staged: int

    @property
    def request_size(self) -> int:
        """What a legal request can hold at most, and so what is read of an illegal one."""
        return self.documents * self.document_size


@dataclass(slots=True)
class Intake:
    """Bytes are stored before the transaction that accepts them; what it does not keep is removed.

    Where a failure leaves open whether that transaction was committed, the bytes stay: the sweep of objects without
    a row removes them if it was not.
    """

    objects: ObjectStore
    body: MultipartBody
    owner: str
    collection_id: str
    limits: Limits
    chat_id: str | None = None
    received: list[NewDocument] = field(default_factory=list)
    committing: bool = False
    _prefixes: dict[str, str] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        refused = isinstance(exc, errors.ClientError)
        if refused:
            await self.body.drain(self.limits.request_size)
        if exc is None or refused or not self.committing:
            for prefix in self._prefixes.values():
                await self.objects.delete_prefix(prefix)

    async def receive(self, field_name: str, *, at_most: int) -> list[NewDocument]:
        """Store every document of the form's ``field_name``; the first bad one refuses them all."""
        async for part in self.body.parts():
            if part.name == field_name:
                if len(self.received) == at_most:
                    message = f"Too many documents in one request, {at_most} at most; send the others apart"
                    raise errors.InvalidParameter(message)
                self.received.append(await self._store(part))
        return self.received

    def keep(self, document_id: str) -> None:
        self._prefixes.pop(document_id, None)

    async def _store(self, part: Part) -> NewDocument:
        name = clean_name(part.filename)
        suffix = suffix_of(name)
        document_id = ids.new_document_id()
        prefix = layout.document_prefix(self.owner, self.collection_id, document_id)
        self._prefixes[document_id] = prefix
        try:
            path = layout.original(prefix, suffix)
            stored = await self.objects.put(path, part.chunks, limit=self.limits.document_size)
        except ObjectTooLarge as err:
            message = f"{name!r} is larger than the {self.limits.document_size} bytes a document may have"
            raise errors.InvalidParameter(message, details={"max_document_size": self.limits.document_size}) from err
        return NewDocument(
            id=document_id,
            collection_id=self.collection_id,
            owner=self.owner,
            name=name,
            size=stored.size,
            sha256=stored.sha256,
            object_path=stored.path,
            chat_id=self.chat_id,
        )
