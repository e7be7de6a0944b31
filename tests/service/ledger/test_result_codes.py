"""Every result code, and which of two is told: the order is a promise, and this is its proof.

Each row of `BOTH` is wrong in two ways that follow each other in the documented order. The first
of them is told; without it, in an otherwise equal transfer, the second one is.
"""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.service.ledger.books import (
    BLUE,
    LINKED,
    PARTIAL,
    PENDING,
    POST,
    RED,
    VOID,
    Transfer,
    connect,
    open_account,
    post,
    resolve,
    transfer,
    uuid7,
)

ROOT = Path(__file__).resolve().parents[3]
BANK, ANNE, BEN, CAPPED, DOLLARS, NO_DEBIT, NO_CREDIT = range(1, 8)
NOBODY, NO_ONE = 98, 99
FORBIDDEN = 24

# Where several codes apply; of holds 31 is said twice, for the accounts and for the amount.
ALL = [11, 10, 1, 2, 3, 12, 13]
OF_HOLDS = [30, 31, 33, 34, 35, 31, 32]
OF_OTHERS = [14, 20, 21, 22, 23, 15, 50, 51, 52, 40, 41]
# Tested where they are at home.
ELSEWHERE = {"ID_TOO_OLD"}
# Whoever was told one of these must come with a new id.
REMEMBERED = {20, 21, 22, 23, 30, 40, 41, 50}

# Of these two never apply at once.
NEVER_BOTH = {
    (1, 2): "it is the same or it is not",
    (2, 3): "what was booked did not fail",
    (30, 31): "where there is no hold there is nothing to differ from",
    (33, 34): "a hold ends once",
    (31, 32): "one is about a void, the other about a post",
    (50, 51): "where there is no original there is nothing to differ from",
}


class World:
    """A book, and what has happened in it."""

    def __init__(self, connection):
        self.connection = connection
        open_account(connection, BANK, normal=-1)
        open_account(connection, ANNE, floor=0)
        open_account(connection, BEN, floor=0)
        open_account(connection, CAPPED, floor=0, cap=1_000)
        open_account(connection, DOLLARS, currency="USD")
        open_account(connection, NO_DEBIT, status=1)
        open_account(connection, NO_CREDIT, status=2)
        self.paid = self.booked(transfer(BANK, ANNE, 10_000))
        self.sent = self.booked(transfer(ANNE, BEN, 500))
        self.booked(transfer(BEN, BANK, 1))
        self.failed = transfer(BEN, ANNE, 10_001)
        assert post(connection, self.failed) == [40]
        self.gone = transfer(ANNE, 50, 7)
        open_account(connection, 50)
        self.booked(self.gone)
        connection.execute("UPDATE balance SET status = 4 WHERE account_id = 50")

    def booked(self, one):
        assert post(self.connection, one) == [0]
        return one

    def hold(self, *ends, late=False):
        """A hold of 500 that has ended so; its time is over if it is `late`."""
        made = self.booked(transfer(ANNE, BEN, 500, PENDING, ttl=60 if late else 0))
        for end in ends:
            self.booked(resolve(made, end))
        if late:
            self.connection.execute("UPDATE clock SET shift = shift + '61 seconds'")
        return made


def ask(debit, credit, amount, flags=0, ref=None):
    return [transfer(debit, credit, amount, flags, ref=ref)]


def end(hold, flags, amount=-1, **more):
    return [resolve(hold, flags, amount, **more)]


def chain(*transfers):
    """All of them linked but the last."""
    *first, last = transfers
    return [*(one.but(flags=one.flags | LINKED) for one in first), last]


def short():
    return transfer(BEN, ANNE, 10_001)


def nowhere():
    return Transfer(id=uuid7())


BOTH = {
    (11, 10): lambda w: (chain(short(), *ask(1, 2, 1, LINKED)), chain(short(), *ask(1, 2, 1))),
    (10, 1): lambda w: (chain(short(), w.paid), [w.paid]),
    (3, 12): lambda w: (
        [w.failed.but(flags=PARTIAL)],
        [w.failed.but(flags=PARTIAL, id=uuid7())],
    ),
    (12, 13): lambda w: (ask(ANNE, BEN, 0, RED | BLUE), ask(ANNE, BEN, 0, RED)),
    (13, 30): lambda w: (end(nowhere(), POST, -2), end(nowhere(), POST, 1)),
    (31, 33): lambda w: (
        end(w.hold(POST), POST, debit=BEN),
        end(w.hold(POST), POST),
    ),
    (34, 35): lambda w: (end(w.hold(VOID, late=True), POST), end(w.hold(late=True), POST)),
    (35, 31): lambda w: (end(w.hold(late=True), VOID, 499), end(w.hold(), VOID, 499)),
    (13, 14): lambda w: (ask(ANNE, ANNE, 0), ask(ANNE, ANNE, 1)),
    (14, 20): lambda w: (ask(NOBODY, NOBODY, 1), ask(NOBODY, ANNE, 1)),
    (20, 21): lambda w: (ask(NOBODY, NO_ONE, 1), ask(ANNE, NO_ONE, 1)),
    (21, 22): lambda w: (ask(NO_DEBIT, NOBODY, 1), ask(NO_DEBIT, ANNE, 1)),
    (22, 23): lambda w: (ask(NO_DEBIT, NO_CREDIT, 1), ask(ANNE, NO_CREDIT, 1)),
    (23, 15): lambda w: (ask(DOLLARS, NO_CREDIT, 1), ask(DOLLARS, BEN, 1)),
    (15, 50): lambda w: (ask(DOLLARS, BEN, 1, RED), ask(ANNE, BEN, 1, RED)),
    (51, 52): lambda w: (
        ask(BEN, ANNE, 501, RED, w.sent.id),
        ask(ANNE, BEN, 501, RED, w.sent.id),
    ),
    (52, 40): lambda w: (
        ask(BEN, ANNE, 501, BLUE, w.sent.id),
        ask(BEN, ANNE, 500, BLUE, w.sent.id),
    ),
    (40, 41): lambda w: (ask(ANNE, CAPPED, 10_001), ask(ANNE, CAPPED, 1_001)),
    # Not neighbours, and as good to know.
    (1, 23): lambda w: ([w.gone], [w.gone.but(id=uuid7())]),
    (2, 12): lambda w: (
        [w.paid.but(flags=PARTIAL)],
        [w.paid.but(flags=PARTIAL, id=uuid7())],
    ),
    (3, 30): lambda w: (
        [w.failed.but(flags=POST, ref=uuid7())],
        end(nowhere(), POST),
    ),
    (31, 34): lambda w: (end(w.hold(VOID), VOID, credit=BANK), end(w.hold(VOID), VOID)),
    (33, 35): lambda w: (end(w.hold(POST, late=True), POST), end(w.hold(late=True), POST)),
    (35, 32): lambda w: (end(w.hold(late=True), POST, 501), end(w.hold(), POST, 501)),
    (34, 32): lambda w: (end(w.hold(VOID), POST, 501), end(w.hold(), POST, 501)),
    (23, 50): lambda w: (ask(ANNE, NO_CREDIT, 1, RED), ask(ANNE, BEN, 1, RED)),
}


@pytest.fixture
def world(database):
    with connect(database("ledger")) as connection:
        yield World(connection)


@pytest.mark.parametrize(("first", "second"), BOTH)
def test_the_first_of_two_is_told(world, first, second):
    """And the second one when the first is mended. Again it is told so, or that it has failed."""
    both, mended = BOTH[first, second](world)

    for asked, code in ((both, first), (mended, second)):
        assert post(world.connection, *asked)[-1] == code
        assert post(world.connection, *asked)[-1] == (3 if code in REMEMBERED else code)


def test_all_neighbours_are_tested():
    """Each pair that can apply at once has its row."""
    neighbours = {*pairwise(ALL + OF_HOLDS), *pairwise(ALL + OF_OTHERS)}

    assert neighbours == (neighbours & BOTH.keys()) | NEVER_BOTH.keys()
    assert not BOTH.keys() & NEVER_BOTH.keys()


def test_every_code_is_produced(world):
    """By a row above, by a booking, or by Forbid; a new code needs a row."""
    stored = dict(world.connection.execute("SELECT name, code FROM result_code").fetchall())
    told = {code for pair in BOTH for code in pair} | {0, FORBIDDEN}

    assert {code for name, code in stored.items() if name not in ELSEWHERE} == told


def test_what_was_forbidden_is_told_so(world):
    """As a chain by its own code, whatever else is wrong with it; by number it has failed."""
    txn = uuid7()
    run = world.connection.execute
    assert run("SELECT is_booked FROM forbid_chains(1, ARRAY[%s::uuid])", [txn]).fetchone() == (
        False,
    )
    sql = """
        SELECT outcome, refusal FROM post_chains(1, ARRAY[ROW(
            %(txn)s, 'X', 'n', 't', 'a', 1, 'CNY', now(), '', ARRAY[%(leg)s::uuid], '{98}', '{99}',
            '{0}', '{1}')::chain])
    """
    told = run(sql, {"txn": txn, "leg": uuid7()}).fetchall()

    assert told == [("refused", "FORBIDDEN")]
    assert post(world.connection, transfer(ANNE, BEN, 1).but(id=txn)) == [3]


_COMMENT = re.compile(r"((?://.*\n)+)enum ResultCode \{\n((?:  .*\n)+)\}")
_VALUE = re.compile(r"((?:  //.*\n)+)  RESULT_CODE_(\w+) = (\d+);")


@pytest.fixture
def contract():
    """What the contract says: the comment of the codes, and each code's own by its name."""
    file = ROOT / "proto/tongbao/ledger/v1/transfer_service.proto"
    comment, body = _COMMENT.search(file.read_text()).groups()
    said = {name: (int(number), text) for text, name, number in _VALUE.findall(body)}
    return " ".join(re.sub("^//", "", line) for line in comment.splitlines()), said


def test_the_documented_order_is_the_tested_one(contract):
    """In the contract, and in the reference that is made from it."""
    comment, said = contract
    comment = " ".join(comment.split())
    codes = {name: number for name, (number, _) in said.items()}

    def listed(text):
        found = re.findall(r"\b([A-Z_]{4,})(?: to ([A-Z_]+))?", text)
        for first, last in found:
            low, high = codes.get(first, 0), codes.get(last or first, 0)
            inside = [name for name, code in codes.items() if low <= code <= high]
            yield from (codes[name] for name in inside if low and name not in ELSEWHERE)

    order = comment.partition("in this order:")[2]
    every, rest = order.split(" of POST and VOID then ")
    of_holds, of_others = rest.split(" of all others ")
    assert list(listed(every)) == ALL
    assert list(listed(of_holds)) == OF_HOLDS
    assert list(listed(of_others)) == OF_OTHERS
    reference = (ROOT / "docs/reference/messages.md").read_text()
    assert comment in " ".join(reference.split())


def test_what_is_remembered_is_said_to_be(contract):
    """The comment of its code begins so."""
    _, said = contract
    assert {code for code, text in said.values() if "// Remembered." in text} == REMEMBERED
