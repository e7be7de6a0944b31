"""Any story of a book: whatever happens in it, in whatever order, the books stay right.

A state machine of hypothesis acts on a book of its own, and on the oracle. After every step it
compares the two, and looks at what must hold whatever the oracle believes.
"""

import itertools
import uuid
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.flow.close_day import close_day
from ledger.flow.create_book import create_book
from ledger.flow.expire_holds import expire_holds
from ledger.flow.prove_blocks import prove_blocks
from ledger.store.account_change import Became, Change, Verb, change_account
from ledger.store.account_view import CLOSED
from ledger.store.day import DayState, cut
from ledger.store.transfer import FREE
from tests.service.ledger import books
from tests.service.ledger.books import (
    BLUE,
    EXPIRY,
    HIGHEST,
    LINKED,
    LOWEST,
    PARTIAL,
    PENDING,
    POST,
    RED,
    SWEEP_CREDIT,
    SWEEP_DEBIT,
    VOID,
    Transfer,
    resolve,
    reverse,
    transfer,
)
from tests.service.ledger.oracle import OPEN, Account, Oracle

KINDS = [("wallet", 1), ("merchant_pending", 1), ("clearing", -1), ("channel_cost", -1)]
LIMITS = [(LOWEST, HIGHEST), (0, HIGHEST), (0, 700), (-300, HIGHEST), (LOWEST, 600)]
SHAPES = {
    "move": 0,
    "hold": PENDING,
    "capture": POST,
    "capture a part": POST | PARTIAL,
    "void": VOID,
    "red": RED,
    "blue": BLUE,
    "sweep the debit": SWEEP_DEBIT,
    "sweep the credit": SWEEP_CREDIT,
    "sweep into a hold": SWEEP_DEBIT | SWEEP_CREDIT | PENDING,
    "no such flags": RED | BLUE,
    "no such flags for a hold": VOID | PARTIAL,
    "no such amount": 0,
    "one account": 0,
}
OFTEN = ["move", "move", "hold", "hold", "capture", "capture a part", "void", "red", "blue"]
CHANGES = ["amount", "debit", "credit", "code", "txn", "flags", "ref"]
MINUTE = 60


@dataclass(frozen=True)
class Wish:
    """A transfer as it is wished for: accounts and earlier ones by their places."""

    shape: str
    debit: int
    credit: int
    amount: int
    which: int
    ttl: int
    linked: bool
    again: str


ACCOUNTS = st.integers(0, 7)  # The last one there is only when it was opened later.
WISHES = st.builds(
    Wish,
    shape=st.sampled_from([*OFTEN, *OFTEN, *SHAPES]),
    debit=st.sampled_from([*range(6)] * 4 + [6, 7]),
    credit=st.sampled_from([*range(6)] * 4 + [6, 7]),
    amount=st.one_of(st.integers(1, 400), st.just(100)),
    which=st.integers(0, 9),
    ttl=st.sampled_from([0, MINUTE, 3 * MINUTE]),
    linked=st.sampled_from([False] * 7 + [True]),
    again=st.sampled_from([""] * 30 + ["same"] * 5 + CHANGES),
)
CALLS = st.fixed_dictionaries(
    {
        "wishes": st.lists(WISHES, min_size=2, max_size=12),
        "is_open": st.sampled_from([False] * 7 + [True]),
    }
)
ACCOUNT = {"kind": st.sampled_from(KINDS), "limits": st.sampled_from(LIMITS)}


def turn(**brought):
    """A rule that ends with a call: hypothesis leaves out rules, and every story needs calls."""

    def of(act):
        @wraps(act)
        def acted(self, call, **what):
            act(self, **what)
            self.post(call)

        return rule(call=CALLS, **brought)(acted)

    return of


class Story(RuleBasedStateMachine):
    """One book. `connection`, `desk` and `run` are of the test that tells it."""

    connection = desk = run = None
    names = itertools.count(1)
    numbers = itertools.count(1)

    @initialize()
    def begin(self):
        """A source of money, five accounts that got some of it, and one of dollars."""
        self.book = self.run(create_book(self.desk, name=f"book-{next(self.names)}"))
        self.oracle, self.calls, self.accounts = Oracle(), [], []
        self.sent, self.holds, self.moves, self.beyond = [], [], [], {}
        self._open(KINDS[2], LIMITS[0], "CNY")
        for limits in LIMITS:
            self._open(KINDS[0], limits, "CNY")
        self._open(KINDS[1], LIMITS[0], "USD")
        source, *others, _ = self.accounts
        self._send([transfer(source, one, 500) for one in others])

    @turn(**ACCOUNT, currency=st.sampled_from(["CNY", "CNY", "USD"]))
    def open_account(self, kind, limits, currency):
        self._open(kind, limits, currency)

    def _open(self, kind, limits, currency):
        number, (name, normal), (floor, cap) = next(self.numbers), kind, limits
        what = {"normal": normal, "floor": floor, "cap": cap, "currency": currency}
        books.open_account(self.connection, number, kind=name, book=self.book, **what)
        self.oracle.accounts[number] = Account(**what)
        self.accounts.append(number)

    @rule(call=CALLS)
    def post(self, call):
        """A call; what it repeats may be of this call or of an earlier one."""
        wishes, made = call["wishes"], []
        for place, wish in enumerate(wishes, 1):
            one = self._again(wish) if wish.again and self.sent else self._new(wish)
            linked = call["is_open"] if place == len(wishes) else wish.linked
            one = one.but(flags=one.flags | FREE | (LINKED if linked else 0))
            made.append(one)
            self.sent.append(one)
        self._send(made)
        self.calls.append(made)

    @turn(which=st.integers(0, 30))
    def send_again(self, which):
        if self.calls:
            self._send_again(self.calls[which % len(self.calls)])

    @turn(
        account=ACCOUNTS, mark=st.sampled_from([1, 2, 3]), verb=st.sampled_from(["mark", "unmark"])
    )
    def block_or_unblock(self, account, mark, verb):
        self._change(account, Verb.BLOCK if verb == "mark" else Verb.UNBLOCK, **{verb: mark})

    @turn(account=ACCOUNTS)
    def close_account(self, account):
        self._change(account, Verb.CLOSE, mark=CLOSED)

    @turn(account=ACCOUNTS, limits=st.sampled_from(LIMITS), allow_breach=st.booleans())
    def set_limits(self, account, limits, allow_breach):
        floor, cap = limits
        limits = {"floor_minor": floor, "cap_minor": cap, "allow_breach": allow_breach}
        self._change(account, Verb.SET_LIMITS, **limits)

    @turn(minutes=st.integers(1, 4))
    def wait(self, minutes):
        self.run(self.desk.clock.advance(self.desk.db, timedelta(minutes=minutes)))
        self.oracle.now += minutes * MINUTE

    @turn()
    def expire(self):
        """Every open hold whose time is over is let go, by an entry of its own."""
        due = [
            key
            for key, hold in self.oracle.holds.items()
            if hold.state == OPEN and hold.until is not None and hold.until <= self.oracle.now
        ]
        self.run(expire_holds(self.desk))
        for key in due:
            [[made]] = self._rows(
                "SELECT id FROM transfer WHERE ref = %s AND flags & 128 <> 0", key
            )
            assert self.oracle.post([Transfer(id=made, flags=VOID | EXPIRY, ref=key)]) == [0]

    @turn()
    def next_day(self):
        """Below the flow, which waits for the business date: ids would become too old."""
        [[date]] = self._rows("SELECT acct_date + 1 FROM book WHERE book_id = %s", self.book)
        assert self.run(cut(self.desk.db, book_id=self.book, to=date))

    @turn()
    def close_days(self):
        """What was cut is closed, and debits are credits: in the day, and on the whole."""
        sql = "SELECT acct_date FROM book_day WHERE book_id = %s AND state = 'cut' ORDER BY 1"
        for [date] in self._rows(sql, self.book):
            day = self.run(close_day(self.desk, book_id=self.book, acct_date=date))
            assert day.state is DayState.CLOSED
        assert self._rows(_TRIAL, self.book) == []

    @invariant()
    def it_is_what_the_oracle_says(self):
        """Balances, holds, reversals and journal."""
        oracle = self.oracle
        stored = {row[0]: row[1:] for row in self._rows(_FIGURES, self.book)}
        assert stored == {key: each.figures() for key, each in oracle.accounts.items()}
        holds = self._rows("SELECT id, remaining, state FROM hold WHERE book_id = %s", self.book)
        assert sorted(holds) == sorted((key, h.left, h.state) for key, h in oracle.holds.items())
        reversed_ = self._rows("SELECT id, reversed FROM reversal WHERE book_id = %s", self.book)
        assert dict(reversed_) == oracle.reversed
        journal = self._rows("SELECT id, amount FROM transfer WHERE book_id = %s", self.book)
        assert sorted(journal) == sorted((key, one.amount) for key, one in oracle.journal.items())

    @invariant()
    def it_is_right_whatever_the_oracle_says(self):
        """Debits are credits, balances are their entries, nobody is further beyond a limit."""
        assert self._rows(_UNEVEN, self.book) == []
        assert self._rows(_NOT_REPLAYED, self.book) == []
        beyond = {row[0]: row[1:] for row in self._rows(_BEYOND, self.book)}
        for account, (below, above) in beyond.items():
            was_below, was_above = self.beyond.get(account, (0, 0))
            assert below <= was_below, f"account {account} fell below its floor"
            assert above <= was_above, f"account {account} rose above its cap"
        self.beyond = beyond

    def teardown(self):
        """All that was booked exists when it comes once more, and the book is proved."""
        if not hasattr(self, "book"):
            return
        for call in self.calls:
            self._send_again(call)
        self.it_is_what_the_oracle_says()
        findings = self.run(_findings(self.desk, self.book))
        assert findings == []

    def _send_again(self, call):
        """Whatever was booked exists, unless its chain fails by another one or is open."""
        booked = [self._booked(one) for one in call]
        codes = self._send(call)
        told = {code for code, was in zip(codes, booked, strict=True) if was}
        assert told <= {1, 10, 11}

    def _send(self, call):
        codes = books.post(self.connection, *call, book=self.book)
        assert codes == self.oracle.post(call)
        return codes

    def _new(self, wish):
        """One with a new id, as it is wished for as far as there is anything to end or reverse."""
        flags, amount = SHAPES[wish.shape], wish.amount
        if flags & (POST | VOID) and self.holds:
            return resolve(self._of(self.holds, wish), flags, amount if flags & PARTIAL else -1)
        if flags in (RED, BLUE) and self.moves:
            return reverse(self._of(self.moves, wish), flags, amount)
        if flags & (POST | VOID | RED | BLUE) and wish.shape in OFTEN:
            flags = 0
        if wish.shape == "no such amount":
            amount = 10**15 + wish.which if wish.which else 0
        debit, credit = wish.debit, wish.credit
        if (debit == credit) is not (wish.shape == "one account"):
            credit = debit if wish.shape == "one account" else (debit + 1) % 6
        ttl = wish.ttl if flags & PENDING else 0
        sides = self._account(debit), self._account(credit)
        made = transfer(*sides, amount, flags, ttl=ttl)
        (self.holds if flags & PENDING else self.moves).append(made)
        return made

    def _again(self, wish):
        """One that was sent, or something else under its id."""
        was = self._of(self.sent, wish)
        other = {
            "amount": wish.amount,
            "debit": self._account(wish.debit),
            "credit": self._account(wish.credit),
            "code": was.code + 1,
            "txn": uuid.UUID(int=wish.which),
            "flags": SHAPES[wish.shape],
            "ref": self._of(self.sent, wish).id,
        }
        return was if wish.again == "same" else replace(was, **{wish.again: other[wish.again]})

    def _booked(self, one):
        """Whether this very transfer is in the journal."""
        return one.id in self.oracle.journal and self.oracle.journal[one.id].asked == one

    def _of(self, those, wish):
        return those[-1 - wish.which % len(those)]

    def _account(self, place):
        """An account, or one that there is not."""
        return self.accounts[place] if place < len(self.accounts) else 0

    def _change(self, place, verb, **what):
        """Change an account; the oracle's changes as it must. Return what became of it."""
        number = self.accounts[place % len(self.accounts)]
        account = self.oracle.accounts[number]
        asked = Change(
            verb=verb, actor="op:story", cause="", request_id=uuid.uuid4().hex, fingerprint=b"",
            **what,
        )  # fmt: skip
        became = _became(account, asked)
        changing = change_account(self.desk.db, asked, book_id=self.book, account_id=number)
        assert self.run(changing).became is became
        if became is Became.DONE:
            account.status = account.status & ~asked.unmark | asked.mark
            if asked.floor_minor is not None:
                account.floor, account.cap = asked.floor_minor, asked.cap_minor
            below, above = account.floor - account.least, account.most - account.cap
            self.beyond[number] = (max(below, 0), max(above, 0))
        return became

    def _rows(self, sql, *values):
        return self.connection.execute(sql, values).fetchall()


def _became(account, asked):
    """Return what must become of a change."""
    if account.status & CLOSED:
        return Became.CLOSED
    if asked.mark & CLOSED and (account.balance, account.outgoing, account.incoming) != (0, 0, 0):
        return Became.NOT_EMPTY
    if asked.floor_minor is not None and not asked.allow_breach:
        if asked.floor_minor > account.least:
            return Became.BELOW_FLOOR
        if asked.cap_minor < account.most:
            return Became.ABOVE_CAP
    return Became.DONE


async def _findings(desk, book_id):
    return [one async for part in prove_blocks(desk, book_id) for one in part.findings]


_FIGURES = """
SELECT account_id, debit, credit, debit_pending, credit_pending FROM balance WHERE book_id = %s
"""

_UNEVEN = """
SELECT currency_code FROM balance WHERE book_id = %s GROUP BY currency_code
HAVING sum(debit) <> sum(credit) OR sum(debit_pending) <> sum(credit_pending)
"""

# Pending entries (2) and voids (8) move nothing.
_NOT_REPLAYED = """
SELECT b.account_id FROM balance b
LEFT JOIN transfer t ON t.book_id = b.book_id AND t.flags & 10 = 0
                    AND b.account_id IN (t.debit_id, t.credit_id)
WHERE b.book_id = %s GROUP BY b.account_id, b.debit, b.credit
HAVING b.debit <> coalesce(sum(t.amount) FILTER (WHERE t.debit_id = b.account_id), 0)
    OR b.credit <> coalesce(sum(t.amount) FILTER (WHERE t.credit_id = b.account_id), 0)
"""

_BEYOND = """
SELECT account_id,
       greatest(floor - balance + CASE WHEN normal > 0 THEN debit_pending ELSE credit_pending END,
                0),
       greatest(balance + CASE WHEN normal > 0 THEN credit_pending ELSE debit_pending END - cap,
                0)
FROM (SELECT b.*, normal * (credit - debit) AS balance FROM balance b WHERE book_id = %s) x
"""

_TRIAL = """
SELECT acct_date, currency_code FROM subject_day WHERE book_id = %s GROUP BY 1, 2
HAVING sum(debit) <> sum(credit) OR sum(closing) <> 0
"""
