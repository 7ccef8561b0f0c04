"""What only commands print: what they did with files, tokens and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType

from pyrite.api.base import Answer, doc
from pyrite.api.index import FileProblem

if TYPE_CHECKING:
    from pyrite.storage.records import TokenRow


class Imported(Answer, frozen=True):
    """What an import did, or would do."""

    kb: str
    format: str
    dry_run: bool
    created: list[str]
    replaced: list[str]
    unchanged: int
    skipped: list[str]
    ignored: dict[str, int]
    problems: list[FileProblem]


class Exported(Answer, frozen=True):
    """What an export did."""

    kb: str
    format: str
    exported: int
    unchanged: int
    problems: list[FileProblem]


class CacheFile(Answer, frozen=True):
    """Embeddings that were written to a file, or read from one."""

    file: str
    models: int
    embeddings: int
    added: int | UnsetType = UNSET


class Pruned(Answer, frozen=True):
    """How many unused embeddings were deleted."""

    deleted: int


class BackupFile(Answer, frozen=True):
    """A copy of the database."""

    file: str
    bytes: int


class Compacted(Answer, frozen=True):
    """The database that was made anew."""

    database: str
    bytes_before: int
    bytes: int


class Finding(Answer, frozen=True):
    """What the doctor found."""

    level: str
    subject: str
    text: str
    action: str


class Findings(Answer, frozen=True):
    """All that the doctor found."""

    findings: list[Finding]


class TokenName(Answer, frozen=True):
    """A token that was revoked."""

    name: str


class Token(TokenName, frozen=True, kw_only=True):
    """What is known of a token."""

    token: Annotated[str, doc("What its bearer shows: only when it is made.")] | (UnsetType) = UNSET
    id: str
    tier: str
    created_at: float
    expires_at: float | None
    expired: bool


class Tokens(Answer, frozen=True):
    """All tokens by name."""

    tokens: list[Token]


class Setting(Answer, frozen=True, kw_only=True):
    """A setting's value and where it comes from."""

    name: str | UnsetType = UNSET
    value: str | int | float | bool | None
    source: str
    help: str


class SettingWritten(Answer, frozen=True):
    """A setting that was written into the configuration file."""

    name: str
    value: str | int | float | bool | None
    file: str
    overridden_by: str | None


class SettingRemoved(Answer, frozen=True):
    """A setting that was taken out of the configuration file, or was not in it."""

    name: str
    removed: bool
    file: str
    overridden_by: str | None


def token(row: TokenRow, now: float, shown: str | UnsetType = UNSET) -> Token:
    """What is known of a token; right after it is made, what its bearer shows besides."""
    return Token(
        token=shown,
        name=row.name,
        id=row.token_id,
        tier=row.tier,
        created_at=row.created_at,
        expires_at=row.expires_at,
        expired=row.expires_at is not None and row.expires_at <= now,
    )
