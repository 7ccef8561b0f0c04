"""Every setting: what it is called, what it is for, what it may be, and its default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pyrite.config import addresses, endpoint
from pyrite.errors import ConfigError

#: The configuration file, in the home.
FILE_NAME = "config.toml"

#: Seconds of a day.
DAY_S = 86_400.0

#: No number may be larger: the database and JSON hold every whole number up to here.
_MOST = 2**53


def setting(
    default: Any,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float = _MOST,
    choices: tuple[str, ...] = (),
    form: Callable[[str], object] | None = None,
    secret: bool = False,
) -> Any:
    """A field of :class:`Settings` with its line of the reference.

    Args:
        default: what it is when nothing is given; its type is the setting's.
        text: the line.
        minimum: the least number that it may be.
        maximum: the largest.
        choices: the texts among which it has to be.
        form: reads a text, and raises ValueError with a reason where it cannot.
        secret: it is taken from the environment alone, and never shown.
    """
    bounds = {"minimum": minimum, "maximum": maximum, "choices": choices, "form": form}
    return field(
        default=default, repr=not secret, metadata={"help": text, "secret": secret, **bounds}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting; times are in seconds."""

    home: Path = field(metadata={"help": "Folder of the configuration file and the database."})
    database: str = setting("", "The database file; empty is `pyrite.db` in the home.")
    model: str = setting(
        "all-MiniLM-L6-v2",
        "The embedding model: the default's name, the path of a sentence-transformers model, or "
        "the name of one on a model hub.",
    )
    precision: str = setting(
        "exact",
        "`exact` computes embeddings in the fastest way whose every cosine to float32 is 0.9999 or "
        "better; `fast` in the fastest at 0.99, and has to encode everything anew.",
        choices=("exact", "fast"),
    )
    cache: str = setting(
        "",
        "Folder of prepared models, which can be made again; empty is the platform's folder for "
        "a user's caches.",
    )
    threads: int = setting(0, "Threads that encoding uses; 0 leaves it to the library.", minimum=0)
    niceness: int = setting(
        19,
        "On Linux, how far the threads that encode stand back behind all others: 0 not at all, 19 "
        "as far as possible.",
        minimum=0,
    )
    batch_texts: int = setting(
        0,
        "Texts encoded in one call, at most; 0 is what was found fastest when the model was "
        "prepared.",
        minimum=0,
    )
    batch_tokens: int = setting(
        0,
        "Texts times tokens of the longest text in one call, at most; 0 leaves it to the encoder.",
        minimum=0,
    )
    claim_limit: int = setting(10, "Entries claimed from the queue at a time.", minimum=1)
    lease_s: float = setting(
        60.0,
        "How long a claim is held without a sign of life. A worker renews its claims at a third "
        "of this; after it, another takes them over.",
        minimum=0.1,
    )
    max_attempts: int = setting(3, "Attempts to embed an entry before it has failed.", minimum=1)
    retry_base_s: float = setting(
        2.0, "Wait before the second attempt; it doubles with each further one.", minimum=0
    )
    retry_cap_s: float = setting(300.0, "The longest wait between two attempts.", minimum=0)
    poll_interval_s: float = setting(
        0.25, "How often a process looks for other processes' commits.", minimum=0.001
    )
    grace_s: float = setting(10.0, "How long a stop may take to finish what has begun.", minimum=0)
    max_file_bytes: int = setting(
        10 * 2**20, "Larger files are reported and not indexed.", minimum=1
    )
    unused_days: float = setting(
        30.0, "Embeddings that no entry has used for so many days are deleted.", minimum=0
    )
    search_limit_s: float = setting(
        5.0,
        "How long a search may read the database; what was found by then is the answer, and said "
        "to be partial.",
        minimum=0.01,
    )
    exact_vectors: int = setting(
        50_000,
        "Up to so many embeddings, a search compares with each; with more, it uses an index of "
        "neighbours in a file beside the database.",
        minimum=1,
    )
    event_retention: int = setting(
        100_000, "Events kept for those who were away; older ones are pruned.", minimum=1
    )
    idle_unload_s: float = setting(
        300.0,
        "A worker that has had nothing to encode for so long gives back the model's memory; 0 is "
        "never.",
        minimum=0,
    )
    paused: bool = setting(
        False,
        "While true, workers finish what they have begun and claim nothing more.",
    )
    watch_folders: bool = setting(
        True,
        "Whether the server follows the folders as they change; otherwise it reads them at its "
        "start, and when it is asked to.",
    )
    leadership_s: float = setting(
        10.0,
        "How long the right to embed, which one process has at a time, lasts without being "
        "renewed; a process that is known to have died loses it at once.",
        minimum=1,
    )
    host: str = setting(
        "127.0.0.1",
        "The address that the server listens on; anything but this computer's own needs tokens.",
    )
    port: int = setting(
        8707,
        "The port that the server listens on; 0 takes a free one.",
        minimum=0,
        maximum=addresses.LAST_PORT,
    )
    allowed_hosts: str = setting(
        "",
        "Names, separated by commas, by which the server may be called besides localhost and its "
        "own address: those of a reverse proxy, for example.",
        form=addresses.hosts,
    )
    allowed_origins: str = setting(
        "",
        "Origins of web pages, separated by commas, that may change anything or follow the feed; "
        "pages of the server itself always may.",
        form=addresses.web_origins,
    )
    max_body_bytes: int = setting(16 * 2**20, "Larger requests are refused.", minimum=1)
    rate_limit: float = setting(
        300.0,
        "Requests a second that one client may make, averaged; 0 is no limit.",
        minimum=0,
    )
    max_websockets: int = setting(
        2000, "WebSocket connections that a process accepts at a time.", minimum=1
    )
    websocket_buffer: int = setting(
        1000,
        "Events that may wait for a WebSocket client before it counts as too slow and is closed.",
        minimum=1,
    )
    log_level: str = setting(
        "info", "What the server logs.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting(
        "text",
        "How the server logs: for a terminal, or one JSON object a line.",
        choices=("text", "json"),
    )
    server: str = setting(
        "",
        "The server that `pyrite watch` connects to, as http://HOST:PORT; empty is `host` and "
        "`port`.",
    )
    token: str = setting(
        "",
        "The token that `pyrite watch` shows the server.",
        secret=True,
    )
    remote_url: str = setting(
        "",
        "The address of an embedding server with OpenAI's API, without `/embeddings`, such as "
        "http://127.0.0.1:11434/v1; empty encodes in this process.",
        form=endpoint.base_url,
    )
    remote_key: str = setting("", "The key that the embedding server wants.", secret=True)
    remote_key_file: str = setting(
        "", "A file that holds that key and nothing else, for when it is not in the environment."
    )
    remote_timeout_s: float = setting(
        60.0,
        "How long the embedding server may take for one request, and all tries of it together.",
        minimum=0.01,
    )
    remote_query_timeout_s: float = setting(
        10.0, "The same for a search's query, which somebody waits for.", minimum=0.01
    )
    remote_concurrency: int = setting(
        4, "Requests to the embedding server at a time.", minimum=1, maximum=256
    )
    remote_batch: int = setting(16, "Texts in one request to the embedding server.", minimum=1)
    remote_window: int = setting(
        512,
        "Tokens that the embedding server reads of a text. Unless `remote_tokenizer` is set, texts "
        "are cut at three quarters of it.",
        minimum=64,
    )
    remote_tokenizer: str = setting(
        "",
        "The `tokenizer.json` of the embedding server's model, or its folder; empty estimates with "
        "the default model's.",
    )
    remote_document_prefix: str = setting(
        "", "What the embedding server's model wants before each text that is found."
    )
    remote_query_prefix: str = setting(
        "", "What the embedding server's model wants before each query."
    )
    remote_revision: str = setting(
        "",
        "Any text; with another one, the embedding server's model counts as another model, and "
        "everything is encoded anew.",
    )

    @property
    def extra_hosts(self) -> tuple[addresses.Host, ...]:
        """What ``allowed_hosts`` lists."""
        return addresses.hosts(self.allowed_hosts)

    @property
    def extra_origins(self) -> tuple[addresses.WebOrigin, ...]:
        """What ``allowed_origins`` lists."""
        return addresses.web_origins(self.allowed_origins)

    @property
    def database_path(self) -> Path:
        """Where the database is."""
        return self.home / expanded(self.database or "pyrite.db", "database")

    @property
    def cache_path(self) -> Path:
        """Where prepared models are kept."""
        if self.cache:
            return self.home / expanded(self.cache, "cache")
        # Imported only here: few commands encode.
        import platformdirs  # noqa: PLC0415

        return platformdirs.user_cache_path("pyrite", appauthor=False)

    @property
    def remote_key_path(self) -> Path | None:
        """Where the embedding server's key is, if it is in a file."""
        return self._path_in_home("remote_key_file")

    @property
    def remote_tokenizer_path(self) -> Path | None:
        """Where the tokenizer of the embedding server's model is, if it is known."""
        return self._path_in_home("remote_tokenizer")

    def _path_in_home(self, name: str) -> Path | None:
        given = getattr(self, name)
        return self.home / expanded(given, name) if given else None

    @property
    def graphs_path(self) -> Path:
        """Where the graphs of neighbours are; they can be made again from the database."""
        database = self.database_path
        return database.with_name(f"{database.name}.neighbours")

    @property
    def config_path(self) -> Path:
        """Where the configuration file is, or would be."""
        return self.home / FILE_NAME


#: The home itself cannot be set in a file that lies in it.
FILE_SETTINGS = tuple(f for f in fields(Settings) if f.name != "home")


def expanded(path: str, source: str) -> Path:
    """The path with ``~`` replaced by the home folder it means."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{source}: the home folder in {path!r} is not known") from error
