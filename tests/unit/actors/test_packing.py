"""The window: what goes in comes out once, urgent first, within limits, with little padding."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from actors.messages import Batch
from actors.packing import FAIR_SHARE, BatchLimits, Window
from tests.fakes.pipeline import chunk, claim, pieces

limits = st.builds(BatchLimits, texts=st.integers(1, 9), tokens=st.integers(1, 600))


@st.composite
def workloads(draw):
    """Claims of any size, arriving in groups between batches."""
    numbers = iter(range(10_000))

    def one_claim(spec):
        name, (lengths, priority) = f"e{next(numbers)}", spec
        missing = tuple(chunk(f"{name}/{i}", tokens) for i, tokens in enumerate(lengths))
        return replace(claim(name, priority=priority), missing=missing)

    spec = st.tuples(st.lists(st.integers(1, 300), max_size=6), st.integers(0, 2))
    groups = draw(st.lists(st.lists(spec, max_size=5), max_size=8))
    return [tuple(map(one_claim, group)) for group in groups]


def run(window, groups):
    """Add a group, take a batch, and so on; at the end take what is left."""
    batches = []
    for group in groups:
        window.add(group)
        batches.append(window.take())
    while window:
        batches.append(window.take())
    return batches


def wanted(claims):
    return [(c.token, missing.digest) for c in claims for missing in c.missing]


def waiting_of(pieces):
    return [(piece.claim.token, piece.chunk.digest) for piece in pieces]


def texts(batch):
    return {piece.chunk.digest for piece in batch.pieces}


def padded(batch):
    return len(texts(batch)) * max((piece.chunk.tokens for piece in batch.pieces), default=0)


@given(limits, workloads())
def test_every_piece_comes_out_once(limits, groups):
    batches = run(Window(limits, 64), groups)
    out = [waiting for batch in batches for waiting in waiting_of(batch.pieces)]
    assert sorted(out) == sorted(wanted(c for group in groups for c in group))


@given(limits, workloads())
def test_the_limits_hold_for_all_but_a_single_text(limits, groups):
    for batch in run(Window(limits, 64), groups):
        assert len(texts(batch)) <= limits.texts
        assert padded(batch) <= limits.tokens or len(texts(batch)) == 1


@given(limits, workloads())
def test_the_most_urgent_piece_is_in_every_batch_but_a_fair_share(limits, groups):
    window, waiting, turn = Window(limits, 64), [], 0
    for group in [*groups, *[()] * 300]:
        window.add(group)
        waiting += [(c.priority, key) for c in group for key in wanted([c])]
        taken = waiting_of(window.take().pieces)
        if waiting:
            turn += 1
            # min() keeps the first of equals, which arrived first.
            urgent = min(waiting, key=lambda one: one[0])
            assert (waiting[0] if turn % FAIR_SHARE == 0 else urgent)[1] in taken
        waiting = [one for one in waiting if one[1] not in taken]
    assert not waiting


@given(limits, workloads())
def test_a_batch_is_of_one_priority(limits, groups):
    for batch in run(Window(limits, 64), groups):
        assert len({piece.claim.priority for piece in batch.pieces}) <= 1


def test_what_waits_in_bulk_moves_on_however_many_edits_come():
    window = Window(BatchLimits(texts=1), 64)
    window.add([claim(f"bulk {n}", f"bulk {n}", priority=1) for n in range(3)])
    order = []
    for number in range(30):
        window.add([claim(f"edit {number}", f"edit {number}", priority=0)])
        order += [piece.claim.entry_id for piece in window.take().pieces]
    assert [entry_id for entry_id in order if entry_id.startswith("bulk")] == [
        "bulk 0",
        "bulk 1",
        "bulk 2",
    ]
    assert order[:9] == [f"edit {n}" for n in range(9)]


@given(limits, workloads())
def test_ready_claims_come_out_with_the_next_batch(limits, groups):
    window = Window(limits, 64)
    for group in groups:
        window.add(group)
        assert window.take().ready == tuple(c for c in group if not c.missing)


@given(limits, workloads())
def test_the_length_counts_pieces_and_ready_claims(limits, groups):
    window, inside = Window(limits, 64), 0
    for group in groups:
        window.add(group)
        inside += sum(len(c.missing) or 1 for c in group)
        assert len(window) == inside
        batch = window.take()
        inside -= len(batch.pieces) + len(batch.ready)
        assert len(window) == inside


@given(st.integers(1, 20), st.integers(0, 30))
def test_there_is_room_below_the_capacity(capacity, added):
    window = Window(BatchLimits(), capacity)
    window.add(claim(f"e{i}", f"t{i}") for i in range(added))
    assert window.has_room() == (added < capacity)


def test_limits_can_be_changed_between_batches():
    window = Window(BatchLimits(texts=1), 4)
    window.add(claim(f"e{i}", f"t{i}") for i in range(20))
    assert (len(window.take().pieces), window.has_room()) == (1, False)
    window.tune(BatchLimits(texts=5), 20)
    assert (window.has_room(), len(window.take().pieces)) == (True, 5)
    window.tune(BatchLimits(texts=5, tokens=8), 20)
    assert len(window.take().pieces) == 2


@given(limits, workloads())
def test_a_batch_is_closed_only_by_a_limit_or_by_the_end(limits, groups):
    """No room is given away: neither neighbour in length would have fitted in."""
    window = Window(limits, 10_000)
    claims = [c for group in groups for c in group]
    window.add(claims)
    left = list(pieces(*claims))
    while window:
        batch = window.take()
        left = [piece for piece in left if piece not in batch.pieces]
        if not batch.pieces or len(batch.pieces) == limits.texts:
            continue
        longest = max(piece.chunk.tokens for piece in batch.pieces)
        priority = batch.pieces[0].claim.priority
        rest = sorted(p.chunk.tokens for p in left if p.claim.priority == priority)
        if shorter := [n for n in rest if n <= longest]:
            assert (len(batch.pieces) + 1) * max(longest, shorter[-1]) > limits.tokens
        if longer := [n for n in rest if n > longest]:
            assert (len(batch.pieces) + 1) * longer[0] > limits.tokens


def test_equal_texts_go_together_and_count_once():
    window = Window(BatchLimits(texts=2), 64)
    window.add(claim(f"e{n}", "the same", "the same, too", f"own {n}") for n in range(5))
    first = window.take()
    assert texts(first) == {b"the same", b"the same, too"}
    assert len(first.pieces) == 10
    assert [len(window.take().pieces) for _ in range(3)] == [2, 2, 1]
    assert not window


def test_an_edit_takes_along_those_who_wait_for_the_same_text():
    window = Window(BatchLimits(texts=4), 64)
    window.add([claim("bulk", "the same", "other", priority=1)])
    window.add([claim("edit", "the same", priority=0)])
    assert {piece.claim.entry_id for piece in window.take().pieces} == {"bulk", "edit"}
    assert [piece.chunk.text for piece in window.take().pieces] == ["other"]


def test_an_empty_window_gives_an_empty_batch():
    window = Window(BatchLimits(), 8)
    assert not window
    assert window.take() == Batch()


def test_a_text_above_the_limit_goes_alone():
    window = Window(BatchLimits(texts=8, tokens=100), 8)
    window.add([claim("long", "a", tokens=101), claim("longer", "b", tokens=150)])
    window.add([claim("short", "c", tokens=10)])
    assert [len(window.take().pieces) for _ in range(3)] == [1, 1, 1]


def test_the_neighbours_are_those_nearest_in_length():
    window = Window(BatchLimits(texts=3), 64)
    window.add(claim(f"e{n}", f"t{n}", tokens=n) for n in (100, 10, 90, 200, 103))
    assert [piece.chunk.tokens for piece in window.take().pieces] == [90, 100, 103]


def test_padding_is_small_when_the_window_is_full():
    """Under 5 % of the padded tokens, with the window that a worker has; by arrival, over 40 %."""
    rng = random.Random(1)
    window, spent, read = Window(BatchLimits(texts=8, tokens=2048), capacity=8 * 16), 0, 0
    for number in range(1000):
        window.add([claim(f"e{number}", f"t{number}", tokens=rng.randint(1, 256))])
        if not window.has_room():
            batch = window.take()
            spent += padded(batch)
            read += sum(piece.chunk.tokens for piece in batch.pieces)
    assert 1 - read / spent < 0.05
