"""The tools, by what they need: reading, writing, administering."""

from pyrite.mcp.tools.administering import Administering
from pyrite.mcp.tools.indexing import Indexing
from pyrite.mcp.tools.reading import Reading
from pyrite.mcp.tools.writing import Writing

__all__ = ["GROUPS"]

#: In the order in which a client lists them.
GROUPS = (Reading, Writing, Indexing, Administering)
