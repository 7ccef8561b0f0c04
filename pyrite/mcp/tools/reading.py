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
from pyrite.mcp.desk import About, Desk, uri_of
from pyrite.search.links import LinkService
from pyrite.search.query import Mode, SearchRequest
from pyrite.storage.records import StoredEntry


class Reading:
    """Finding and reading entries."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @tool("List knowledge bases", Tier.READ)
    async def kb_list(self) -> kbs.KBs:
        """List the knowledge bases, with how many entries each has and can be found by meaning."""
        desk = self._desk

        def run() -> kbs.KBs:
            known = desk.kbs.kbs()
            return kbs.KBs(kbs=[kbs.kb(each, desk.embedding, local=desk.local) for each in known])

        return await desk.run_sync(run)

    @tool("Search", Tier.READ)
    async def search(self, given: parameters.Search) -> found.SearchResult:
        """Find entries by meaning and by words; each hit is an excerpt of its best passage.

        Read more of a hit with entry_get, from start=passage.start. `freshness` counts entries
        that a search by meaning cannot see yet; they are found by their words.
        """
        desk = self._desk

        def checked() -> SearchRequest:
            return given.request(desk.only(given.kb))

        request = await desk.run_sync(checked)
        waited = None
        if request.wait_for is not None and request.mode is not Mode.KEYWORD:
            waited = await desk.wait(request.wait_for, request.timeout_s)
        request = replace(request, wait_for=None)
        result = await desk.run_search(lambda: desk.search.search(request))
        return found.search_result(replace(result, waited=waited), desk.told)

    @tool("Read an entry", Tier.READ)
    async def entry_get(self, given: parameters.Reading) -> entries.EntryPart:
        """Read an entry: its front matter and its body, whole or in part.

        Of a long body, this gives the beginning and the headings; read on with start, or give
        the heading of a section.
        """

        def run() -> entries.EntryPart:
            stored = self._desk.kbs.get_entry(about.kb, given.id)
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
        return await self._desk.run_sync(run, about)

    async def _about(self, entry_id: str, kb: str | None) -> About:
        """Which entry is meant, its knowledge base named or the only one there is."""
        return About(await self._desk.run_sync(lambda: self._desk.kb_named(kb)), entry_id)

    @tool("List entries", Tier.READ)
    async def entry_list(self, given: parameters.Listing) -> entries.Entries:
        """List entries by knowledge base and id, without their bodies."""

        def run() -> entries.Entries:
            filters = given.filters(self._desk.only(given.kb))
            rows = self._desk.kbs.list_entries(filters, limit=given.limit + 1, offset=given.offset)
            listed = [entries.listed(stored, uri=_uri(stored)) for stored in rows]
            return entries.page(listed, given.limit)

        return await self._desk.run_sync(run)

    @tool("Find related entries", Tier.READ)
    async def related(self, given: parameters.Related) -> found.RelatedResult:
        """Find the entries that are about the same as an entry, nearest first."""

        def run() -> found.RelatedResult:
            # Imported only here: it brings numpy, which a session without it does not need.
            from pyrite.search.related import related  # noqa: PLC0415

            desk = self._desk
            filters = given.filters(desk.only(given.kbs))
            desk.kbs.get_entry(about.kb, about.id)
            near = desk.search.neighbourhood()
            key = about.kb, about.id
            return found.related_result(related(desk.storage, near, key, filters, given.limit))

        about = await self._about(given.id, given.kb)
        return await self._desk.run_search(run, about)

    @tool("List links", Tier.READ)
    async def links(self, given: parameters.Linking) -> found.Links | found.DanglingLinks:
        """Say what an entry links to and what links to it, each with its line.

        Without an id, list the links that lead nowhere: those of one knowledge base, or of all.
        """
        limit, offset = given.limit, given.offset

        def dangling() -> found.DanglingLinks:
            service, most = self._link_service(), offset + limit + 1
            names = self._desk.only(given.kb) or self._desk.kb_names()
            rows = [each for name in names for each in service.dangling(name, limit=most)]
            return found.dangling_links(rows, limit, offset)

        def both(about: About) -> found.Links:
            links = found.links(self._link_service().of(about.kb, about.id))
            return found.links_page(links, limit, offset)

        if given.id is None:
            return await self._desk.run_sync(dangling)
        about = await self._about(given.id, given.kb)
        return await self._desk.run_sync(lambda: both(about), about)

    def _link_service(self) -> LinkService:
        return LinkService(self._desk.storage, self._desk.kbs, self._desk.settings)

    @tool("Embedding status", Tier.READ)
    async def embed_status(self, given: KBParameter) -> index.EmbedStatus:
        """Say how many entries can be found by meaning, what waits, and whether a worker runs."""

        def run() -> index.EmbedStatus:
            only = next(iter(self._desk.only(given.kb)), None)
            return index.embed_status(self._desk.embedding.status(only))

        return await self._desk.run_sync(run)

    @tool("List failures", Tier.READ)
    async def embed_failures(self, given: parameters.Failures) -> index.Failures:
        """List the entries that could not be embedded, newest first, with the reason of each."""

        def run() -> index.Failures:
            only = next(iter(self._desk.only(given.kb)), None)
            rows = self._desk.embedding.failures(only, given.limit + 1)
            return index.failures(rows, self._desk.told, given.limit)

        return await self._desk.run_sync(run)


def _uri(stored: StoredEntry) -> str:
    return uri_of(stored.kb, stored.entry.id)
