"""What the entries of a book come to, and where its balances, holds and reversals differ."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import InitVar, astuple, dataclass, field
from itertools import islice
from typing import TypeVar

from ledger.model import Finding
from ledger.proofs import Frame
from ledger.store.proof import Slice
from mesh.db import Row

_NOTHING = (0, 0)
_Key = TypeVar("_Key", int, str)
# What is written down of a proof is cut so small that no other thread waits for long.
_FRAME_ITEMS = 2_000
_FRAME_SUMS = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What is said of a hold that is open."""

    debit_id: int
    credit_id: int
    remaining: int


class _Sums:
    """Debits and credits by account, 17 bytes each: ids up to `highest` were given out one by one.

    Others are kept one by one, and what only a forged amount can come to, beyond 64 bits.
    """

    def __init__(self, highest: int) -> None:
        zeros = bytes(8 * (highest + 1))
        self._debits, self._credits = array("q", zeros), array("q", zeros)
        self._is_moved = bytearray(highest + 1)
        self._others: dict[int, tuple[int, int]] = {}

    def add(self, account_id: int, debit: int, credit: int) -> None:
        if not 0 <= account_id < len(self._is_moved):
            _add(self._others, account_id, debit, credit)
            return
        self._is_moved[account_id] = 1
        for sums, amount, other in (
            (self._debits, debit, (debit, 0)),
            (self._credits, credit, (0, credit)),
        ):
            try:
                sums[account_id] += amount
            except OverflowError:
                _add(self._others, account_id, *other)

    def pop(self, account_id: int) -> tuple[int, int]:
        """Return the sums of an account, and forget them."""
        debit, credit = self._others.pop(account_id, _NOTHING)
        if 0 <= account_id < len(self._is_moved):
            self._is_moved[account_id] = 0
            debit, credit = debit + self._debits[account_id], credit + self._credits[account_id]
        return debit, credit

    def left(self) -> Iterator[int]:
        """Yield the accounts that moved and are not forgotten."""
        at = -1
        while (at := self._is_moved.find(1, at + 1)) >= 0:
            yield at
        yield from sorted(one for one in self._others if one < 0 or one >= len(self._is_moved))

    def frames(self) -> Iterator[Frame]:
        """Yield all of it, to be written down."""
        for kind, sums in (("debits", self._debits), ("credits", self._credits)):
            for at in range(0, len(sums), _FRAME_SUMS):
                yield kind, sums[at : at + _FRAME_SUMS].tobytes()
        for at in range(0, len(self._is_moved), _FRAME_SUMS):
            yield "moved", bytes(self._is_moved[at : at + _FRAME_SUMS])
        yield from _framed("others", ((key, *sums) for key, sums in self._others.items()))

    def take_back(self, kind: str, some: bytes) -> None:
        """Take in a frame. They come in their order, to sums that were made for nobody."""
        match kind:
            case "debits":
                self._debits.frombytes(some)
            case "credits":
                self._credits.frombytes(some)
            case "moved":
                self._is_moved.extend(some)
            case "others":
                self._others |= {key: (debit, credit) for key, debit, credit in json.loads(some)}


@dataclass(slots=True, kw_only=True)
class Replay:
    """What the entries come to, as far as they were read. Holds and transfers by their ids.

    Accounts are compared in the order of their ids; `compared_upto` is the last one. What moves
    on those later is only added to the `totals` of its currency. `highest_id` is of the accounts
    that there are, more or less.
    """

    book_id: int
    highest_id: InitVar[int]
    moved: _Sums = field(init=False)
    pending: dict[int, tuple[int, int]] = field(default_factory=dict)
    held: dict[str, Hold] = field(default_factory=dict)
    reversed: dict[str, int] = field(default_factory=dict)
    compared_upto: int = -(2**63)
    totals: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self, highest_id: int) -> None:
        self.moved = _Sums(highest_id)

    def frames(self) -> Iterator[Frame]:
        """Yield all of it, to be written down."""
        yield "replay", json.dumps([self.book_id, self.compared_upto]).encode()
        yield from self.moved.frames()
        yield from _framed("pending", ((key, *sums) for key, sums in self.pending.items()))
        yield from _framed("held", ((key, *astuple(one)) for key, one in self.held.items()))
        yield from _framed("reversed", self.reversed.items())
        yield from _framed("totals", ((key, *sums) for key, sums in self.totals.items()))

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Replay:
        """Return what was written down."""
        replay = cls(book_id=0, highest_id=-1)
        for kind, some in frames:
            match kind:
                case "replay":
                    replay.book_id, replay.compared_upto = json.loads(some)
                case "pending":
                    replay.pending |= {key: (one, two) for key, one, two in json.loads(some)}
                case "held":
                    replay.held |= {
                        key: Hold(debit_id=debit, credit_id=credit, remaining=remaining)
                        for key, debit, credit, remaining in json.loads(some)
                    }
                case "reversed":
                    replay.reversed |= dict(json.loads(some))
                case "totals":
                    replay.totals |= {key: (one, two) for key, one, two in json.loads(some)}
                case _:
                    replay.moved.take_back(kind, some)
        return replay

    def late(self, part: Slice) -> set[int]:
        """Return which accounts `part` moves that were compared before."""
        return {one for one, _, _ in part.turnover if one <= self.compared_upto}

    def take(self, part: Slice, currencies: Mapping[int, str]) -> None:
        """Add what a run of blocks comes to. Runs are taken in their order.

        `currencies` has those of the accounts that are `late`.
        """
        for account_id, debit, credit in part.turnover:
            if account_id > self.compared_upto:
                self.moved.add(account_id, debit, credit)
            elif account_id in currencies:  # Else there is no such account: it was found out.
                _add(self.totals, currencies[account_id], debit, credit)
        for hold_id, debit_id, credit_id, amount, taken, ended in part.holds:
            if amount is not None and debit_id is not None and credit_id is not None:
                self._set(hold_id, Hold(debit_id=debit_id, credit_id=credit_id, remaining=amount))
            one = self.held.get(hold_id)
            if one is None:
                continue  # A hold that never was: the hashes tell of it.
            remaining = 0 if ended else one.remaining - taken
            self._set(
                hold_id, Hold(debit_id=one.debit_id, credit_id=one.credit_id, remaining=remaining)
            )
        for transfer_id, amount in part.reversals:
            self.reversed[transfer_id] = self.reversed.get(transfer_id, 0) + amount

    def _set(self, hold_id: str, hold: Hold) -> None:
        before = self.held.pop(hold_id, None)
        if hold.remaining:
            self.held[hold_id] = hold
        for one, sign in ((before, -1), (hold, 1)):
            if one is not None:
                _add(self.pending, one.debit_id, sign * one.remaining, 0)
                _add(self.pending, one.credit_id, 0, sign * one.remaining)
                for account_id in {one.debit_id, one.credit_id}:
                    if self.pending.get(account_id) == _NOTHING:
                        del self.pending[account_id]

    def accounts(self, rows: Iterable[Row]) -> Iterator[Finding]:
        """Compare accounts with the entries. Both are of the same head."""
        for row in rows:
            _add(self.totals, row.currency_code, row.debit, row.credit)
            debit, credit = self.moved.pop(row.account_id)
            if (row.debit, row.credit) != (debit, credit):
                yield Finding(
                    check="REPLAY",
                    place=_account(row),
                    detail=f"debit {row.debit} credit {row.credit} on the account,"
                    f" {debit} and {credit} by its entries",
                )
            debit, credit = self.pending.get(row.account_id, _NOTHING)
            if (row.debit_pending, row.credit_pending) != (debit, credit):
                yield Finding(
                    check="PENDING",
                    place=_account(row),
                    detail=f"on hold debit {row.debit_pending} credit {row.credit_pending}"
                    f" on the account, {debit} and {credit} by its entries",
                )

    def missing_accounts(self) -> Iterator[Finding]:
        """Find what moved and was not among the accounts, once all of them were compared."""
        for account_id in list(self.moved.left()):
            debit, credit = self.moved.pop(account_id)
            yield Finding(
                check="REPLAY",
                place=f"account {account_id}",
                detail=f"there is no balance, its entries come to debit {debit} credit {credit}",
            )

    def balanced(self) -> Iterator[Finding]:
        """Compare debits with credits in each currency, over all accounts."""
        for currency_code, (debit, credit) in sorted(self.totals.items()):
            if debit != credit:
                place = f"{currency_code} in book {self.book_id}"
                detail = f"debits {debit}, credits {credit}"
                yield Finding(check="DOUBLE_ENTRY", place=place, detail=detail)

    def stored_holds(self, rows: Iterable[Row]) -> Iterator[Finding]:
        """Find the holds that are open and are not by the entries. Both are of the same head."""
        for row in rows:
            if row.is_open and str(row.id) not in self.held:
                detail = "it is open; by its entries it has ended, or never was"
                yield self._hold(str(row.id), detail)

    def open_holds(self, ids: Iterable[str], rows: Iterable[Row]) -> Iterator[Finding]:
        """Find the holds that are open by the entries and are not, or are otherwise.

        `rows` are those of `ids` that there are, of the same head as the entries.
        """
        stored = {str(row.id): row for row in rows if row.is_open}
        for hold_id in ids:
            row, one = stored.get(hold_id), self.held.get(hold_id)
            if one is None:
                continue  # It has ended in the meantime.
            if row is None:
                detail = f"it is not open; by its entries {one.remaining} remain"
                yield self._hold(hold_id, detail)
            elif Hold(
                debit_id=row.debit_id, credit_id=row.credit_id, remaining=row.remaining
            ) != one:  # fmt: skip
                detail = (
                    f"{row.remaining} remain from account {row.debit_id} to {row.credit_id};"
                    f" by its entries {one.remaining} from {one.debit_id} to {one.credit_id}"
                )
                yield self._hold(hold_id, detail)

    def stored_reversals(self, rows: Iterable[Row]) -> Iterator[Finding]:
        """Find what is stored as reversed and no entry reverses. Both are of the same head."""
        for row in rows:
            if str(row.id) not in self.reversed:
                yield self._reversal(str(row.id), row.amount)

    def known_reversals(self, ids: Iterable[str], rows: Iterable[Row]) -> Iterator[Finding]:
        """Find of which transfers another amount is stored as reversed than entries reverse.

        `rows` are those of `ids` that there are, of the same head as the entries.
        """
        stored = {str(row.id): row.amount for row in rows}
        for transfer_id in ids:
            said = stored.get(transfer_id, 0)
            if said != self.reversed[transfer_id]:
                yield self._reversal(transfer_id, said)

    def _hold(self, hold_id: str, detail: str) -> Finding:
        place = f"hold {hold_id} of book {self.book_id}"
        return Finding(check="HOLD", place=place, detail=detail)

    def _reversal(self, transfer_id: str, said: int) -> Finding:
        is_ = self.reversed.get(transfer_id, 0)
        return Finding(
            check="REVERSAL",
            place=f"transfer {transfer_id} of book {self.book_id}",
            detail=f"{said} of it is reversed, {is_} by the entries",
        )


def _add(sums: dict[_Key, tuple[int, int]], key: _Key, debit: int, credit: int) -> None:
    before = sums.get(key, _NOTHING)
    sums[key] = before[0] + debit, before[1] + credit


def _framed(kind: str, items: Iterable[tuple[int | str, ...]]) -> Iterator[Frame]:
    """Yield items as JSON, some at a time; what is beyond 64 bits too."""
    left = iter(items)
    while some := list(islice(left, _FRAME_ITEMS)):
        yield kind, json.dumps(some, separators=(",", ":")).encode()


def _account(row: Row) -> str:
    return f"account {row.name or row.account_id}"
