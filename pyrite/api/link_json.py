"""Links as JSON, for the command, the server and MCP alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyrite.search.links import FoundLink, Neighbours


def neighbours_dict(found: Neighbours) -> dict[str, object]:
    """What an entry links to, and what links to it."""
    return {
        "kb": found.kb,
        "id": found.id,
        "links": [_written(each) | _leads_to(each) for each in found.links],
        "backlinks": [
            {"id": each.entry_id} | _written(each) | _leads_to(each) for each in found.backlinks
        ],
    }


def dangling_dict(found: FoundLink) -> dict[str, object]:
    """A link that leads nowhere, with the entry that it is in."""
    return {"kb": found.kb, "id": found.entry_id} | _written(found)


def _written(found: FoundLink) -> dict[str, object]:
    link = found.link
    return {
        "kind": link.kind.value,
        "target": link.target,
        "fragment": link.fragment,
        "shown": link.shown,
        "line": found.line,
    }


def _leads_to(found: FoundLink) -> dict[str, object]:
    return {"state": found.leads_to.state.value, "leads_to": list(found.leads_to.ids)}
