"""Keeps the run from sawing off its own branch: its key is the one thing that it must neither delete nor change."""

from __future__ import annotations

import os
from typing import Any

import schemathesis

OWN_KEY = os.environ["APERAG_FUZZ_KEY_ID"]
ANOTHER = "keyunknown"


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case, __: Any) -> None:
    if (case.path_parameters or {}).get("key_id") == OWN_KEY:
        case.path_parameters = {**case.path_parameters, "key_id": ANOTHER}
