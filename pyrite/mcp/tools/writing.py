"""Tools that change entries. What they wrote stands, whatever becomes of its embedding."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from msgspec import UNSET

from pyrite.api.entries import Deleted, Written, written
from pyrite.api.tool_parameters import Creation, Deletion, Update
from pyrite.auth.tokens import Tier
from pyrite.knowledge.service import WriteResult
from pyrite.markdown.entry import Entry, check_extra
from pyrite.markdown.ids import slug
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import About, ToolExecutor, uri_of
from pyrite.vault.entry_files import Edit


class Writing:
    """Creating, changing and deleting entries."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("Create an entry", Tier.WRITE)
    async def entry_create(self, given: Creation) -> Written:
        """Create an entry as a Markdown file; refuses if the id is taken.

        Search first: what you are about to write may be there already.
        """
        draft = given.draft(given.id)
        name = await self._executor.run_sync(lambda: self._executor.kb_named(given.kb))
        about = About(name, slug(given.title) if given.id is None else given.id)
        result = await self._executor.run_sync(
            lambda: self._executor.kbs.create_entry(name, draft), about
        )
        return await self._told(result)

    @tool("Change an entry", Tier.WRITE, destructive=True)
    async def entry_update(self, given: Update) -> Written:
        """Change an entry; what is not given stays as it is, byte for byte.

        Give if_revision, the revision that you have read, so that nobody's change is lost.
        """
        body = None if given.body is UNSET else given.body
        append, wanted = given.append, given.fields or {}
        if body is not None and append is not None:
            raise ToolError("give either body, which replaces the text, or append")
        extra = {name: value for name, value in wanted.items() if value is not None}
        own: dict[str, Any] = {
            "title": given.title,
            "type": given.type,
            "summary": given.summary,
            "tags": given.tags,
        }
        changes = extra | {name: value for name, value in own.items() if value is not UNSET}
        removals = [name for name, value in wanted.items() if value is None]
        if not (changes or removals) and body is None and append is None:
            raise ToolError("say what to change: title, body, append, type, summary, tags, fields")

        def edit(entry: Entry) -> Edit:
            check_extra(extra)
            text = body if append is None else joined(entry.body, append)
            return Edit(changes, removals, text)

        def run() -> WriteResult:
            kbs = self._executor.kbs
            return kbs.update_entry(about.kb, given.id, edit, expected_revision=given.if_revision)

        about = About(
            await self._executor.run_sync(lambda: self._executor.kb_named(given.kb)), given.id
        )
        return await self._told(await self._executor.run_sync(run, about))

    @tool("Delete an entry", Tier.WRITE, destructive=True)
    async def entry_delete(self, given: Deletion) -> Deleted:
        """Delete an entry and its file. Only git or a backup brings it back."""

        def run() -> Deleted:
            kbs = self._executor.kbs
            kbs.delete_entry(about.kb, given.id, expected_revision=given.if_revision)
            return Deleted(kb=about.kb, id=given.id)

        about = About(
            await self._executor.run_sync(lambda: self._executor.kb_named(given.kb)), given.id
        )
        return await self._executor.run_sync(run, about)

    async def _told(self, result: WriteResult) -> Written:
        outcome = await self._executor.after([(result.kb, result.id)])
        warning = None if outcome.warning is None else self._executor.redacted(outcome.warning)
        uri = uri_of(result.kb, result.id)
        return written(result, outcome.embedding, uri=uri, warning=warning)


def joined(body: str, more: str) -> str:
    """A text with more after it, as a paragraph of its own."""
    before = body.rstrip("\n")
    return f"{before}\n\n{more}" if before else more
