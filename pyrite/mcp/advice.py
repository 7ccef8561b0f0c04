"""Errors as an agent needs them: what was wrong, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyrite import errors
from pyrite.api.problems import Fault

#: Faults told in one sentence, at most.
_NAMED = 5

#: Knowledge bases told, at most.
_MANY = 20

_NEXT: tuple[tuple[type[errors.PyriteError], str], ...] = (
    (
        errors.RevisionError,
        "read it with entry_get, look at what has changed, and pass its revision as if_revision",
    ),
    (errors.FolderMissingError, "the person has to mount or restore the folder"),
    (errors.ModelError, 'search with mode "keyword", which needs no model'),
)


def after(error: errors.PyriteError, *, local: bool) -> str:
    """The error with what to do about it.

    Args:
        error: what was raised.
        local: whether the caller sits at this computer, and may see its paths.
    """
    text = (str(error) if local else error.public).rstrip(".")
    more = next((more for kind, more in _NEXT if isinstance(error, kind)), None)
    return f"{text}; {more}" if more else text


def no_such_kb(name: str, names: Sequence[str]) -> str:
    """What to say of a knowledge base that there is not."""
    return f"there is no knowledge base {name!r}; {_there_are(names)}"


def which_kb(names: Sequence[str]) -> str:
    """What to say where no knowledge base was named, and there is not exactly one."""
    if not names:
        return _there_are(names)
    return f"say which knowledge base, with kb; {_there_are(names)}"


def _there_are(names: Sequence[str]) -> str:
    if not names:
        return "there is none yet: `pyrite kb add NAME FOLDER` registers a folder"
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return f"there are: {', '.join(names[:_MANY])}{more}"


def no_such_entry(kb: str, entry_id: str, near: Sequence[str]) -> str:
    """What to say of an entry that there is not, given ids that may have been meant."""
    if near:
        return f"there is no entry {entry_id!r} in {kb!r}; near it: {', '.join(near)}"
    return f"there is no entry {entry_id!r} in {kb!r}; search or entry_list finds those there are"


def there_already(kb: str, entry_id: str) -> str:
    """What to say of a new entry whose place is taken."""
    return (
        f"the entry {entry_id!r} exists already in {kb!r}; change it with entry_update, or give "
        "another id"
    )


def not_failed(error: errors.NotFoundError) -> str:
    """What to say of an entry that is to be tried again and has not failed."""
    return f"{error.public}; embed_failures lists them"


def no_such_heading(heading: str, titles: Sequence[str]) -> str:
    """What to say of a heading that a body has not."""
    if not titles:
        return f"the entry has no heading {heading!r}, nor any other; leave heading out"
    shown = ", ".join(repr(title) for title in titles[:_MANY])
    return f"the entry has no heading {heading!r}; it has: {shown}"


def wrong_arguments(tool: str, faults: Sequence[Fault]) -> str:
    """What to say of arguments that do not fit a tool's schema."""
    named = (f"{each.field or 'the arguments'}: {_lower(each.reason)}" for each in faults[:_NAMED])
    return f"{tool} cannot take these arguments; {'; '.join(named)}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def failed(tool: str) -> str:
    """What to say of a call that ended in a bug."""
    return (
        f"{tool} failed unexpectedly, which is a bug of Pyrite or a fault of the machine; the "
        "server's log says more"
    )


def hidden_tool(name: str, tier: str, needed: str, *, local: bool) -> str:
    """What to say of a tool that the tier hides.

    Args:
        name: of the tool.
        tier: what the caller may use here.
        needed: the tier of the tool.
        local: whether the client has started the server, and so said the tier itself.
    """
    allow = f"`pyrite mcp --tier {needed}`"
    if not local:
        allow = f"a token of that tier, and with {allow} where that is what serves"
    return (
        f"the tool {name} is not available: it needs the tier {needed}, and here you have {tier}; "
        f"the person can allow it with {allow}"
    )


def no_such_tool(name: str, names: Sequence[str]) -> str:
    """What to say of a tool that there is not."""
    return f"there is no tool {name!r}; there are: {', '.join(names)}"
