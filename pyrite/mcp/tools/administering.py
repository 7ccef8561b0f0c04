"""Tools that decide what is indexed at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from pyrite.auth.tokens import Tier
from pyrite.config.file import set_value
from pyrite.config.loading import PREFIX
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import ToolExecutor
from pyrite.mcp.models import KnowledgeBaseName, Paused

Name = Annotated[
    str,
    Field(min_length=1, max_length=1000, description="The knowledge base's name."),
]


class Administering:
    """Knowledge bases and the pause."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("Register a knowledge base", Tier.ADMIN, idempotent=True)
    async def kb_add(
        self,
        name: Name,
        path: Annotated[
            str, Field(min_length=1, max_length=4096, description="The folder, absolute.")
        ],
    ) -> KnowledgeBaseName:
        """Register a folder of Markdown files; none is touched. Then index_sync reads them."""

        def run() -> KnowledgeBaseName:
            folder = Path(path)
            if not folder.is_absolute():
                raise ToolError(f"path must be absolute, such as /home/you/notes, not {path!r}")
            added = self._executor.kbs.add_kb(name, folder)
            return KnowledgeBaseName(name=added.name, path=self._path(added.path))

        return await self._executor.run_sync(run)

    @tool("Forget a knowledge base", Tier.ADMIN, destructive=True)
    async def kb_remove(self, name: Name) -> KnowledgeBaseName:
        """Forget a knowledge base and its embeddings. Its files stay as they are."""

        def run() -> KnowledgeBaseName:
            known = self._executor.kbs.kb(self._executor.kb_named(name))
            self._executor.kbs.remove_kb(known.name)
            return KnowledgeBaseName(name=known.name, path=self._path(known.path))

        return await self._executor.run_sync(run)

    @tool("Pause embedding", Tier.ADMIN, idempotent=True)
    async def index_pause(self) -> Paused:
        """Have workers claim nothing more until index_resume; writes stay queued meanwhile."""
        return await self._executor.run_sync(lambda: self._pause(paused=True))

    @tool("Resume embedding", Tier.ADMIN, idempotent=True)
    async def index_resume(self) -> Paused:
        """End the pause that index_pause began."""
        return await self._executor.run_sync(lambda: self._pause(paused=False))

    def _pause(self, *, paused: bool) -> Paused:
        variable = f"{PREFIX}PAUSED"
        if variable in self._executor.environ:
            raise ToolError(f"{variable} in the environment decides it; the person has to unset it")
        set_value(self._executor.settings.config_path, "paused", str(paused).lower())
        return Paused(paused=self._executor.settings.paused)

    def _path(self, path: str) -> str | None:
        return path if self._executor.local else None
