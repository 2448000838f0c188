"""A collection's embedding model from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)

LOCAL = "local/use-multilingual-v3"


def test_a_collection_says_which_model_it_is_found_with(aperag: Aperag, collection: str) -> None:
    told = aperag.json("collections", "embedding", collection)
    assert (told["embedding_model"], told["embedding_switch"]) == (LOCAL, None)
    shown = aperag("collections", "embedding", collection)
    assert (shown.exit_code, LOCAL in shown.stdout) == (Exit.OK, True)


def test_the_model_that_is_there_may_be_named(aperag: Aperag, collection: str) -> None:
    before = aperag.json("collections", "show", collection)
    told = aperag.json("collections", "embedding", collection, LOCAL)
    assert (told["embedding_model"], told["embedding_switch"]) == (LOCAL, None)
    after = aperag.json("collections", "show", collection)
    assert after["config"].pop("embedding")["model"] == "use-multilingual-v3"
    assert before["config"].pop("embedding") is None
    assert after["config"] == before["config"]


@pytest.mark.parametrize("named", [LOCAL, "fast"])
def test_a_collection_is_made_with_the_model_that_was_named(aperag: Aperag, named: str) -> None:
    made = aperag.json("collections", "create", "Local", "--embedding", named)
    assert made["embedding_model"] == LOCAL
    aperag("collections", "delete", made["id"], "--yes")


@pytest.mark.parametrize("named", ["local", "/model", "provider/", ""])
def test_half_a_name_is_refused_before_anything_is_asked(aperag: Aperag, collection: str, named: str) -> None:
    for arguments in (("create", "Half", "--embedding", named), ("embedding", collection, named)):
        ended = aperag("collections", *arguments)
        assert ended.exit_code == Exit.USAGE
        assert "PROVIDER/MODEL" in ended.stderr


def test_a_provider_that_is_not_there_changes_nothing(aperag: Aperag, collection: str) -> None:
    ended = aperag("collections", "embedding", collection, "nowhere/model")
    assert ended.exit_code == Exit.FAILED
    assert "nowhere" in ended.stderr
    assert aperag.json("collections", "embedding", collection)["embedding_switch"] is None
