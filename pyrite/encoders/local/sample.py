"""Sample texts for measuring the accuracy of a model: of every length, and odd ones."""

from __future__ import annotations

_PROSE = """\
The harbour was rebuilt after the storm of 1953, when the sea came over the old mole and carried
away two cranes and most of the fish market. What stands today is lower and wider: a basin for
forty boats, a slipway, and a shed whose roof collects the rain for washing down.

To restore a backup, stop the service first, copy the database file and its journal into the data
folder, and start the service again. If the log says that the schema is newer than the program,
install the version that wrote it; an older program never opens a newer file.

def read_rows(path, limit=None):
    with open(path, newline='') as file:
        for number, row in enumerate(csv.reader(file)):
            if limit is not None and number >= limit:
                return
            yield [cell.strip() for cell in row]

Sourdough needs time rather than work. Mix flour, water and starter in the evening, fold the dough
four times at half-hour intervals, and leave it in the cold overnight; bake it at 240 degrees with
steam for twenty minutes and at 210 without for another twenty-five.

Minutes, 14 March. Present: Ana, Björn, Chidi, Dao. (1) The budget for the second quarter was
approved with one change, 12,500 instead of 11,000 for travel. (2) The move to the new office is
put off until June. (3) Björn will ask the landlord about the heating. Next: 28 March.

Photosynthesis turns light into chemical energy in two stages: the light reactions split water and
charge the carriers, and the Calvin cycle spends them on fixing carbon dioxide. Shade plants have
more chlorophyll in each chloroplast and saturate at a tenth of full sun.
""".strip().split("\n\n")

_SHORT = (
    "",
    " ",
    "a",
    "how do I undo the last commit?",
    "Blue",
    "errno 13: permission denied",
    "Q3 revenue 2024 vs. 2023 (in EUR)",
    "the the the the the the the the",
    "SELECT name, count(*) FROM users GROUP BY name HAVING count(*) > 1;",
    "https://example.org/a/b?c=d&e=%20f#g",
)

_ODD = (
    "  \n\tspaces around\u00a0and\u2003within \r\n",
    "naïve café, Ångström, Straße, ĲSSEL",
    "e\u0301 and \u00e9 are one letter, \ufb01 is two",
    "日本語の文章を検索する。",
    "поиск по смыслу и по словам",
    "البحث عن المعنى",
    "👩‍👩‍👧‍👦 🇳🇱 🎉🎉🎉 ok",
    "zero\u200bwidth, \u202eright to left\u202c, \x00 nul, \ufffd",
    "x" * 700,
    "3.14159 2.71828 1.41421 0.57721 " * 12,
)


def sample_texts(window: int) -> list[str]:
    """About thirty varied texts, some longer than a window of that many tokens."""
    together = "\n\n".join(_PROSE)
    # A token is two characters at least, as a rule.
    long = (together + "\n\n") * (1 + window * 6 // len(together))
    return [
        *_SHORT,
        *_ODD,
        *_PROSE,
        together,
        long,
        long[::-1],
        _PROSE[2] * 3,
        long[len(long) // 2 :],
    ]
