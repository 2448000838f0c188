"""``aperag quotas``: what a user may own, as an administrator sees and changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

Aperag = Any

TYPES = ["max_collection_count", "max_document_count", "max_document_count_per_collection", "max_bot_count"]


def limits(shown: dict[str, Any]) -> dict[str, int]:
    return {quota["quota_type"]: quota["quota_limit"] for quota in shown["quotas"]}


def test_limits_of_a_user_are_shown_set_and_taken_back(aperag: Aperag) -> None:
    own = aperag.json("quotas", "show")
    assert sorted(limits(own)) == sorted(TYPES)
    assert "max_document_count" in aperag("quotas", "show").stdout
    changed = aperag.json("quotas", "set", own["username"], "--documents", "5000", "--bots", "9")
    assert [(it["quota_type"], it["new_limit"]) for it in changed["updated_quotas"]] == [
        ("max_document_count", 5000),
        ("max_bot_count", 9),
    ]
    assert limits(aperag.json("quotas", "show", own["user_id"]))["max_document_count"] == 5000
    aperag.json("quotas", "set", own["user_id"], "--default")
    assert limits(aperag.json("quotas", "show")) == aperag.json("quotas", "defaults")


def test_defaults_are_shown_and_changed(aperag: Aperag) -> None:
    before = aperag.json("quotas", "defaults")
    assert sorted(before) == sorted(TYPES)
    changed = aperag.json("quotas", "defaults", "--bots", str(before["max_bot_count"] + 1))
    assert changed == {**before, "max_bot_count": before["max_bot_count"] + 1}
    assert aperag.json("quotas", "defaults") == changed


def test_a_refused_upload_says_what_an_administrator_does(aperag: Aperag, tmp_path: Path) -> None:
    own = aperag.json("quotas", "show")
    used = next(it["current_usage"] for it in own["quotas"] if it["quota_type"] == "max_document_count")
    collection = aperag.json("collections", "create", "Quotas")["id"]
    (tmp_path / "tea.txt").write_text("Tea.", encoding="utf-8")
    aperag.json("quotas", "set", own["user_id"], "--documents", str(used))
    try:
        refused = aperag("documents", "upload", collection, str(tmp_path / "tea.txt"))
        assert refused.exit_code != Exit.OK
        assert f"aperag quotas set {own['user_id']} --documents NUMBER" in " ".join(refused.output.split())
    finally:
        aperag.json("quotas", "set", own["user_id"], "--default")


def test_what_names_nothing_is_refused(aperag: Aperag) -> None:
    assert aperag("quotas", "show", "nobody-of-this-name").exit_code == Exit.NOT_FOUND
    assert aperag("quotas", "set", "admin").exit_code == Exit.USAGE
    assert aperag("quotas", "set", "admin", "--documents", "-1").exit_code == Exit.USAGE
    assert aperag("quotas", "set", "admin", "--documents", "1", "--default").exit_code == Exit.USAGE
