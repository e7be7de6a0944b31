"""What the posting function must do, once more: one transfer at a time, over plain dicts.

Written from the rules and not from the SQL, so that the two can only agree by being right.
"""

from dataclasses import dataclass, field, replace

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
)

REMEMBERED = {20, 21, 22, 23, 30, 40, 41, 50}
OPEN, POSTED, VOIDED, EXPIRED = 0, 1, 2, 3


class Fails(Exception):
    """Carries the result code."""

    def __init__(self, code):
        self.code = code


@dataclass
class Account:
    """One account with what was booked on it."""

    normal: int = 1
    floor: int = LOWEST
    cap: int = HIGHEST
    status: int = 0
    currency: str = "CNY"
    debit: int = 0
    credit: int = 0
    debit_pending: int = 0
    credit_pending: int = 0

    @property
    def balance(self):
        return self.normal * (self.credit - self.debit)

    @property
    def outgoing(self):
        return self.debit_pending if self.normal > 0 else self.credit_pending

    @property
    def incoming(self):
        return self.credit_pending if self.normal > 0 else self.debit_pending

    @property
    def least(self):
        return self.balance - self.outgoing

    @property
    def most(self):
        return self.balance + self.incoming

    def figures(self):
        return self.debit, self.credit, self.debit_pending, self.credit_pending


@dataclass
class Hold:
    """Money set aside."""

    debit: int
    credit: int
    left: int
    state: int = OPEN
    until: int | None = None  # Seconds of business time, as `Oracle.now`.


@dataclass(frozen=True)
class Booked:
    """A transfer as it stands in the journal, and how its hold was before."""

    asked: object
    debit: int
    credit: int
    amount: int
    moves: int
    holds: int
    hold_before: Hold | None = None


@dataclass
class Oracle:
    """A book."""

    accounts: dict = field(default_factory=dict)
    journal: dict = field(default_factory=dict)
    holds: dict = field(default_factory=dict)
    rejected: set = field(default_factory=set)
    reversed: dict = field(default_factory=dict)
    now: int = 0

    def post(self, transfers):
        """Return the result codes of one call."""
        codes, rest = [], list(transfers)
        while rest:
            length = 1
            while length < len(rest) and rest[length - 1].flags & LINKED:
                length += 1
            chain, rest = rest[:length], rest[length:]
            codes += self._post_chain(chain)
        return codes

    def _post_chain(self, chain):
        is_open = bool(chain[-1].flags & LINKED)
        if not is_open and all(self._verdict(one) == 1 for one in chain):
            return [1] * len(chain)
        done = []
        for place, one in enumerate(chain):
            last = place == len(chain) - 1
            code = 11 if last and is_open else self._verdict(one)
            if code == 0:
                self._book(self._decide(one))
                done.append(one)
                continue
            if code in REMEMBERED:
                self.rejected.add(one.id)
            for booked in reversed(done):
                self._unbook(booked)
            codes = [10] * len(chain)
            codes[place] = code
            if is_open:
                codes[-1] = 11
            return codes
        return [0] * len(chain)

    def _verdict(self, asked):
        """Return the code that `asked` would get now."""
        if asked.id in self.journal:
            return 1 if self._same(self.journal[asked.id], asked) else 2
        if asked.id in self.rejected:
            return 3
        try:
            self._decide(asked)
        except Fails as failure:
            return failure.code
        return 0

    def _same(self, booked, asked):
        debit, credit = asked.debit, asked.credit
        if asked.flags & (POST | VOID) and asked.ref in self.holds:
            debit, credit = self.holds[asked.ref].debit, self.holds[asked.ref].credit
        if (booked.debit, booked.credit) != (debit, credit):
            return False
        was = booked.asked
        if (was.flags, was.ref, was.code) != (asked.flags, asked.ref, asked.code):
            return False
        if was.txn != asked.txn:
            return False
        if asked.amount == -1 or asked.flags & (SWEEP_DEBIT | SWEEP_CREDIT):
            return True
        if asked.flags & RED:
            return booked.amount == -asked.amount
        if asked.flags & VOID and asked.amount == 0:
            return True
        return booked.amount == asked.amount

    def _decide(self, asked):
        """Return what would be booked. Raises Fails."""
        if asked.flags & (POST | VOID):
            return self._decide_hold(asked)
        if asked.flags & (PARTIAL | EXPIRY):
            raise Fails(12)
        kinds = [asked.flags & RED, asked.flags & BLUE]
        if all(kinds) or any(kinds) and asked.flags & (PENDING | SWEEP_DEBIT | SWEEP_CREDIT):
            raise Fails(12)
        if not 0 < asked.amount <= 10**15:
            raise Fails(13)
        if asked.debit == asked.credit:
            raise Fails(14)
        debit, credit = self.accounts.get(asked.debit), self.accounts.get(asked.credit)
        for account, code in ((debit, 20), (credit, 21)):
            if account is None:
                raise Fails(code)
        if debit.status & 5:
            raise Fails(22)
        if credit.status & 6:
            raise Fails(23)
        if debit.currency != credit.currency:
            raise Fails(15)
        if any(kinds):
            self._check_reversal(asked)
        amount = self._swept(asked, debit, credit)
        if amount <= 0:
            raise Fails(40)
        if asked.flags & RED:
            amount = -amount
        moves, holds = (0, amount) if asked.flags & PENDING else (amount, 0)
        self._check_limits(debit, credit, moves, holds)
        return Booked(asked, asked.debit, asked.credit, amount, moves, holds)

    def _check_reversal(self, asked):
        """Refuse what takes back something else than was moved, or more of it."""
        original = self.journal.get(asked.ref)
        if original is None:
            raise Fails(50)
        sides = (asked.debit, asked.credit)
        if asked.flags & BLUE:
            sides = sides[::-1]
        if original.moves == 0 or original.asked.flags & (RED | BLUE):
            raise Fails(51)
        if (original.debit, original.credit) != sides:
            raise Fails(51)
        if self.reversed.get(asked.ref, 0) + asked.amount > original.moves:
            raise Fails(52)

    @staticmethod
    def _swept(asked, debit, credit):
        room = [asked.amount]
        if asked.flags & SWEEP_DEBIT:
            falls = debit.normal > 0
            room.append(debit.least - debit.floor if falls else debit.cap - debit.most)
        if asked.flags & SWEEP_CREDIT:
            falls = credit.normal < 0
            room.append(credit.least - credit.floor if falls else credit.cap - credit.most)
        return min(room)

    @staticmethod
    def _check_limits(debit, credit, moves, holds):
        """Refuse what takes an account beyond a limit, or further beyond it."""
        after = (
            (debit, replace(debit, debit=debit.debit + moves)),
            (credit, replace(credit, credit=credit.credit + moves)),
        )
        after[0][1].debit_pending += holds
        after[1][1].credit_pending += holds
        for was, now in after:
            if now.least < was.least and now.least < now.floor:
                raise Fails(40)
        for was, now in after:
            if now.most > was.most and now.most > now.cap:
                raise Fails(41)

    def _decide_hold(self, asked):
        flags, amount = asked.flags, asked.amount
        if flags & POST and flags & VOID or flags & VOID and flags & PARTIAL:
            raise Fails(12)
        if flags & (PENDING | SWEEP_DEBIT | SWEEP_CREDIT | RED | BLUE):
            raise Fails(12)
        if amount < -1 or (amount == 0 and flags & POST):
            raise Fails(13)
        hold = self.holds.get(asked.ref)
        if hold is None:
            raise Fails(30)
        if asked.debit not in (0, hold.debit) or asked.credit not in (0, hold.credit):
            raise Fails(31)
        if hold.state != OPEN:
            raise Fails({POSTED: 33, VOIDED: 34, EXPIRED: 35}[hold.state])
        if not flags & EXPIRY and hold.until is not None and hold.until <= self.now:
            raise Fails(35)
        if flags & VOID:
            if amount > 0 and amount != hold.left:
                raise Fails(31)
            return Booked(asked, hold.debit, hold.credit, hold.left, 0, -hold.left)
        amount = hold.left if amount == -1 else amount
        if amount > hold.left:
            raise Fails(32)
        back = amount if flags & PARTIAL else hold.left
        return Booked(asked, hold.debit, hold.credit, amount, amount, -back)

    def _book(self, booked):
        self._move(booked, 1)
        asked = booked.asked
        if asked.flags & (POST | VOID):
            hold = self.holds[asked.ref]
            booked = replace(booked, hold_before=replace(hold))
            hold.left += booked.holds
            if hold.left == 0:
                by_void = EXPIRED if asked.flags & EXPIRY else VOIDED
                hold.state = by_void if asked.flags & VOID else POSTED
        elif asked.flags & PENDING:
            until = self.now + asked.ttl if asked.ttl else None
            self.holds[asked.id] = Hold(booked.debit, booked.credit, booked.amount, until=until)
        elif asked.flags & (RED | BLUE):
            self._take_back(asked, 1)
        self.journal[asked.id] = booked

    def _unbook(self, asked):
        booked = self.journal.pop(asked.id)
        self._move(booked, -1)
        if booked.hold_before is not None:
            self.holds[asked.ref] = booked.hold_before
        elif asked.flags & PENDING:
            del self.holds[asked.id]
        elif asked.flags & (RED | BLUE):
            self._take_back(asked, -1)

    def _take_back(self, asked, sign):
        taken = self.reversed.pop(asked.ref, 0) + sign * asked.amount
        if taken:
            self.reversed[asked.ref] = taken

    def _move(self, booked, sign):
        debit, credit = self.accounts[booked.debit], self.accounts[booked.credit]
        debit.debit += sign * booked.moves
        credit.credit += sign * booked.moves
        debit.debit_pending += sign * booked.holds
        credit.credit_pending += sign * booked.holds
