"""Tokens: what a server seals it opens, and nothing else."""

import asyncio
import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles.folding.events import Position
from profiles.profile import Entry, Impression, Profile
from recstream.v1 import recommendation_service_pb2 as rpc
from server.errors import InvalidToken, NotAvailable
from server.settings import ServerSettings
from server.tokens.keys import TokenKey, parse_keys
from server.tokens.sealing import MAX_TOKEN_BYTES, BadToken, Kind, Sealer
from server.tokens.stream_place import MAX_RESUME_TOKEN_BYTES, StreamPlace, decode_place, encode_place
from server.tokens.written import Awaited, WriteTokens
from server.writes.topic_state import TopicState
from topics.names import Topics

ALPHABET = string.ascii_letters + string.digits + "-_"
TOPIC, ITEMS = b"e" * 16, b"i" * 16
KEYS = (TokenKey(2, b"two" * 8), TokenKey(1, b"one" * 8))
SEALER = Sealer(KEYS)
KINDS = st.sampled_from(list(Kind))
USERS = st.text(max_size=8)
WATERMARKS = st.dictionaries(
    st.tuples(st.sampled_from([TOPIC, ITEMS]), st.integers(0, 2**31 - 1)),
    st.integers(0, 2**63 - 1),
    max_size=8,
)


class FakeLog:
    """Knows the ids of the topics, after it was asked."""

    def __init__(self, down: bool = False) -> None:
        self.down = down
        self.ids = {"interactions": TOPIC, "item-changes": ITEMS}
        self.known: dict[str, TopicState] = {}
        self.reads = 0

    def state(self, topic: str) -> TopicState | None:
        return self.known.get(topic)

    async def states(self, topics: list[str], until: float) -> dict[str, TopicState]:
        self.reads += 1
        if self.down:
            raise NotAvailable(6, "Kafka does not answer", 1000)
        self.known.update({name: TopicState(self.ids[name], {}) for name in topics})
        return {name: self.known[name] for name in topics}


def tokens(log: FakeLog | None = None, sealer: Sealer = SEALER) -> WriteTokens:
    return WriteTokens(sealer, log or FakeLog(), Topics(""))  # type: ignore[arg-type]


def awaited(of: WriteTokens, *after: str, user_id: str = "ann", event_ids: tuple[str, ...] = ()) -> Awaited:
    request = rpc.RecommendRequest(user_id=user_id, after=after, after_event_ids=event_ids)
    return asyncio.run(of.awaited(request, 0.0))


@given(KINDS, st.binary(max_size=60), USERS)
def test_a_token_opens_to_what_was_sealed(kind: Kind, body: bytes, user_id: str) -> None:
    token = SEALER.seal(kind, body, user_id)
    assert set(token) <= set(ALPHABET)
    assert SEALER.open(token, list(Kind), user_id) == (kind, body)


@given(KINDS, st.binary(max_size=60), USERS, st.data())
def test_a_token_with_any_bit_flipped_is_refused(
    kind: Kind, body: bytes, user_id: str, data: st.DataObject
) -> None:
    raw = bytearray(decoded(SEALER.seal(kind, body, user_id)))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with pytest.raises(BadToken):
        SEALER.open(base64.urlsafe_b64encode(raw).decode().rstrip("="), list(Kind), user_id)


@given(KINDS, st.binary(max_size=60), st.data())
def test_a_token_with_any_character_changed_cut_or_added_is_refused(
    kind: Kind, body: bytes, data: st.DataObject
) -> None:
    token = SEALER.seal(kind, body, "ann")
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "=+/ \n").filter(lambda letter: letter != token[at]))
    more = data.draw(st.text(ALPHABET + "= ", min_size=1, max_size=5))
    for bad in (
        token[:at],
        token[at + 1 :],
        token[:at] + other + token[at + 1 :],
        token + more,
        more + token,
    ):
        with pytest.raises(BadToken):
            SEALER.open(bad, list(Kind), "ann")


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_a_text_that_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(BadToken):
        SEALER.open(token, list(Kind), "ann")


def test_an_endless_text_is_not_looked_at() -> None:
    with pytest.raises(BadToken, match="the limit is"):
        SEALER.open("A" * (MAX_TOKEN_BYTES + 1), list(Kind))


@given(KINDS, USERS, USERS)
def test_a_token_of_a_user_is_valid_for_no_other(kind: Kind, user_id: str, other: str) -> None:
    token = SEALER.seal(kind, b"body", user_id)
    of_all = kind in (Kind.ITEMS, Kind.CATALOGUE_PAGE)
    if of_all or user_id == other:
        assert SEALER.open(token, [kind], other) == (kind, b"body")
        return
    with pytest.raises(BadToken, match="another user"):
        SEALER.open(token, [kind], other)


def test_a_token_of_another_kind_tenant_or_key_is_refused_with_what_is_wrong() -> None:
    with pytest.raises(BadToken, match=r"is the token of items: pass one of events"):
        SEALER.open(SEALER.seal(Kind.ITEMS, b""), [Kind.EVENTS])
    with pytest.raises(BadToken, match="other servers"):
        Sealer(KEYS, "shop").open(SEALER.seal(Kind.ITEMS, b""), [Kind.ITEMS])
    with pytest.raises(BadToken, match="key 7"):
        SEALER.open(Sealer([TokenKey(7, KEYS[0].secret)]).seal(Kind.ITEMS, b""), [Kind.ITEMS])
    with pytest.raises(BadToken, match="other servers"):
        SEALER.open(Sealer([TokenKey(2, b"of another" * 2)]).seal(Kind.ITEMS, b""), [Kind.ITEMS])


def test_keys_are_changed_without_a_token_being_refused() -> None:
    old, both, turned, new = (Sealer(keys) for keys in (KEYS[1:], KEYS[::-1], KEYS, KEYS[:1]))
    for before, after in ((old, both), (both, turned), (turned, new)):
        # Servers before and after each step of a change accept what the others make.
        assert after.open(before.seal(Kind.ITEMS, b"x"), [Kind.ITEMS])
        assert before.open(after.seal(Kind.ITEMS, b"x"), [Kind.ITEMS])
    with pytest.raises(BadToken, match="key 1"):
        new.open(old.seal(Kind.ITEMS, b"x"), [Kind.ITEMS])


def test_keys_come_from_one_setting_newest_first() -> None:
    secrets = [b"\xff\xfe" * 16, b"k" * 64]
    text = f"2:{base64.b64encode(secrets[0]).decode()}, 1:{base64.urlsafe_b64encode(secrets[1]).decode()}\n"
    settings = ServerSettings(token_keys=text)  # type: ignore[arg-type]
    assert settings.token_keys is not None and "/" not in repr(settings.token_keys)
    assert parse_keys(settings.token_keys.get_secret_value()) == (
        TokenKey(2, secrets[0]), TokenKey(1, secrets[1]),
    )  # fmt: skip
    assert "kkkk" not in repr(parse_keys(text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no key"),
        (" , ", "there is no key"),
        ("c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "key 1 must begin with a number"),
        ("0:c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "key 1 must begin with a number"),
        ("256:c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "key 1 must begin with a number"),
        ("²:c2VjcmV0IHNlY3JldCBzZWNyZXQ=", "key 1 must begin with a number"),
        ("1:secret!", "key 1 is not base64"),
        ("1:c2VjcmV0", "key 1 has 6 bytes"),
        ("1:" + "QUFB" * 22, "key 1 has 66 bytes"),
        ("1:" + "QUFB" * 8 + ",1:" + "QkJC" * 8, "the number of key 2 occurs twice"),
    ],
)
def test_a_wrong_setting_of_keys_is_refused_without_showing_them(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_keys(text)
    assert "c2Vj" not in str(caught.value) and "secret!" not in str(caught.value)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2**40)), min_size=1, max_size=20))
def test_one_token_covers_all_events_of_a_call(where: list[tuple[int, int]]) -> None:
    token = tokens().of_events("ann", [Position(TOPIC, *each) for each in where])
    found = awaited(tokens(), token)
    assert {(p.partition, p.offset) for p in found.events} == {
        (partition, max(o for p, o in where if p == partition)) for partition, _ in where
    }
    assert not found.item_ends and not found.event_ids


def test_tokens_of_events_and_items_may_be_mixed() -> None:
    of = tokens()
    first = of.of_events("ann", [Position(TOPIC, 0, 5)])
    second = of.of_events("ann", [Position(TOPIC, 0, 3), Position(TOPIC, 1, 4)])
    put = of.of_items([Position(ITEMS, 2, 8), Position(ITEMS, 2, 9), Position(ITEMS, 0, 0)])
    found = awaited(of, first, put, second, event_ids=("e1",))
    assert set(found.events) == {Position(TOPIC, 0, 5), Position(TOPIC, 1, 4)}
    assert dict(found.item_ends) == {2: 10, 0: 1} and found.event_ids == {"e1"} and found
    assert of.of_items([]) == "" and not awaited(of)


def test_a_token_of_a_thousand_items_on_as_many_partitions_is_accepted() -> None:
    positions = [Position(ITEMS, partition, 2**40) for partition in range(1000)]
    assert len(awaited(tokens(), tokens().of_items(positions)).item_ends) == 1000


def test_each_bad_token_of_a_request_is_named() -> None:
    good = tokens().of_events("ann", [Position(TOPIC, 0, 5)])
    of_bob = tokens().of_events("bob", [Position(TOPIC, 0, 5)])
    page = SEALER.seal(Kind.LIST_PAGE, b"", "ann")
    with pytest.raises(InvalidToken) as caught:
        awaited(tokens(), good, of_bob, page, "no token", "")
    assert [v.field for v in caught.value.violations] == ["after[1]", "after[2]", "after[3]", "after[4]"]
    assert caught.value.facts == {"field": "after[1]"}


def test_a_token_of_a_topic_that_was_recreated_is_refused_at_once() -> None:
    log = FakeLog()
    event, item = (
        tokens(log).of_events("ann", [Position(TOPIC, 0, 5)]),
        tokens(log).of_items([Position(ITEMS, 0, 5)]),
    )
    assert awaited(tokens(log), event, item) and log.reads == 2
    assert awaited(tokens(log), event, item) and log.reads == 2
    log.ids = {"interactions": b"n" * 16, "item-changes": b"m" * 16}
    log.known.clear()
    for token in (event, item):
        with pytest.raises(InvalidToken, match="recreated"):
            awaited(tokens(log), token)


def test_the_id_of_a_topic_is_read_again_before_a_token_of_another_one_is_refused() -> None:
    log = FakeLog()
    log.known["interactions"] = TopicState(b"old" * 5 + b"!", {})
    assert awaited(tokens(log), tokens().of_events("ann", [Position(TOPIC, 0, 5)])).events
    assert log.reads == 1


def test_without_kafka_a_token_of_a_topic_that_is_not_known_is_not_judged() -> None:
    with pytest.raises(NotAvailable):
        awaited(tokens(FakeLog(down=True)), tokens().of_events("ann", [Position(TOPIC, 0, 5)]))


def test_an_event_is_included_by_its_position_or_by_its_id_in_the_history() -> None:
    entry = Entry("e1", "item", "like", 1, Position(TOPIC, 0, 5))
    impression = Impression("s1", ("item",), 1, Position(TOPIC, 0, 6))
    profile = Profile("ann", history=(entry,), impressions=(impression,), watermarks={(TOPIC, 0): 6})
    assert Awaited((Position(TOPIC, 0, 6),), frozenset({"e1", "s1"})).in_profile(profile)
    assert not Awaited((Position(TOPIC, 0, 7),)).in_profile(profile)
    assert not Awaited((Position(ITEMS, 0, 0),)).in_profile(profile)
    assert not Awaited(event_ids=frozenset({"e1", "e2"})).in_profile(profile)
    assert Awaited().in_profile(None) and not Awaited(event_ids=frozenset({"e1"})).in_profile(None)


@given(st.binary(min_size=16, max_size=16), st.none() | WATERMARKS, USERS)
def test_a_resume_token_is_short_and_gives_its_place(digest: bytes, watermarks, user_id: str) -> None:
    place = StreamPlace(digest, watermarks)
    token = encode_place(place, user_id, SEALER)
    assert len(token) <= MAX_RESUME_TOKEN_BYTES and decode_place(token, user_id, SEALER) == place


@given(st.integers(0, 400))
def test_watermarks_that_have_no_room_in_a_resume_token_are_left_out(partitions: int) -> None:
    watermarks = {(TOPIC, partition): 2**40 + partition for partition in range(partitions)}
    token = encode_place(StreamPlace(b"d" * 16, watermarks), "ann", SEALER)
    assert len(token) <= MAX_RESUME_TOKEN_BYTES
    found = decode_place(token, "ann", SEALER)
    assert found is not None and found.watermarks in (watermarks, None)
    assert found.watermarks is not None or partitions > 40


def test_a_resume_token_that_is_not_valid_is_none() -> None:
    token = encode_place(StreamPlace(b"d" * 16, {}), "ann", SEALER)
    assert decode_place(token, "ann", SEALER) == StreamPlace(b"d" * 16, {})
    for bad, user_id in ((token, "bob"), (token[:-1], "ann"), ("", "ann"), (token + "A", "ann")):
        assert decode_place(bad, user_id, SEALER) is None
    assert decode_place(token, "ann", Sealer([TokenKey.random()])) is None


def decoded(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
