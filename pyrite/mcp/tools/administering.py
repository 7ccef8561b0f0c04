"""Tools that decide what is indexed at all."""

from __future__ import annotations

from pathlib import Path

from mcp.server.mcpserver.exceptions import ToolError
from msgspec import UNSET

from pyrite.api.base import LocalPath
from pyrite.api.index import PauseState
from pyrite.api.kbs import KBFolder
from pyrite.api.tool_parameters import NamedKB, NewKB
from pyrite.auth.tokens import Tier
from pyrite.config.file import set_value
from pyrite.config.loading import PREFIX
from pyrite.mcp.catalog import tool
from pyrite.mcp.executor import ToolExecutor


class Administering:
    """Knowledge bases and the pause."""

    def __init__(self, executor: ToolExecutor) -> None:
        self._executor = executor

    @tool("Register a knowledge base", Tier.ADMIN, idempotent=True)
    async def kb_add(self, given: NewKB) -> KBFolder:
        """Register a folder of Markdown files; none is touched. Then index_sync reads them."""

        def run() -> KBFolder:
            folder = Path(given.path)
            if not folder.is_absolute():
                text = f"path must be absolute, such as /home/you/notes, not {given.path!r}"
                raise ToolError(text)
            added = self._executor.kbs.add_kb(given.name, folder)
            return KBFolder(name=added.name, path=self._path(added.path))

        return await self._executor.run_sync(run)

    @tool("Forget a knowledge base", Tier.ADMIN, destructive=True)
    async def kb_remove(self, given: NamedKB) -> KBFolder:
        """Forget a knowledge base and its embeddings. Its files stay as they are."""

        def run() -> KBFolder:
            known = self._executor.kbs.kb(self._executor.kb_named(given.name))
            self._executor.kbs.remove_kb(known.name)
            return KBFolder(name=known.name, path=self._path(known.path))

        return await self._executor.run_sync(run)

    @tool("Pause embedding", Tier.ADMIN, idempotent=True)
    async def index_pause(self) -> PauseState:
        """Have workers claim nothing more until index_resume; writes stay queued meanwhile."""
        return await self._executor.run_sync(lambda: self._pause(paused=True))

    @tool("Resume embedding", Tier.ADMIN, idempotent=True)
    async def index_resume(self) -> PauseState:
        """End the pause that index_pause began."""
        return await self._executor.run_sync(lambda: self._pause(paused=False))

    def _pause(self, *, paused: bool) -> PauseState:
        variable = f"{PREFIX}PAUSED"
        if variable in self._executor.environ:
            raise ToolError(f"{variable} in the environment decides it; the person has to unset it")
        set_value(self._executor.settings.config_path, "paused", str(paused).lower())
        return PauseState(paused=self._executor.settings.paused)

    def _path(self, path: str) -> LocalPath:
        return path if self._executor.local else UNSET
