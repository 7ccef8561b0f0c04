"""Tools that change entries. What they wrote stands, whatever becomes of its embedding."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, JsonValue, SkipValidation

from pyrite.auth.tokens import Tier
from pyrite.knowledge.service import WriteResult
from pyrite.markdown.entry import DEFAULT_TYPE, Entry, check_extra
from pyrite.markdown.ids import slug
from pyrite.mcp import parameters as given
from pyrite.mcp import views
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import About, ToolExecutor
from pyrite.mcp.models import Deleted, Written
from pyrite.vault.entry_files import Draft, Edit


class Writing:
    """Creating, changing and deleting entries."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("Create an entry", Tier.WRITE)
    async def entry_create(
        self,
        title: Annotated[str, Field(min_length=1, max_length=1000, description="Its title.")],
        body: Annotated[str, Field(description="The text, in Markdown.")] = "",
        kb: given.KB = None,
        id: Annotated[
            str | None,
            Field(
                max_length=1000,
                description="Its path in the folder, without `.md`; else made from the title.",
            ),
        ] = None,
        type: Annotated[
            str, Field(max_length=1000, description="What kind of entry it is.")
        ] = DEFAULT_TYPE,
        summary: given.Summary = None,
        tags: Annotated[list[str] | None, Field(max_length=100, description="Its tags.")] = None,
        fields: given.Fields = None,
    ) -> Written:
        """Create an entry as a Markdown file; refuses if the id is taken.

        Search first: what you are about to write may be there already.
        """
        draft = Draft(
            title=title,
            id=id,
            type=type,
            summary=summary or "",
            tags=tuple(tags or ()),
            body=body,
            fields=fields or {},
        )
        name = await self._executor.run_sync(lambda: self._executor.kb_named(kb))
        about = About(name, slug(title) if id is None else id)
        result = await self._executor.run_sync(
            lambda: self._executor.kbs.create_entry(name, draft), about
        )
        return await self._answer(result)

    @tool("Change an entry", Tier.WRITE, destructive=True)
    async def entry_update(
        self,
        id: given.Id,
        kb: given.KB = None,
        title: Annotated[str | None, Field(max_length=1000, description="A new title.")] = None,
        body: Annotated[
            str | None, Field(description="A new text, in place of the whole present one.")
        ] = None,
        append: Annotated[
            str | None, Field(description="Markdown to add at the end of the present text.")
        ] = None,
        type: Annotated[str | None, Field(max_length=1000, description="A new type.")] = None,
        summary: given.Summary = None,
        tags: Annotated[
            list[str] | None, Field(max_length=100, description="All tags it is to have.")
        ] = None,
        fields: Annotated[
            dict[str, SkipValidation[JsonValue]] | None,
            Field(description="Front-matter fields to set, and with null those to remove."),
        ] = None,
        if_revision: given.IfRevision = None,
    ) -> Written:
        """Change an entry; what is not given stays as it is, byte for byte.

        Give if_revision, the revision that you have read, so that nobody's change is lost.
        """
        if body is not None and append is not None:
            raise ToolError("give either body, which replaces the text, or append")
        wanted = fields or {}
        extra = {name: value for name, value in wanted.items() if value is not None}
        own: dict[str, Any] = {"title": title, "type": type, "summary": summary, "tags": tags}
        changes = extra | {name: value for name, value in own.items() if value is not None}
        removals = [name for name, value in wanted.items() if value is None]
        if not (changes or removals) and body is None and append is None:
            raise ToolError("say what to change: title, body, append, type, summary, tags, fields")

        def edit(entry: Entry) -> Edit:
            check_extra(extra)
            text = body if append is None else joined(entry.body, append)
            return Edit(changes, removals, text)

        def run() -> WriteResult:
            kbs = self._executor.kbs
            return kbs.update_entry(about.kb, id, edit, expected_revision=if_revision)

        about = About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), id)
        return await self._answer(await self._executor.run_sync(run, about))

    @tool("Delete an entry", Tier.WRITE, destructive=True)
    async def entry_delete(
        self, id: given.Id, kb: given.KB = None, if_revision: given.IfRevision = None
    ) -> Deleted:
        """Delete an entry and its file. Only git or a backup brings it back."""

        def run() -> Deleted:
            self._executor.kbs.delete_entry(about.kb, id, expected_revision=if_revision)
            return Deleted(kb=about.kb, id=id, deleted=True)

        about = About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), id)
        return await self._executor.run_sync(run, about)

    async def _answer(self, result: WriteResult) -> Written:
        outcome = await self._executor.after([(result.kb, result.id)])
        return views.written(result, outcome, self._executor.redacted)


def joined(body: str, more: str) -> str:
    """A text with more after it, as a paragraph of its own."""
    before = body.rstrip("\n")
    return f"{before}\n\n{more}" if before else more
