"""Reading on in the feed, against a model: every event once, or a gap that was said."""

import json

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.messages import Event
from pyrite.server.feed.replay_buffer import ReplayBuffer, replayed


def event(seq):
    return Event(seq, "entry_created", "notes", f"e{seq}", seq, float(seq))


class Database:
    """Events that are committed and pruned."""

    def __init__(self):
        self.rows = []
        self.last = 0

    def commit(self, number):
        self.rows += [event(self.last + i + 1) for i in range(number)]
        self.last += number

    def prune(self, keep):
        self.rows = self.rows[-keep:]

    def read(self, since, limit):
        return [e for e in self.rows if e.seq > since][:limit]


class Client:
    """Somebody who takes what follows its place, and notes it."""

    def __init__(self, position):
        self.begin = self.position = position
        self.seen = []
        self.missing = set()

    def hear(self, messages):
        for message in messages:
            body = json.loads(message.text)
            if body["type"] == "gap":
                self.missing |= set(range(body["from"], body["to"] + 1))
            else:
                self.seen.append(body["seq"])
            self.position = body["seq"]


class Reading(RuleBasedStateMachine):
    """Processes commit and prune; two of them publish; a client goes from one to the other."""

    def __init__(self):
        super().__init__()
        self.database = Database()
        self.feeds = [ReplayBuffer(0, 4), ReplayBuffer(0, 4)]
        self.client = Client(0)
        self.page = None

    @rule(number=st.integers(1, 9))
    def commit(self, number):
        self.database.commit(number)

    @rule(keep=st.integers(1, 6))
    def prune(self, keep):
        self.database.prune(keep)

    @rule(which=st.integers(0, 1), limit=st.integers(1, 5))
    def publish(self, which, limit):
        feed = self.feeds[which]
        feed.publish(self.database.read(feed.last, limit))

    @precondition(lambda self: self.page is None)
    @rule(which=st.integers(0, 1), most=st.integers(1, 3))
    def take(self, which, most):
        """Take what is at hand, or begin to read; a client may change its process at any time."""
        feed, client = self.feeds[which], self.client
        messages = feed.after(client.position, most)
        if messages is None:
            self.page = (feed, self.database.read(client.position, most))
        else:
            client.hear(messages)

    @precondition(lambda self: self.page is not None)
    @rule(breaks_off=st.booleans())
    def receive(self, breaks_off):
        """What was read arrives, much later perhaps, whole or not at all."""
        feed, page = self.page
        self.page = None
        messages = replayed(self.client.position, page, feed.last)
        assert messages
        assert json.loads(messages[-1].text)["seq"] > self.client.position
        self.client.hear(messages[:1] if breaks_off else messages)

    @invariant()
    def every_event_once_or_said_to_be_missing(self):
        client = self.client
        assert client.seen == sorted(set(client.seen))
        assert client.missing.isdisjoint(client.seen)
        heard = client.missing | set(client.seen)
        assert heard == set(range(client.begin + 1, client.position + 1))

    @invariant()
    def nothing_is_said_to_be_missing_that_is_there(self):
        assert self.client.missing.isdisjoint(e.seq for e in self.database.rows)

    @invariant()
    def nothing_is_heard_before_it_was_published(self):
        assert self.client.position <= max(feed.last for feed in self.feeds)

    def teardown(self):
        """In the end it hears all there is."""
        feed = self.feeds[0]
        while page := self.database.read(feed.last, 3):
            feed.publish(page)
        self.page = None
        while self.client.position < feed.last:
            messages = feed.after(self.client.position, 2)
            if messages is None:
                page = self.database.read(self.client.position, 2)
                messages = replayed(self.client.position, page, feed.last)
            self.client.hear(messages)
        self.every_event_once_or_said_to_be_missing()


Reading.TestCase.settings = settings(stateful_step_count=40)
TestReading = Reading.TestCase


def test_what_is_at_hand_has_no_holes():
    recent = ReplayBuffer(0, 10)
    recent.publish([event(1), event(2)])
    recent.publish([event(7), event(8)])  # those between were pruned before they were read
    assert recent.after(2, 10) is None
    assert recent.after(5, 10) is None
    assert [m.seq for m in recent.after(6, 10)] == [7, 8]
    assert [m.seq for m in recent.after(6, 1)] == [7]
    assert recent.after(8, 10) == recent.after(99, 10) == []


def test_when_all_was_pruned_that_is_said():
    assert [m.text for m in replayed(3, [], 9)] == [
        '{"type":"gap","seq":9,"from":4,"to":9,"reason":"pruned"}'
    ]
