"""A small true world for the checker, as records, and ways to forge single things in it.

`true_world()` holds what a run leaves when everything is right: a QR payment with two
refunds, a recharge, a payment and a refund by wallet, one under review, one that failed over,
one that risk blocked, one paid by a second try, a refund that failed, and two that were closed.
"""

import itertools
import json
from dataclasses import replace

from checker.evidence import (
    Balance,
    Call,
    Delivery,
    Entry,
    Evidence,
    Movement,
    RefundNow,
    Terms,
    Told,
    TradeNow,
)
from checker.rules import ALL
from checker.verdict import judge

CNY = "CNY"
TEA, BOOKS = "mch_tea", "mch_books"
TERMS = {
    TEA: Terms(rate_ppm=6000, least_minor=1, policy="RETURN"),
    BOOKS: Terms(rate_ppm=3800, least_minor=5, policy="KEEP"),
}
COST = {"sim-a": 3800, "sim-b": 5000}


class World:
    """Grows order by order; `evidence()` is everything."""

    def __init__(self):
        self.calls, self.movements, self.deliveries = [], [], []
        self.traces, self.trades, self.refunds = {}, {}, {}
        self.books = {}
        self._serial = itertools.count(1)

    def number(self, system):
        return f"20260901{system}{next(self._serial):016d}"

    def order(self, name, amount, *, merchant=TEA, user="", kind="COLLECT", story="qr"):
        trace_no = f"MALL-{name}"
        self.traces[trace_no] = []
        return _Order(self, trace_no, name, amount, merchant, user, kind, story)

    def evidence(self):
        wallets = [
            Balance(kind="WALLET", owner=account.split(":")[1], currency_code=CNY,
                    debit_minor=0, credit_minor=credit - debit)
            for account, (debit, credit) in self.books.items() if account.startswith("wallet:")
        ]  # fmt: skip
        return Evidence(
            calls=tuple(self.calls),
            movements=tuple(self.movements),
            deliveries=tuple(self.deliveries),
            traces={trace_no: tuple(found) for trace_no, found in self.traces.items()},
            trades=dict(self.trades),
            refunds=dict(self.refunds),
            wallets=tuple(wallets),
            trial=tuple(self._trial()),
            proof=(),
            cost_ppm=COST,
            terms=TERMS,
        )

    def _trial(self):
        lines = {}
        for account, (debit, credit) in self.books.items():
            kind, owner, currency = account.split(":")
            key = kind.upper(), owner if kind == "clearing" else "", currency
            before = lines.get(key, (0, 0))
            lines[key] = before[0] + debit, before[1] + credit
        for (kind, owner, currency), (debit, credit) in lines.items():
            yield Balance(kind=kind, owner=owner, currency_code=currency,
                          debit_minor=debit, credit_minor=credit)  # fmt: skip


class _Order:
    """One order, from its call to its webhook."""

    def __init__(self, world, trace_no, name, amount, merchant, user, kind, story):
        self.world, self.trace_no, self.name, self.amount = world, trace_no, name, amount
        self.merchant, self.user, self.kind, self.story = merchant, user, kind, story
        self.trade_no, self.payment_no, self.version = world.number("TR"), "", 1
        self.state, self.refunded, self.tries = "CREATED", 0, 0
        self.channel = ""

    def add(self, service, kind, number, state="", amount=None, due="", **facts):
        entry = Entry(
            service=service, kind=kind, number=number, state=state, due_time=due,
            amount_minor=self.amount if amount is None else amount, currency_code=CNY,
            facts={name: str(fact) for name, fact in facts.items()},
        )  # fmt: skip
        self.world.traces[self.trace_no].append(entry)

    def call(self, verb, number, amount=None, **told):
        replayed = told.pop("replayed", False)
        answer = Told(code="OK", replayed=replayed, trade_no=self.trade_no, **told)
        self.world.calls.append(
            Call(
                seq=len(self.world.calls) + 1, story=self.story, verb=verb, app="MALL",
                trace_no=self.trace_no, number=number, currency_code=CNY,
                amount_minor=self.amount if amount is None else amount,
                trade_type=self.kind, merchant_id=self.merchant, user_no=self.user,
                answer=answer,
            )
        )  # fmt: skip

    def book(self, template, source_no, *legs):
        """Book legs of (debit, credit, amount)."""
        voucher = f"{template}-{source_no}"
        self.add("ledger", "voucher", voucher, template=template, source_no=source_no)
        for place, (debit, credit, amount) in enumerate(legs):
            if not amount:
                continue
            debit, credit = f"{debit}:{CNY}", f"{credit}:{CNY}"
            self.add("ledger", "entry", f"{voucher}-{place}", amount=amount, debit=debit,
                     credit=credit, voucher=voucher)  # fmt: skip
            books = self.world.books
            before = books.get(debit, (0, 0))
            books[debit] = before[0] + amount, before[1]
            before = books.get(credit, (0, 0))
            books[credit] = before[0], before[1] + amount

    def attempt(self, operation, of, state, channel, *, amount=None, moved=0, cost=0, charge=""):
        number = self.world.number("AT")
        amount = self.amount if amount is None else amount
        reported = moved if moved and moved != amount else ""
        self.add("channel", "attempt", number, state, amount=amount, operation=operation,
                 leg_no=f"{of}-1", channel_code=channel, cost_minor=cost,
                 reported_minor=reported)  # fmt: skip
        if channel != "balance":
            kind = "charge" if operation == "PAY" else "refund"
            self.world.movements.append(
                Movement(kind=kind, acquirer=channel, number=number, of=charge,
                         state="SUCCEEDED" if moved else "FAILED", amount_minor=amount,
                         moved_minor=moved, currency_code=CNY)
            )  # fmt: skip
        return number

    def pay(self, channel, *, fee=0, cost=0, moved=None, failed_at=(), decision="PASS"):
        """Pay by one try; `moved` is what the provider moved, 0 for a failure."""
        self.tries += 1
        payment = self.payment_no = self.world.number("PY")
        self.channel = channel
        moved = self.amount if moved is None else moved
        self.add("risk", "decision", payment, "NONE", decision=decision)
        for other in failed_at:
            self.attempt("PAY", payment, "FAILED", other)
        state = "FAILED"
        if channel:
            state = "SUCCEEDED" if moved == self.amount else "REVIEW" if moved else "FAILED"
            number = self.attempt("PAY", payment, state, channel, moved=moved, cost=cost)
            self._book_payment(payment, number, state, fee=fee, cost=cost, moved=moved)
        self.add("payment", "payment", payment, state, fee_minor=fee, cost_minor=cost)
        if state == "REVIEW":
            self.add("payment", "case", f"cas_{payment}", "OPEN", amount=moved, due="2026-09-02",
                     about=payment, parked_on="suspense")  # fmt: skip
        if state == "SUCCEEDED" and self.kind == "COLLECT":
            self.add("settlement", "clearing_item", payment, "PENDING", clears="payment",
                     merchant_id=self.merchant, fee_minor=fee, cost_minor=cost,
                     net_minor=self.amount - fee)  # fmt: skip
        self.state = {"SUCCEEDED": "PAID", "REVIEW": "REVIEW", "FAILED": "PAYING"}[state]
        self.call("PayTrade", f"{self.name}-P{self.tries}", payment_no=payment,
                  payment_state=state, trade_state=self.state)  # fmt: skip
        return self

    def _book_payment(self, payment, attempt, state, *, fee, cost, moved):
        clearing, wallet = f"clearing:{self.channel}", f"wallet:MALL/{self.user}"
        costs = ("channel_cost:", clearing, cost)
        if state == "REVIEW":
            self.book("MISMATCH_SUSPENDED", payment, (clearing, "suspense:", moved))
        if state != "SUCCEEDED":
            return
        if self.channel == "balance":
            self.book("WALLET_PAID", attempt, (wallet, "clearing:balance", self.amount))
        if self.kind == "RECHARGE":
            self.book("RECHARGED", payment, (clearing, wallet, self.amount), costs)
        else:
            pending = f"merchant_pending:{self.merchant}"
            self.book("COLLECTED", payment, (clearing, pending, self.amount - fee),
                      (clearing, "fee_income:", fee), costs)  # fmt: skip

    def close(self, channel=""):
        """Close it: an order that nobody tried, or one whose payer had a code at `channel`."""
        if channel:
            payment = self.payment_no = self.world.number("PY")
            self.add("risk", "decision", payment, "RELEASED", decision="PASS")
            self.attempt("PAY", payment, "CLOSED", channel)
            self.add("payment", "payment", payment, "CLOSED", fee_minor=0, cost_minor=0)
            self.call("PayTrade", f"{self.name}-P1", payment_no=payment,
                      payment_state="PROCESSING", trade_state="PAYING")  # fmt: skip
        else:
            self.call("CreateTrade", self.name, trade_state="CREATED")
        self.state = "CLOSED"
        self.call("CloseTrade", f"{self.name}-C", trade_state="CLOSED")
        return self

    def refund(self, amount, *, share=0, state="SUCCEEDED"):
        refund = self.world.number("RF")
        pending, wallet = f"merchant_pending:{self.merchant}", f"wallet:MALL/{self.user}"
        self.add("trade", "refund", refund, state, amount=amount, fee_minor=share)
        self.add("payment", "refund", refund, state, amount=amount, fee_minor=share)
        self.book("REFUND_ASKED", refund, (pending, "refund_transit:", amount - share),
                  ("fee_income:", "refund_transit:", share))  # fmt: skip
        moved = amount if state == "SUCCEEDED" else 0
        number = self.attempt("REFUND", refund, state, self.channel, amount=amount, moved=moved)
        if state == "SUCCEEDED":
            self.refunded += amount
            if self.channel == "balance":
                self.book("WALLET_REFUNDED", number, ("clearing:balance", wallet, amount))
            self.book("REFUND_SUCCEEDED", refund,
                      ("refund_transit:", f"clearing:{self.channel}", amount))  # fmt: skip
            self.add("settlement", "clearing_item", refund, "PENDING", amount=amount,
                     clears="refund", merchant_id=self.merchant, fee_minor=share, cost_minor=0,
                     net_minor=amount - share)  # fmt: skip
        else:
            self.book("REFUND_FAILED", refund, ("refund_transit:", pending, amount - share),
                      ("refund_transit:", "fee_income:", share))  # fmt: skip
        self.call("CreateRefund", f"{self.name}-{refund}", amount, refund_no=refund,
                  refund_state="PROCESSING", trade_state="PAID")  # fmt: skip
        self.world.refunds[refund] = RefundNow(
            refund_no=refund, trade_no=self.trade_no, trace_no=self.trace_no, state=state,
            version=2, amount_minor=amount, currency_code=CNY,
        )  # fmt: skip
        self.webhook(refund, 2, state)
        return self

    def webhook(self, number, version, state):
        webhook_id = f"whk_{number}-{version}"
        self.add("trade", "webhook", webhook_id, "DELIVERED", amount=0, id=f"{number}:{version}")
        for answered in (500, 200):
            self.world.deliveries.append(
                Delivery(
                    app="MALL", webhook_id=webhook_id, event_type="", number=number,
                    trace_no=self.trace_no, version=version, state=state, signed=True,
                    body=json.dumps({"number": number, "state": state}), answered=answered,
                )
            )  # fmt: skip

    def done(self):
        due = "2026-09-01T10:30:00Z" if self.state == "PAYING" else ""
        self.add("trade", "trade", self.trade_no, self.state, due=due)
        self.world.trades[self.trade_no] = TradeNow(
            trade_no=self.trade_no, trace_no=self.trace_no, state=self.state, version=3,
            amount_minor=self.amount, refunded_minor=self.refunded, currency_code=CNY,
            merchant_id=self.merchant, user_no=self.user,
        )  # fmt: skip
        if self.state in ("PAID", "CLOSED"):
            self.webhook(self.trade_no, 3, self.state)
        return self


def true_world():
    """Everything as it should be."""
    world = World()
    # 6000 ppm of 10000 is 60; 3800 ppm of it is 38. The share of 60 for 2500 of 10000 is 15.
    world.order("qr", 10_000).pay("sim-a", fee=60, cost=38).refund(2_500, share=15).refund(
        7_500, share=45
    ).done()
    world.order("fill", 90_000, merchant="", user="u1", kind="RECHARGE", story="recharge").pay(
        "sim-a", cost=342
    ).done()
    world.order("wallet", 5_000, merchant=BOOKS, user="u1").pay("balance", fee=19).refund(
        1_000
    ).done()
    world.order("review", 1_096).pay("sim-a", moved=1_097).done()
    world.order("failover", 2_000).pay("sim-b", fee=12, cost=10, failed_at=["sim-a"]).done()
    world.order("denied", 3_000, user="barred").pay("", decision="BLOCK").done()
    second = world.order("second", 4_000, user="u1").pay("sim-a", moved=0)
    second.pay("sim-a", fee=24, cost=15).done()
    world.order("refused", 6_000).pay("sim-a", fee=36, cost=23).refund(
        294, share=2, state="FAILED"
    ).done()
    world.order("untried", 7_000).close().done()
    world.order("unpaid", 7_702).close("sim-a").done()
    world.calls.append(
        replace(
            world.calls[0],
            seq=len(world.calls) + 1,
            answer=replace(world.calls[0].answer, replayed=True),
        )
    )
    return world.evidence()


def changed(evidence, trace_no, where, **facts):
    """Return the evidence with the entries for which `where` is true changed by `facts`.

    A value of None leaves the entry out; keys that are not fields go into `facts`.
    """
    entries, hits = [], 0
    for entry in evidence.traces[trace_no]:
        if not where(entry):
            entries.append(entry)
            continue
        hits += 1
        if facts.get("gone"):
            continue
        own = {name: value for name, value in facts.items() if hasattr(entry, name)}
        told = {name: str(value) for name, value in facts.items() if name not in own}
        entries.append(replace(entry, **own, facts={**entry.facts, **told}))
    assert hits, "the forgery must hit something"
    return replace(evidence, traces={**evidence.traces, trace_no: tuple(entries)})


def broken(evidence):
    """Return the names of the rules that do not hold."""
    return {verdict.rule for verdict in judge(ALL, evidence) if not verdict.holds}


def is_a(service, kind, **facts):
    """Return a test of entries: of this kind, with these facts or fields."""

    def where(entry):
        told = {**entry.facts, "state": entry.state, "number": entry.number}
        return (entry.service, entry.kind) == (service, kind) and all(
            told.get(name) == value for name, value in facts.items()
        )

    return where


def without(sequence, where):
    """Return the sequence without the items for which `where` is true; there must be one."""
    kept = tuple(one for one in sequence if not where(one))
    assert len(kept) < len(sequence), "the forgery must hit something"
    return kept


def altered(sequence, where, **fields):
    """Return the sequence with the items for which `where` is true changed; one must be."""
    assert any(map(where, sequence)), "the forgery must hit something"
    return tuple(replace(one, **fields) if where(one) else one for one in sequence)
