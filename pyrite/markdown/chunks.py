"""Cutting an entry's text into chunks that the model can read.

The chunks are to be large, to begin and end where the text does, and to stay the same wherever
the text does: an entry's embeddings are kept by the hash of the chunk, so an edit costs as many
encodings as it changes chunks. Filling one window after another from the top would shift every
chunk after the edit. So the boundaries choose themselves by what stands beside them. Each has a
priority, which is its rank in the outline and, among equals, a hash of the text that follows it.
Going from the lowest priority to the highest, a boundary is dissolved if what it parts fits into
one window. Whether it stays depends on the chunks at its sides, and they on lower boundaries only:
an edit reaches further only along a chain of ever higher ones, and such chains are short. Cuts at
local maxima of such a hash are Bjørner, Blass and Gurevich's ("Content-dependent chunking for
differential compression, the local maximum approach", 2010). Two things follow: a section, list
or block that fits into a window is not cut, and two neighbours within a section do not fit into
one window together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Protocol

from semantic_text_splitter import TextSplitter
from tokenizers import Tokenizer

from actors.messages import Chunk, Span

from .outline import GLUE, Leaf, Run, common, finer, halves, headings_over, merge, outline, trim

#: What a chunk says of its place may take one token in so many of the window.
_CONTEXT_SHARE = 4
#: A context is looked at this far, in characters for each token it may have.
_CHARACTERS_PER_TOKEN = 64
#: A text without spaces is cut into pieces of a share of the window, so that they can be packed,
#: and in stretches of so many characters: the splitter's time grows with the square of the text.
_PIECES_PER_WINDOW = 4
_STRETCH = 2_000
#: Characters of words whose tokens are remembered before they are forgotten, all at once.
_WORDS_KEPT = 4_000_000

#: Texts that are encoded in one call.
_BATCH = 256


class Text(Protocol):
    """The part of an entry that is embedded."""

    @property
    def title(self) -> str:
        """Its title."""
        ...

    @property
    def summary(self) -> str:
        """Its summary, or nothing."""
        ...

    @property
    def body(self) -> str:
        """Its Markdown."""
        ...


def digest_of(text: str) -> bytes:
    """The 16-byte BLAKE2b hash that an embedding is stored under."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class Splitter:
    """Cuts entries into chunks for one model."""

    def __init__(self, tokenizer: Tokenizer, window: int) -> None:
        """Make a splitter.

        Args:
            tokenizer: the model's; it is copied.
            window: how many tokens the model reads, special ones included.

        Raises:
            ValueError: if the window has no room for anything but special tokens.
        """
        self._counter = _Counter(tokenizer)
        self._window = window
        self._room = window - self._counter.special
        if self._room < 1:
            message = f"a window of {window} tokens has no room beside the special ones"
            raise ValueError(message)

    def split(self, entry: Text) -> list[tuple[Span, Chunk]]:
        """The entry's chunks in order of its text, each with its place in the body.

        There is at least one. Each text begins with the title and the headings over it, and fits
        into the window. The spans do not overlap, and leave out nothing but white space; that of
        a summary is (0, 0).
        """
        title, summary = entry.title.strip(), entry.summary.strip()
        whole = self._whole(title, summary, entry.body)
        if whole:
            return [whole]
        pairs = [
            (replace(span, start=0, end=0), chunk)
            for span, chunk in self._cut(title, summary, [Leaf(0, len(summary))] if summary else [])
        ]
        if entry.body.strip():
            pairs += self._cut(title, entry.body, outline(entry.body))
        if not pairs:
            text = self._counter.clip(title, self._room)
            pairs.append(_pair(text, self._counter.exact([text])[0]))
        return pairs

    def _whole(self, title: str, summary: str, body: str) -> tuple[Span, Chunk] | None:
        """The entry as one chunk, if it fits."""
        start, end = trim(body, 0, len(body))
        text = "\n\n".join(part for part in (title, summary, body[start:end]) if part)
        # What is far too long need not be encoded to be known to be.
        if self._counter.estimate(text) > 2 * self._window:
            return None
        (tokens,) = self._counter.exact([text])
        if tokens > self._window:
            return None
        return _pair(text, tokens, start, end, headings_over(body))

    def _cut(self, title: str, text: str, leaves: Run) -> list[tuple[Span, Chunk]]:
        """A text's chunks, every one encoded to see that it fits, and cut on where it does not."""
        self._counter.learn(text)
        contexts = _Contexts(self._counter, title, self._room // _CONTEXT_SHARE)
        done: list[tuple[Span, Chunk]] = []
        pending = [(run, 0) for run in self._pack(text, leaves, contexts, 0)]
        while pending:
            places = [trim(text, run[0].start, run[-1].end) for run, _ in pending]
            befores = [contexts.before(run[0].above) for run, _ in pending]
            texts = [
                f"{before}\n\n{text[start:end]}" if before else text[start:end]
                for before, (start, end) in zip(befores, places, strict=True)
            ]
            remaining: list[tuple[Run, int]] = []
            for i, tokens in enumerate(self._counter.exact(texts)):
                (run, slack), (start, end) = pending[i], places[i]
                if tokens <= self._window:
                    done.append(_pair(texts[i], tokens, start, end, common(run)))
                elif end - start > 1:
                    slack = 2 * slack + tokens - self._window
                    remaining += ((part, slack) for part in self._pack(text, run, contexts, slack))
                else:  # one character that no window holds
                    alone = self._counter.exact([befores[i]])[0]
                    done.append(_pair(befores[i], alone, start, end, common(run)))
            pending = remaining
        return sorted(done, key=lambda pair: pair[0].start)

    def _pack(self, text: str, run: Run, contexts: _Contexts, slack: int) -> list[Run]:
        """Leaves put together into what should fit, if `slack` tokens of each window stay free."""
        room = self._room - slack
        if room < 1:
            return halves(text, run)
        leaves = self._fitting(text, run, contexts, room)
        sizes = [self._counter.estimate(text[leaf.start : leaf.end]) for leaf in leaves]
        rooms = [room - contexts.tokens(leaf.above) for leaf in leaves]
        return merge(text, leaves, sizes, rooms)

    def _fitting(self, text: str, run: Run, contexts: _Contexts, room: int) -> list[Leaf]:
        """The leaves, those cut that do not fit, and what follows a heading beside the heading."""
        estimate = self._counter.estimate
        leaves: list[Leaf] = []
        free = 0
        for leaf in run:
            size = estimate(text[leaf.start : leaf.end])
            if leaf.rank != GLUE or free < room // _PIECES_PER_WINDOW:
                free = room - contexts.tokens(leaf.above)
            if size <= free:
                leaves.append(leaf)
            else:

                def fits(start: int, end: int, most: int = free) -> bool:
                    return estimate(text[start:end]) <= most

                leaves += finer(text, leaf, fits, self._break)
            free -= size
        return leaves

    def _break(self, text: str) -> Iterator[int]:
        """Where to cut a text without spaces; never inside what is seen as one character."""
        for start in range(0, len(text), _STRETCH):
            stretch = text[start : start + _STRETCH]
            for place, _ in self._breaker.chunk_indices(stretch):
                yield start + place

    @cached_property
    def _breaker(self) -> TextSplitter:
        capacity = max(1, self._room // (2 * _PIECES_PER_WINDOW))
        return TextSplitter.from_huggingface_tokenizer(self._counter.tokenizer, capacity)


class _Counter:
    """Counts tokens: exactly, or fast, by adding up those of the words."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.special: int = self.tokenizer.num_special_tokens_to_add(is_pair=False)
        self._words: dict[str, int] = {}
        self._kept = 0

    def exact(self, texts: Sequence[str]) -> list[int]:
        """How many tokens the model reads of each, special ones included."""
        counts: list[int] = []
        for i in range(0, len(texts), _BATCH):
            encodings = self.tokenizer.encode_batch_fast(list(texts[i : i + _BATCH]))
            counts += map(len, encodings)
        return counts

    def estimate(self, text: str) -> int:
        """About how many tokens a text has; exact where words are encoded one by one."""
        words = text.split()
        try:
            return sum([self._words[word] for word in words])
        except KeyError:
            self._learn(words)
            return sum([self._words[word] for word in words])

    def learn(self, text: str) -> None:
        """Count all words of a text in one call."""
        self._learn(text.split())

    def _learn(self, words: Iterable[str]) -> None:
        if self._kept > _WORDS_KEPT:
            self._words, self._kept = {}, 0
        new = list(set(words) - self._words.keys())
        encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
        self._words.update(zip(new, map(len, encodings), strict=True))
        self._kept += sum(map(len, new))

    def clip(self, text: str, most: int) -> str:
        """As much of a text's beginning as has at most so many tokens, in whole words."""
        clipped = text[: max(0, most) * _CHARACTERS_PER_TOKEN]
        while clipped:
            encoding = self.tokenizer.encode(clipped, add_special_tokens=False)
            if len(encoding) <= most:
                break
            end = min(encoding.offsets[most][0], len(clipped) - 1)
            space = max(clipped.rfind(" ", 0, end + 1), 0)
            clipped = clipped[: space or end].rstrip()
        return clipped


class _Contexts:
    """What chunks say of their places: the entry's title and the headings over them."""

    def __init__(self, counter: _Counter, title: str, most: int) -> None:
        self._counter = counter
        self._title = title
        self._most = most
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}

    def before(self, above: tuple[str, ...]) -> str:
        """The context under these headings; it may be empty."""
        return self._of(above)[0]

    def tokens(self, above: tuple[str, ...]) -> int:
        """About how many tokens that has."""
        return self._of(above)[1]

    def _of(self, above: tuple[str, ...]) -> tuple[str, int]:
        if above not in self._known:
            text = self._made(above)
            self._known[above] = text, self._counter.estimate(text)
        return self._known[above]

    def _made(self, above: tuple[str, ...]) -> str:
        names = [name for name in above if name not in {"", self._title}]
        title = self._title
        if self._counter.estimate(_path(title, names)) > self._most:
            # The innermost heading says most of a chunk, after the title.
            title = self._counter.clip(title, self._most // 2 if names else self._most)
            while len(names) > 1 and self._counter.estimate(_path(title, names)) > self._most:
                del names[0]
        return self._counter.clip(_path(title, names), self._most)


def _path(title: str, names: Sequence[str]) -> str:
    return " > ".join([title, *names] if title else names)


def _pair(
    text: str, tokens: int, start: int = 0, end: int = 0, headings: tuple[str, ...] = ()
) -> tuple[Span, Chunk]:
    digest = digest_of(text)
    return Span(digest, start, end, headings), Chunk(digest, text, max(1, tokens))
