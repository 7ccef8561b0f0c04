"""Real pages to try things on: the corpus where it is at hand, else the product's handbook."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pyrite

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus" / "nodejs-en.tar.gz"
HANDBOOK = Path(pyrite.__file__).parent / "handbook"


def real_pages(folder: Path, most: int | None = None, *, largest: int | None = None) -> int:
    """Put pages into a new folder, of every length up to so many bytes; returns how many."""
    folder.mkdir(parents=True)
    written = 0
    if CORPUS.exists():
        with tarfile.open(CORPUS) as archive:
            members = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".md")]
            members = [m for m in members if largest is None or m.size <= largest]
            step = 1 if most is None else max(1, len(members) // most)
            for member in members[::step][:most]:
                file = archive.extractfile(member)
                assert file is not None
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read())
                written += 1
        return written
    sources = sorted(HANDBOOK.rglob("*.md"))
    for number in range(most or len(sources)):
        text = sources[number % len(sources)].read_text(encoding="utf-8")
        # Each copy differs in its title, or all but one would cost nothing to embed.
        page = f"# Page {number}\n\n{text}"[:largest]
        (folder / f"page-{number}.md").write_text(page, encoding="utf-8")
        written += 1
    return written
