"""The object store: documents' bytes and what was made of them."""

from aperag_common.objects.local import LocalObjectStore
from aperag_common.objects.port import (
    InvalidObjectPath,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    ObjectTooLarge,
    StoredObject,
)

__all__ = [
    "InvalidObjectPath",
    "LocalObjectStore",
    "ObjectInfo",
    "ObjectMissing",
    "ObjectStore",
    "ObjectTooLarge",
    "StoredObject",
]
