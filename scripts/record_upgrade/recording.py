"""What is recorded: users, collections, documents and chats, some at rest, some with open work of every kind."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stack import END_WAITERS, wait

if TYPE_CHECKING:
    import httpx
    from stack import Stack

BACKLOG = 18
"""More than one owner may have in flight, so that some commands are not published yet."""

ENGLISH = "# Returns\n\nGoods can be returned within thirty days. Keep the receipt; the warehouse checks the seal.\n"
KOREAN = "# 보증\n\n제품 보증 기간은 구입일로부터 이 년입니다. 영수증을 보관해 주세요.\n"
CHINESE = "# 运费\n\n订单满二百元免运费。偏远地区需要另付十五元。\n"
PASSWORD = "correct horse battery staple"  # noqa: S105  of users that exist in a recording only
BOTH = {"index_types": ["VECTOR", "FULLTEXT"]}

TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
CHAT_FILES = "SELECT 1 FROM information_schema.columns WHERE table_name = 'document' AND column_name = 'chat_id'"
ENDED = "SELECT id FROM document WHERE status IN ('COMPLETE', 'FAILED')"
SUMMARIZED = "SELECT id FROM collection_summary WHERE status = 'ACTIVE' AND summary <> ''"
HELD = "SELECT s.kind, s.status FROM document_step s JOIN document d ON d.id = s.document_id WHERE d.name LIKE 'held-%'"
WORKED_ON = f"{HELD} AND s.status = 'CREATING'"
FAILED_ONCE = f"{HELD} AND s.failures = 1"
RETRIED = f"{WORKED_ON} AND s.attempt > 1"
LEASED_PARSE = f"{HELD.replace('held-%', 'leased.md')} AND s.lease_token IS NOT NULL"
UNBUILT = {"parse": {"ACTIVE"}, "vector": {"CREATING", "PENDING"}, "fulltext": {"CREATING", "PENDING"}}


class Recording:
    """``documents``, ``collections`` and ``users`` tell what must have become of each once an upgraded stack is at rest.

    None stands for gone. ``roles`` tells what each is there for.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.has = {row["table_name"] for row in stack.rows(TABLES)}
        self.roles: dict[str, str] = {}
        self.documents: dict[str, str | None] = {}
        self.collections: dict[str, str | None] = {}
        self.users: dict[str, str | None] = {row["id"]: "ACTIVE" for row in stack.rows("SELECT id FROM users")}

    def record(self) -> None:
        """First what comes to rest, then what stays open; each step stops one more process."""
        kept, doomed = self.collection("Handbooks", "ACTIVE"), self.collection("Old handbooks", None)
        self.kept, self.doomed = kept, doomed
        done = self.at_rest()
        self.search()
        summarized, leaving, asking = self.summaries(), self.people(), self.chats()
        self.leased()
        if "agent" in self.stack.services():
            self.stack.process("agent").suspend()
        self.pending(rebuilt=done["rebuilt"], summarized=summarized)
        self.stack.process("reconciler").suspend()
        self.deletes(done["deleted"])
        self.backlog()
        self.call("DELETE", f"/collections/{doomed}")
        if asking is not None:
            self.ask(*asking)
        if leaving is not None:
            self.call("DELETE", f"/users/{leaving}")
        time.sleep(2)  # for the gateway to publish the commands
        self.stack.stop_nats()
        self.upload("pending, backlog while NATS is down", "COMPLETE", "late.md", f"{ENGLISH}\nNATS was down.\n")
        self.call("DELETE", f"/collections/{kept}/documents/{done['lost']}")

    def at_rest(self) -> dict[str, str]:
        self.upload("complete, English", "COMPLETE", "returns.md", ENGLISH)
        self.upload("complete, Korean", "COMPLETE", "보증.md", KOREAN)
        self.upload("unsupported, a dead letter", "FAILED", "archive.zip", b"PK\x03\x04 no archive")
        purged = "complete, in a collection whose purge is open"
        self.upload(purged, None, "returns.md", ENGLISH, into=self.doomed)
        lost = "complete, its delete was published never"
        made = {
            "rebuilt": self.upload("complete, Chinese, a rebuild is open", "COMPLETE", "运费.md", CHINESE),
            "deleted": self.upload("complete, its delete is open", None, "old.md", f"{ENGLISH}Of last year.\n"),
            "lost": self.upload(lost, None, "older.md", f"{ENGLISH}Of long ago.\n"),
        }
        self.ended()
        return made

    def search(self) -> None:
        body = {"query": "returned goods", "fulltext_search": {}}
        self.call("POST", f"/collections/{self.kept}/searches", json=body)

    def summaries(self) -> str | None:
        """Two collections with a summary; the one whose next summary stays open."""
        if "collection_summary" not in self.has:
            return None
        made = [self.collection(title, "ACTIVE", enable_summary=True) for title in ("Summarized", "Summary complete")]
        for collection in made:
            self.upload("complete, in a summarized collection", "COMPLETE", "보증.md", KOREAN, into=collection)
        self.ended()
        for collection in made:
            self.call("POST", f"/collections/{collection}/summary/generate")
        wait("the summaries", lambda: len(self.stack.rows(SUMMARIZED)) == len(made))
        return made[0]

    def people(self) -> str | None:
        """One who stays and one who is deleted, each with a collection; the latter's id."""
        if "user_purge" not in self.has:
            return None
        leaving = None
        for name, ends in (("kim", "ACTIVE"), ("lee", None)):
            user = self.call("POST", "/register", json={"username": name, "password": PASSWORD})
            self.users[user["id"]], self.roles[user["id"]] = ends, f"user {name}"
            theirs = self.stack.client(user["api_key"])
            own = self.collection(f"Of {name}", ends, by=theirs)
            self.upload(f"complete, of {name}", ends and "COMPLETE", "returns.md", ENGLISH, into=own, by=theirs)
            leaving = user["id"]
        self.ended()
        return leaving

    def chats(self) -> tuple[str, str] | None:
        """A chat with an answered turn; its bot and its id."""
        if "turn" not in self.has:
            return None
        bot = self.call("GET", "/bots")["items"][-1]["id"]
        chat = self.call("POST", f"/bots/{bot}/chats", json={"title": "Returns"})["id"]
        question = {"query": "How long can I return goods?", "collections": [{"id": self.kept}]}
        turn = self.call("POST", f"/bots/{bot}/chats/{chat}/turns", json=question)["id"]
        wait("the answer", lambda: self.call("GET", f"/turns/{turn}")["state"] == "answered")
        return bot, chat

    def leased(self) -> None:
        """Documents that an indexer holds when it dies: indexes that wait for a lock, a parse that waits for the pool.

        The indexes have failed before. The one slot is taken by one document, the other one's wait to be tried again.
        """
        indexer = self.stack.process("indexer")
        with self.stack.locked("chunk_vector", "chunk_term"):
            for number in (1, 2):
                self.upload("parsed, its indexes are leased or tried again", "COMPLETE", f"held-{number}.md", ENGLISH)
            wait("the leases", lambda: _by_kind(self.stack.rows(HELD)) == UNBUILT)
            self.stack.rows(END_WAITERS)
            wait("first failures", lambda: len(self.stack.rows(FAILED_ONCE)) == len(self.stack.rows(WORKED_ON)) == 2)
            self.stack.rows(END_WAITERS)
            wait("the second attempts", lambda: len(self.stack.rows(RETRIED)) == 2)
            for child in indexer.children(recursive=True):
                child.suspend()
            self.upload("leased by an indexer that died", "COMPLETE", "leased.md", ENGLISH + CHINESE)
            wait("the lease", lambda: self.stack.rows(LEASED_PARSE))
            indexer.suspend()
            self.stack.rows(END_WAITERS)

    def pending(self, *, rebuilt: str, summarized: str | None) -> None:
        for name, text in (("shipping.md", ENGLISH), ("설명서.md", KOREAN), ("说明.md", CHINESE)):
            self.upload("pending, published", "COMPLETE", name, f"{text}\nNew.\n")
        purged = "pending, in a collection whose purge is open"
        self.upload(purged, None, "new.md", "Comes too late.\n", into=self.doomed)
        self.call("POST", f"/collections/{self.kept}/documents/{rebuilt}/rebuild_indexes", json=BOTH)
        if summarized is not None:
            self.call("POST", f"/collections/{summarized}/summary/generate")

    def deletes(self, complete: str) -> None:
        cancelled = self.upload("pending, cancelled", "FAILED", "cancelled.md", "Never mind.\n")
        unwanted = self.upload("pending, its delete is open", None, "unwanted.md", "Not needed.\n")
        task = self.stack.rows(f"SELECT id FROM workflow WHERE document_id = '{cancelled}'")[0]["id"]
        self.call("POST", f"/tasks/{task}/cancel")
        for document in (complete, unwanted):
            self.call("DELETE", f"/collections/{self.kept}/documents/{document}")

    def backlog(self) -> None:
        for number in range(BACKLOG):
            self.upload("pending, backlog", "COMPLETE", f"note-{number:02}.md", f"Note {number}: the seal is blue.\n")
        files = {"file": ("staged.md", b"Not confirmed.\n")}
        staged = self.call("POST", f"/collections/{self.kept}/documents/upload", files=files)["document_id"]
        self.documents[staged], self.roles[staged] = "UPLOADED", "waits for its confirmation"

    def ask(self, bot: str, chat: str) -> None:
        question = {"query": "How long is the warranty?", "collections": [{"id": self.kept}]}
        self.call("POST", f"/bots/{bot}/chats/{chat}/turns", json=question)
        if self.stack.rows(CHAT_FILES):
            file = self.call("POST", f"/chats/{chat}/documents", files={"file": ("note.md", CHINESE.encode())})["id"]
            self.documents[file], self.roles[file] = "COMPLETE", "pending, a file of a chat"

    def collection(self, title: str, ends: str | None, *, by: httpx.Client | None = None, **config: Any) -> str:
        config = {"language": "en-US", "enable_knowledge_graph": False, **config}
        made: str = self.call("POST", "/collections", by=by, json={"title": title, "config": config})["id"]
        self.collections[made], self.roles[made] = ends, f"collection {title}"
        return made

    def upload(
        self,
        role: str,
        ends: str | None,
        name: str,
        text: str | bytes,
        *,
        into: str | None = None,
        by: httpx.Client | None = None,
    ) -> str:
        files = {"files": (name, text.encode() if isinstance(text, str) else text)}
        answer = self.call("POST", f"/collections/{into or self.kept}/documents", by=by, files=files)
        made: str = answer["items"][0]["id"]
        self.documents[made], self.roles[made] = ends, role
        return made

    def ended(self) -> None:
        """Every document so far has been worked on."""
        wait("the documents", lambda: len(self.stack.rows(ENDED)) == len(self.documents))

    def call(self, method: str, path: str, *, by: httpx.Client | None = None, **options: Any) -> Any:
        answer = (by or self.stack.http).request(method, path, **options)
        if not answer.is_success:
            message = f"{method} {path}: {answer.status_code} {answer.text}"
            raise RuntimeError(message)
        return answer.json() if answer.content else None


def _by_kind(steps: list[dict[str, Any]]) -> dict[str, set[str]]:
    return {kind: {it["status"] for it in steps if it["kind"] == kind} for kind in {it["kind"] for it in steps}}
