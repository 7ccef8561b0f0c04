"""Tools that change nothing."""

from __future__ import annotations

from dataclasses import replace

from mcp.server.mcpserver.exceptions import ToolError

from pyrite.api import entries, found, index, kbs
from pyrite.api import tool_parameters as parameters
from pyrite.api.parameters import KBParameter
from pyrite.auth.tokens import Tier
from pyrite.mcp import advice, body
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import About, ToolExecutor, uri_of
from pyrite.search.query import Mode, SearchRequest
from pyrite.storage.records import StoredEntry


class Reading:
    """Finding and reading entries."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("List knowledge bases", Tier.READ)
    async def kb_list(self) -> kbs.KBs:
        """List the knowledge bases, with how many entries each has and can be found by meaning."""
        executor = self._executor

        def run() -> kbs.KBs:
            known = executor.kbs.kbs()
            return kbs.KBs(
                kbs=[
                    kbs.kb(each, executor.kbs, executor.embedding, local=executor.local)
                    for each in known
                ]
            )

        return await executor.run_sync(run)

    @tool("Search", Tier.READ)
    async def search(self, given: parameters.Search) -> found.SearchResult:
        """Find entries by meaning and by words; each hit is an excerpt of its best passage.

        Read more of a hit with entry_get, from start=passage.start. `freshness` counts entries
        that a search by meaning cannot see yet; they are found by their words.
        """
        executor = self._executor

        def checked() -> SearchRequest:
            return given.request(executor.only(given.kb))

        request = await executor.run_sync(checked)
        waited = None
        if request.wait_for is not None and request.mode is not Mode.KEYWORD:
            waited = await executor.wait(request.wait_for, request.timeout_s)
        request = replace(request, wait_for=None)
        result = await executor.run_search(lambda: executor.search.search(request))
        return found.search_result(replace(result, waited=waited), executor.redacted)

    @tool("Read an entry", Tier.READ)
    async def entry_get(self, given: parameters.Reading) -> entries.EntryPart:
        """Read an entry: its front matter and its body, whole or in part.

        Of a long body, this gives the beginning and the headings; read on with start, or give
        the heading of a section.
        """

        def run() -> entries.EntryPart:
            stored = self._executor.kbs.get_entry(about.kb, given.id)
            text = stored.entry.body
            start, end = given.start, len(text)
            if given.heading is not None:
                section = body.section(text, given.heading)
                if section is None:
                    titles = [each.title for each in body.headings(text)]
                    raise ToolError(advice.no_such_heading(given.heading, titles))
                start, end = max(start, section[0]), max(start, section[1])
            start, end = body.cut(text, start, end, given.max_characters)
            return entries.part(stored, start, end, body.headings(text), _uri(stored))

        about = await self._about(given.id, given.kb)
        return await self._executor.run_sync(run, about)

    async def _about(self, entry_id: str, kb: str | None) -> About:
        """Which entry is meant, its knowledge base named or the only one there is."""
        return About(await self._executor.run_sync(lambda: self._executor.kb_named(kb)), entry_id)

    @tool("List entries", Tier.READ)
    async def entry_list(self, given: parameters.Listing) -> entries.Entries:
        """List entries by knowledge base and id, without their bodies."""

        def run() -> entries.Entries:
            filters = given.filters(self._executor.only(given.kb))
            rows = self._executor.kbs.list_entries(
                filters, limit=given.limit + 1, offset=given.offset
            )
            listed = [entries.listed(stored, uri=_uri(stored)) for stored in rows]
            return entries.page(listed, given.limit)

        return await self._executor.run_sync(run)

    @tool("Find related entries", Tier.READ)
    async def related(self, given: parameters.Related) -> found.RelatedResult:
        """Find the entries that are about the same as an entry, nearest first."""

        def run() -> found.RelatedResult:
            # Imported only here: it brings numpy, which a session without it does not need.
            from pyrite.search.related import related  # noqa: PLC0415

            executor = self._executor
            filters = given.filters(executor.only(given.kbs))
            executor.kbs.get_entry(about.kb, about.id)
            near = executor.search.nearest_entries()
            key = about.kb, about.id
            return found.related_result(related(executor.storage, near, key, filters, given.limit))

        about = await self._about(given.id, given.kb)
        return await self._executor.run_search(run, about)

    @tool("List links", Tier.READ)
    async def links(self, given: parameters.Linking) -> found.Links | found.DanglingLinks:
        """Say what an entry links to and what links to it, each with its line.

        Without an id, list the links that lead nowhere: those of one knowledge base, or of all.
        """
        limit, offset = given.limit, given.offset

        def dangling() -> found.DanglingLinks:
            names = self._executor.only(given.kb) or self._executor.kb_names()
            rows = self._executor.services.links.dangling(names, limit=limit + 1, offset=offset)
            return found.dangling_links(rows, limit)

        def both(about: About) -> found.Links:
            links = self._executor.services.links
            page = links.of(about.kb, about.id, limit=limit + 1, offset=offset)
            return found.links_page(found.links(page), limit)

        if given.id is None:
            return await self._executor.run_sync(dangling)
        about = await self._about(given.id, given.kb)
        return await self._executor.run_sync(lambda: both(about), about)

    @tool("Embedding status", Tier.READ)
    async def embed_status(self, given: KBParameter) -> index.EmbedStatus:
        """Say how many entries can be found by meaning, what waits, and whether a worker runs."""

        def run() -> index.EmbedStatus:
            only = next(iter(self._executor.only(given.kb)), None)
            return index.embed_status(self._executor.embedding.status(only))

        return await self._executor.run_sync(run)

    @tool("List failures", Tier.READ)
    async def embed_failures(self, given: parameters.Failures) -> index.Failures:
        """List the entries that could not be embedded, newest first, with the reason of each."""

        def run() -> index.Failures:
            only = next(iter(self._executor.only(given.kb)), None)
            rows = self._executor.embedding.failures(only, given.limit + 1)
            return index.failures(rows, self._executor.redacted, given.limit)

        return await self._executor.run_sync(run)


def _uri(stored: StoredEntry) -> str:
    return uri_of(stored.kb, stored.entry.id)
