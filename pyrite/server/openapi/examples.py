"""What the description of the API shows as an example."""

from __future__ import annotations

TEXT = {
    "title": "Backups",
    "type": "note",
    "summary": "How long copies are kept",
    "tags": ["ops"],
    "body": "We keep copies for thirty days.\n",
    "fields": {"owner": "Kim"},
}

LISTED = {
    "kb": "notes",
    "id": "ops/backups",
    "type": "note",
    "title": "Backups",
    "summary": "How long copies are kept",
    "tags": ["ops"],
    "fields": {"owner": "Kim"},
    "revision": 17,
    "updated_at": 1795370000.0,
    "embedding": "done",
}

ENTRY = LISTED | {"body": "We keep copies for thirty days.\n"}

WRITTEN = {
    "kb": "notes",
    "id": "ops/backups",
    "revision": 18,
    "changed": True,
    "embedding": "pending",
}

_PASSAGE = {
    "headings": [],
    "start": 0,
    "end": 32,
    "text": "We keep copies for thirty days.",
    "highlights": [[3, 7]],
}

_PENDING = {"pending": 0, "failed": 0, "oldest_pending_age_s": None}

SEARCH = {
    "query": "how long do we keep backups?",
    "mode": "hybrid",
    "hits": [
        {
            "kb": "notes",
            "id": "ops/backups",
            "title": "Backups",
            "type": "note",
            "tags": ["ops"],
            "score": 0.0328,
            "scores": {
                "keyword": 1.2,
                "keyword_rank": 1,
                "semantic": 0.71,
                "semantic_rank": 1,
            },
            "passage": _PASSAGE,
            "freshness": "fresh",
            "revision": 17,
        }
    ],
    "more": False,
    "freshness": _PENDING,
    "waited": None,
    "warning": None,
}

DANGLING = {
    "kb": "notes",
    "id": "ops/backups",
    "kind": "wiki",
    "target": "ops/nowhere",
    "fragment": "",
    "shown": "",
    "line": 12,
}

LINKS = {
    "kb": "notes",
    "id": "ops/backups",
    "links": [
        {
            "kind": "wiki",
            "target": "restore",
            "fragment": "Rehearsing",
            "shown": "",
            "line": 9,
            "state": "resolved",
            "leads_to": ["ops/restore"],
        }
    ],
    "backlinks": [
        {
            "id": "ops/restore",
            "kind": "markdown",
            "target": "backups.md",
            "fragment": "",
            "shown": "",
            "line": 7,
            "state": "resolved",
            "leads_to": ["ops/backups"],
        }
    ],
}

RELATED = {
    "kb": "notes",
    "id": "ops/backups",
    "embedded": "fresh",
    "hits": [
        {
            "kb": "notes",
            "id": "ops/restore",
            "title": "Restoring",
            "score": 0.64,
            "passage": _PASSAGE | {"highlights": []},
            "freshness": "fresh",
        }
    ],
    "freshness": _PENDING,
}

JOB = {
    "id": "9f2c4e61a7b3d058",
    "kind": "sync",
    "kb": "notes",
    "state": "running",
    "done": 200,
    "total": 1200,
    "result": None,
    "error": None,
    "created_at": 1795370000.0,
    "updated_at": 1795370001.5,
}

EMBED_STATUS = {
    "pending": 12,
    "processing": 10,
    "done": 978,
    "failed": 0,
    "total": 1000,
    "coverage": 0.978,
    "oldest_pending_age_s": 1.2,
    "last_error": None,
    "model": "all-MiniLM-L6-v2",
    "worker": {
        "worker_id": "5b1e0c9d2f7a4836",
        "pid": 4242,
        "host": "example",
        "process_started": None,
        "started_at": 1795360000.0,
        "heartbeat_at": 1795370001.0,
        "state": "running",
        "reason": None,
        "model": "all-MiniLM-L6-v2",
        "tokens_per_s": 9800.0,
        "characters_per_s": 41000.0,
        "kb": None,
    },
    "tokens_per_s": 9800.0,
    "time_left_s": 0.4,
}

FAILURE = {
    "kb": "notes",
    "id": "ops/odd",
    "revision": 12,
    "error": "the model refused this text",
    "attempts": 3,
    "failed_at": 1795369000.0,
}
