"""Edits made from a whole entry (PUT) or a JSON merge patch (PATCH); pure functions.

Either becomes an :class:`Edit`, so that what an entry has already keeps its bytes in the file:
comments, order and quoting of the front matter included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyrite.markdown.entry import JSON, OWN_FIELDS, Entry, check_extra, from_front_matter
from pyrite.vault.entry_files import Draft, Edit, Editor


def replacing(draft: Draft) -> Editor:
    """The edit that makes an entry what a draft says; what the draft lacks is removed."""

    def edit(present: Entry) -> Edit:
        check_extra(draft.fields)
        wanted: dict[str, JSON] = {
            "title": draft.title,
            "type": draft.type,
            "summary": draft.summary,
            "tags": list(draft.tags),
        }
        changes: dict[str, JSON] = {name: value for name, value in wanted.items() if value}
        removals = {name for name, value in wanted.items() if not value}
        # A title that comes from the body's heading, or from the id, is not written down.
        derived = from_front_matter(present.id, {}, draft.body).title
        if draft.title == present.title == derived:
            del changes["title"]
        changes.update(draft.fields)
        removals.update(present.fields.keys() - draft.fields.keys())
        return Edit(changes, sorted(removals), draft.body)

    return edit


def merging(patch: Mapping[str, Any]) -> Editor:
    """The edit that a JSON merge patch (RFC 7396) of an entry's JSON comes to.

    Args:
        patch: any of `title`, `type`, `summary`, `tags`, `body` and `fields`, of their types;
            null removes a field, and so it does inside `fields`.
    """

    def edit(present: Entry) -> Edit:
        changes: dict[str, JSON] = {}
        removals: list[str] = []
        for name in sorted(OWN_FIELDS & patch.keys()):
            if patch[name]:
                changes[name] = patch[name]
            else:
                removals.append(name)
        fields = patch.get("fields", {})
        if fields is None:
            removals += sorted(present.fields)
        else:
            check_extra(fields)
            for name, value in fields.items():
                if value is None:
                    removals.append(name)
                else:
                    changes[name] = merged(present.fields.get(name), value)
        body = (patch["body"] or "") if "body" in patch else None
        return Edit(changes, removals, body)

    return edit


def merged(target: JSON, patch: JSON) -> JSON:
    """A JSON value with a merge patch made to it (RFC 7396, section 2)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
