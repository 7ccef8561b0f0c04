"""Tools that change nothing."""

from __future__ import annotations

from dataclasses import asdict, replace

from mcp.server.mcpserver.exceptions import ToolError

from pyrite.auth.tokens import Tier
from pyrite.embedding.service import status_dict
from pyrite.mcp import advice, views
from pyrite.mcp import parameters as given
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import About, ToolExecutor
from pyrite.mcp.models import (
    EntryPage,
    EntryText,
    FailureInfo,
    FailureList,
    KnowledgeBaseInfo,
    KnowledgeBaseList,
    LinksAnswer,
    RelatedAnswer,
    SearchAnswer,
    StatusAnswer,
)
from pyrite.search.query import Mode, SearchRequest


class Reading:
    """Finding and reading entries."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("List knowledge bases", Tier.READ)
    async def kb_list(self) -> KnowledgeBaseList:
        """List the knowledge bases, with how many entries each has and can be found by meaning."""
        return await self._executor.run_sync(self._kb_list)

    def _kb_list(self) -> KnowledgeBaseList:
        executor = self._executor
        rows = [(kb, executor.embedding.counts(kb.name)) for kb in executor.kbs.kbs()]
        return KnowledgeBaseList(
            kbs=[
                KnowledgeBaseInfo(
                    name=kb.name,
                    entries=counts.total,
                    embedded=counts.done,
                    pending=counts.unfinished,
                    failed=counts.failed,
                    path=kb.path if executor.local else None,
                )
                for kb, counts in rows
            ]
        )

    @tool("Search", Tier.READ)
    async def search(
        self,
        query: given.Query,
        kb: given.SomeKBs = None,
        mode: given.Mode = "hybrid",
        limit: given.Limit = 10,
        offset: given.Offset = 0,
        type: given.OnlyType = None,
        tags: given.OnlyTags = None,
        since: given.Since = None,
        until: given.Until = None,
        fields: given.OnlyFields = None,
        wait_for: given.WaitFor = None,
        timeout: given.Timeout = 10.0,  # noqa: ASYNC109 - the service's own
    ) -> SearchAnswer:
        """Find entries by meaning and by words; each hit is an excerpt of its best passage.

        Read more of a hit with entry_get, from start=passage.start. `freshness` counts entries
        that a search by meaning cannot see yet; they are found by their words.
        """
        executor = self._executor

        def asked() -> SearchRequest:
            request = SearchRequest(
                query=query,
                mode=Mode(mode),
                filters=given.filters(executor.only(kb), type, tags, since, until, fields),
                limit=limit,
                offset=offset,
            )
            request.check()
            return request

        request = await executor.run_sync(asked)
        waited = None
        if wait_for is not None and request.mode is not Mode.KEYWORD:
            waited = await executor.wait(wait_for, timeout)
        result = await executor.run_search(lambda: executor.search.search(request))
        return views.search_answer(replace(result, waited=waited), executor.redacted)

    @tool("Read an entry", Tier.READ)
    async def entry_get(
        self,
        id: given.Id,
        kb: given.KB = None,
        heading: given.Heading = None,
        start: given.Start = 0,
        max_characters: given.Characters = given.USUAL_CHARACTERS,
    ) -> EntryText:
        """Read an entry: its front matter and its body, whole or in part.

        Of a long body, this gives the beginning and the headings; read on with start, or give
        the heading of a section.
        """

        def run() -> EntryText:
            stored = self._executor.kbs.get_entry(about.kb, id)
            body = stored.entry.body
            first, end = start, len(body)
            if heading is not None:
                found = views.section(body, heading)
                if found is None:
                    titles = [each.title for each in views.headings(body)]
                    raise ToolError(advice.no_such_heading(heading, titles))
                first, end = max(start, found[0]), max(start, found[1])
            return views.entry_text(stored, first, end, max_characters)

        about = About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), id)
        return await self._executor.run_sync(run, about)

    @tool("List entries", Tier.READ)
    async def entry_list(
        self,
        kb: given.SomeKBs = None,
        type: given.OnlyType = None,
        tags: given.OnlyTags = None,
        since: given.Since = None,
        until: given.Until = None,
        fields: given.OnlyFields = None,
        limit: given.Limit = 50,
        offset: given.AnyOffset = 0,
    ) -> EntryPage:
        """List entries by knowledge base and id, without their bodies."""

        def run() -> EntryPage:
            filters = given.filters(self._executor.only(kb), type, tags, since, until, fields)
            found = self._executor.kbs.list_entries(filters, limit=limit + 1, offset=offset)
            page = [views.entry_info(stored) for stored in found[:limit]]
            return EntryPage(entries=page, more=len(found) > limit)

        return await self._executor.run_sync(run)

    @tool("Find related entries", Tier.READ)
    async def related(
        self,
        id: given.Id,
        kb: given.KB = None,
        limit: given.Limit = 10,
        kbs: given.OnlyKBs = None,
        type: given.OnlyType = None,
        tags: given.OnlyTags = None,
        since: given.Since = None,
        until: given.Until = None,
        fields: given.OnlyFields = None,
    ) -> RelatedAnswer:
        """Find the entries that are about the same as an entry, nearest first."""

        def run() -> RelatedAnswer:
            # Imported only here: it brings numpy, which a session without it does not need.
            from pyrite.search.related import related  # noqa: PLC0415

            executor = self._executor
            filters = given.filters(executor.only(kbs), type, tags, since, until, fields)
            executor.kbs.get_entry(about.kb, id)
            near = executor.search.nearest_entries()
            return views.related_answer(
                related(executor.storage, near, (about.kb, id), filters, limit)
            )

        about = About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), id)
        return await self._executor.run_search(run, about)

    @tool("List links", Tier.READ)
    async def links(
        self,
        id: given.SomeId = None,
        kb: given.KB = None,
        limit: given.Limit = 50,
        offset: given.AnyOffset = 0,
    ) -> LinksAnswer:
        """Say what an entry links to and what links to it, each with its line.

        Without an id, list the links that lead nowhere: those of one knowledge base, or of all.
        """

        def dangling() -> LinksAnswer:
            executor = self._executor
            service, names = executor.services.links, executor.only(kb) or executor.kb_names()
            found = service.dangling(names, limit=limit + 1, offset=offset)
            return views.links_answer(found, [], limit, 0)

        def both(about: About) -> LinksAnswer:
            found = self._executor.services.links.of(
                about.kb, about.id, limit=limit + 1, offset=offset
            )
            return views.links_answer(found.links, found.backlinks, limit, 0)

        if id is None:
            return await self._executor.run_sync(dangling)
        about = About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), id)
        return await self._executor.run_sync(lambda: both(about), about)

    @tool("Embedding status", Tier.READ)
    async def embed_status(self, kb: given.OnlyKB = None) -> StatusAnswer:
        """Say how many entries can be found by meaning, what waits, and whether a worker runs."""

        def run() -> StatusAnswer:
            only = next(iter(self._executor.only(kb)), None)
            return StatusAnswer.model_validate(status_dict(self._executor.embedding.status(only)))

        return await self._executor.run_sync(run)

    @tool("List failures", Tier.READ)
    async def embed_failures(self, kb: given.OnlyKB = None, limit: given.Limit = 50) -> FailureList:
        """List the entries that could not be embedded, newest first, with the reason of each."""

        def run() -> FailureList:
            only = next(iter(self._executor.only(kb)), None)
            found = self._executor.embedding.failures(only, limit + 1)
            rows = [asdict(failure) for failure in found[:limit]]
            for row in rows:
                row["id"] = row.pop("entry_id")
                row["error"] = self._executor.redacted(row["error"])
            failures = [FailureInfo(**row) for row in rows]
            return FailureList(failures=failures, more=len(found) > limit)

        return await self._executor.run_sync(run)
