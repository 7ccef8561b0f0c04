"""Which tools there are, who may call them, what they take and answer, what they do to the world.

A tool is a method that is marked as one. Its parameters are the type of its argument ``given``,
and its answer the type that it returns; both are types of :mod:`pyrite.api`, and so are the
schemas that a client is told. Of an answer it is told the outermost level: every agent pays for
all schemas at every start, and few read those of answers at all.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_type_hints

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, ToolAnnotations
from msgspec import Struct

from pyrite.api import schemas
from pyrite.api.base import Answer, plain
from pyrite.api.tool_parameters import Nothing
from pyrite.api.validation import InvalidParametersError, from_arguments
from pyrite.auth.tokens import Tier
from pyrite.mcp import advice

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "_pyrite_tool"

#: What a schema says for those who write requests by hand.
_UNSAID = ("examples", "pattern")


@dataclass(frozen=True, slots=True)
class Listing:
    """What is said of a tool beside its name, parameters and answer."""

    title: str
    tier: Tier
    #: Whether it may overwrite or delete something.
    destructive: bool = False
    #: Whether doing it again changes nothing more.
    idempotent: bool = False

    @property
    def annotations(self) -> ToolAnnotations:
        """The protocol's hints. No tool reaches beyond this computer's knowledge bases."""
        reads = self.tier is Tier.READ
        return ToolAnnotations(
            read_only_hint=reads,
            destructive_hint=self.destructive,
            idempotent_hint=reads or self.idempotent,
            open_world_hint=False,
        )


def tool(
    title: str, tier: Tier, *, destructive: bool = False, idempotent: bool = False
) -> Callable[[Method], Method]:
    """Mark a method as a tool; its name is the tool's, and its docstring tells the model of it."""

    def mark(method: Method) -> Method:
        setattr(method, _MARK, Listing(title, tier, destructive, idempotent))
        return method

    return mark


def tools_of(group: object) -> Iterator[tuple[Callable[..., Any], Listing]]:
    """The tools among an object's methods, as they stand in its class."""
    for name, method in vars(type(group)).items():
        listing = getattr(method, _MARK, None)
        if isinstance(listing, Listing):
            yield getattr(group, name), listing


class ServedTool(Tool):
    """A tool that takes and answers types of the API, where the SDK has Pydantic's models."""

    takes: Any = Nothing

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> Any:
        """Call the tool; an error is a sentence that an agent can act on.

        Raises:
            ToolError: the arguments are not of the tool's form, or the tool refused them.
            UnexpectedToolError: the tool failed.
        """
        try:
            given: Struct = from_arguments(arguments, self.takes)
        except InvalidParametersError as error:
            raise ToolError(advice.wrong_arguments(self.name, error.faults)) from None
        known: dict[str, Any] = {} if self.takes is Nothing else {"given": given}
        if self.context_kwarg is not None:
            known[self.context_kwarg] = context
        call: Awaitable[Answer] = self.fn(**known)
        try:
            return _result(await call)
        except (ToolError, MCPError):
            raise
        except Exception as error:
            raise UnexpectedToolError(advice.failed(self.name)) from error


def served(function: Callable[..., Any], listing: Listing) -> ServedTool:
    """The method as a tool whose arguments are what its schema says, and nothing else."""
    hints = get_type_hints(function)
    takes = hints.get("given", Nothing)
    answers = get_args(hints["return"]) or (hints["return"],)
    parameters = schemas.inlined(takes, _UNSAID)
    del parameters["description"]
    return ServedTool(
        fn=function,
        name=function.__name__,
        title=listing.title,
        description=inspect.getdoc(function) or "",
        parameters=parameters,
        # A schema without a model is told to the client, and not checked by the SDK.
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=schemas.outline(*answers)),
        is_async=True,
        context_kwarg="context" if "context" in hints else None,
        annotations=listing.annotations,
        takes=takes,
    )


def _result(answer: Answer) -> CallToolResult:
    """An answer, and as a text that is as short as JSON can be: what is null is left out."""
    content = plain(answer)
    text = json.dumps(_without_null(content), ensure_ascii=False, separators=(",", ":"))
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_null(each) for each in value]
    return value
