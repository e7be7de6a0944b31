"""What accounting says of every template, written down a second time, by hand.

An effect is what each account gets of an event of 10,000 with a fee of 60 and a cost of 38, of
which 1,000 are reserve's, 2,000 available's and 500 are owed: credits positive.
"""

from dataclasses import dataclass

PARTS = {"reserve_minor": 1_000, "available_minor": 2_000, "owed_minor": 500}

_COLLECTED = "clearing:sim -9962, merchant_pending:mer_1 9940, fee_income: 60, channel_cost: -38"
_RECHARGED = "clearing:sim -9962, wallet:MALL/u1 10000, channel_cost: -38"
_SUSPENDED = "clearing:sim -9962, suspense: 10000, channel_cost: -38"
_COLLECT_OWED = "clearing:sim 9962, receivable:mer_1 -9940, fee_income: -60, channel_cost: 38"
_RECHARGE_OWED = "clearing:sim 9962, receivable:MALL/u1 -10000, channel_cost: 38"
_DRAWN = (
    "merchant_pending:mer_1 -6440, merchant_reserve:mer_1 -1000, merchant_available:mer_1 -2000, "
    "receivable:mer_1 -500, fee_income: -60"
)

# Code, name, effect. Codes and names are in the journal for ever.
_EFFECTS = [
    (1, "WALLET_PAID", "wallet:MALL/u1 -10000, clearing:balance 10000"),
    (3, "COLLECTED", _COLLECTED),
    (4, "RECHARGED", _RECHARGED),
    (5, "REFUND_ASKED", "merchant_pending:mer_1 -9940, fee_income: -60, refund_transit: 10000"),
    (6, "REFUND_SUCCEEDED", "refund_transit: -10000, clearing:sim 10000"),
    (8, "MISMATCH_SUSPENDED", "clearing:sim -10000, suspense: 10000"),
    (9, "COLLECT_SUSPENDED", _SUSPENDED),
    (10, "DUPLICATE_PARKED", "clearing:sim -10000, duplicate: 10000"),
    (11, "SUSPENSE_RETURN_ASKED", "suspense: -10000, refund_transit: 10000"),
    (12, "DUPLICATE_RETURN_ASKED", "duplicate: -10000, refund_transit: 10000"),
    (
        15,
        "SUSPENSE_COLLECTED",
        "suspense: -10000, merchant_pending:mer_1 9940, fee_income: 60, channel_cost: -38, "
        "clearing:sim 38",
    ),
    (
        16,
        "SUSPENSE_RECHARGED",
        "suspense: -10000, wallet:MALL/u1 10000, channel_cost: -38, clearing:sim 38",
    ),
    (19, "COLLECT_REVERSED_OWED", _COLLECT_OWED),
    (20, "RECHARGE_REVERSED_OWED", _RECHARGE_OWED),
    (26, "REFUND_RETURNED", "clearing:sim -10000, suspense: 10000"),
    (
        27,
        "REFUND_RETURN_CREDITED",
        "suspense: -10000, merchant_pending:mer_1 9940, fee_income: 60",
    ),
    (29, "REFUND_SUSPENDED", "suspense: -10000, clearing:sim 10000"),
    (
        31,
        "REFUND_AVAILABLE_ASKED",
        "merchant_available:mer_1 -9940, fee_income: -60, refund_transit: 10000",
    ),
    (33, "REFUND_DRAWN_ASKED", f"{_DRAWN}, refund_transit: 10000"),
    (98, "REFUND_FAILED_SUSPENDED", "refund_transit: -10000, suspense: 10000"),
    (35, "COST_RETURNED", "clearing:sim -10000, channel_cost: 10000"),
    (36, "COMPENSATION_ASKED", "merchant_available:mer_1 -10000, refund_transit: 10000"),
    (38, "GOODWILL_ASKED", "marketing_expense: -10000, refund_transit: 10000"),
    (
        40,
        "SETTLED",
        "merchant_pending:mer_1 -10000, merchant_available:mer_1 9000, merchant_reserve:mer_1 1000",
    ),
    (42, "SETTLED_BY_CHANNEL", "merchant_pending:mer_1 -10000, clearing:sim 10000"),
    (43, "RESERVE_DEPOSITED", "merchant_available:mer_1 -10000, merchant_reserve:mer_1 10000"),
    (45, "RESERVE_DRAWN", "merchant_reserve:mer_1 -10000, merchant_pending:mer_1 10000"),
    (46, "RESERVE_FORFEITED", "merchant_reserve:mer_1 -10000, fee_income: 10000"),
    (47, "RESERVE_AWARDED", "merchant_reserve:mer_1 -10000, wallet:MALL/u1 10000"),
    (48, "PAYOUT_ASKED", "merchant_available:mer_1 -10000, payout_transit:mer_1 10000"),
    (
        49,
        "PAYOUT_SUCCEEDED",
        "payout_transit:mer_1 -10000, clearing:sim 9978, fee_income: 60, channel_cost: -38",
    ),
    (51, "PAYOUT_RETURNED", "clearing:sim -9940, fee_income: -60, merchant_available:mer_1 10000"),
    (52, "DEBT_NETTED", "merchant_available:mer_1 -10000, receivable:mer_1 10000"),
    (53, "DEBT_COVERED", "merchant_reserve:mer_1 -10000, receivable:mer_1 10000"),
    (54, "DEBT_REPAID", "clearing:sim -9962, receivable:mer_1 10000, channel_cost: -38"),
    (55, "FEE_CHARGED", "merchant_available:mer_1 -10000, fee_income: 10000"),
    (57, "FEE_SUBSIDISED", "marketing_expense: -10000, fee_income: 10000"),
    (92, "COLLECT_REVERSED_DRAWN", f"{_DRAWN}, clearing:sim 9962, channel_cost: 38"),
    (94, "PAYOUT_SUSPENDED", "suspense: -10000, clearing:sim 10000"),
    (95, "PAYOUT_SUSPENSE_DRAWN", f"{_DRAWN}, suspense: 10000"),
    (96, "WITHDRAWAL_SUSPENSE_TAKEN", "wallet:MALL/u1 -10000, suspense: 10000"),
    (97, "WITHDRAWAL_SUSPENSE_OWED", "receivable:MALL/u1 -10000, suspense: 10000"),
    (99, "PAYOUT_FAILED_SUSPENDED", "payout_transit:mer_1 -10000, suspense: 10000"),
    (110, "WITHDRAWAL_FAILED_SUSPENDED", "payout_transit:MALL/u1 -10000, suspense: 10000"),
    (111, "PAYOUT_RETURN_SUSPENDED", "clearing:sim -9940, fee_income: -60, suspense: 10000"),
    (112, "ESCROW_RELEASE_SUSPENDED", "escrow: -10000, suspense: 10000"),
    (
        113,
        "DISPUTE_LOST_OWED",
        "receivable:mer_1 -9940, fee_income: -60, clearing:sim 10038, channel_cost: -38",
    ),
    (
        115,
        "DISPUTE_REVERSAL_SUSPENDED",
        "clearing:sim -10038, suspense: 10000, channel_cost: 38",
    ),
    (58, "ESCROWED", "clearing:sim -9962, escrow: 10000, channel_cost: -38"),
    (59, "ESCROW_RELEASED", "escrow: -10000, merchant_pending:mer_1 9940, fee_income: 60"),
    (60, "ESCROW_REFUND_ASKED", "escrow: -10000, refund_transit: 10000"),
    (
        64,
        "SUSPENSE_ESCROWED",
        "suspense: -10000, escrow: 10000, channel_cost: -38, clearing:sim 38",
    ),
    (65, "SPLIT_PAID", "merchant_pending:mer_1 -10000, merchant_pending:mer_2 10000"),
    (
        67,
        "SPLIT_RETURNED_AVAILABLE",
        "merchant_available:mer_2 -10000, merchant_pending:mer_1 10000",
    ),
    (68, "SPLIT_WALLET_PAID", "merchant_pending:mer_1 -10000, wallet:MALL/u2 10000"),
    (70, "SPLIT_BY_CHANNEL", "merchant_pending:mer_1 -10000, clearing:sim 10000"),
    (72, "COMMISSION_TAKEN", "merchant_pending:mer_1 -10000, fee_income: 10000"),
    (74, "DISPUTE_HELD", "merchant_available:mer_1 -10000, merchant_reserve:mer_1 10000"),
    (76, "DISPUTE_LOST", f"{_DRAWN}, clearing:sim 10038, channel_cost: -38"),
    (78, "WITHDRAWAL_ASKED", "wallet:MALL/u1 -10000, payout_transit:MALL/u1 10000"),
    (
        79,
        "WITHDRAWAL_SUCCEEDED",
        "payout_transit:MALL/u1 -10000, clearing:sim 9978, fee_income: 60, channel_cost: -38",
    ),
    (81, "WITHDRAWAL_RETURNED", "clearing:sim -9940, fee_income: -60, wallet:MALL/u1 10000"),
    (82, "TRANSFERRED", "wallet:MALL/u1 -10000, wallet:MALL/u2 9940, fee_income: 60"),
    (
        83,
        "TRANSFERRED_TO_MERCHANT",
        "wallet:MALL/u1 -10000, merchant_available:mer_2 9940, fee_income: 60",
    ),
    (
        84,
        "TRANSFERRED_TO_WALLET",
        "merchant_available:mer_1 -10000, wallet:MALL/u2 9940, fee_income: 60",
    ),
    (
        85,
        "TRANSFERRED_BY_MERCHANT",
        "merchant_available:mer_1 -10000, merchant_available:mer_2 9940, fee_income: 60",
    ),
    (86, "SUBSIDY_PAID", "marketing_expense: -10000, clearing:sim 10000"),
    (88, "CASHBACK_PAID", "marketing_expense: -10000, wallet:MALL/u1 10000"),
    (90, "WALLET_DEBT_NETTED", "wallet:MALL/u1 -10000, receivable:MALL/u1 10000"),
    (91, "WALLET_DEBT_REPAID", "clearing:sim -9962, receivable:MALL/u1 10000, channel_cost: -38"),
    (100, "FUND_IN_MATCHED", "cash:sim -10000, clearing:sim 10000"),
    (101, "FUND_IN_LATE", "cash:sim -10000, shortage: 10000"),
    (102, "FUND_IN_SURPLUS", "cash:sim -10000, surplus: 10000"),
    (104, "FUND_OUT_LATE", "surplus: -10000, cash:sim 10000"),
    (105, "FUND_OUT_SHORTAGE", "shortage: -10000, cash:sim 10000"),
    (106, "FUND_FEE_TAKEN", "clearing:sim -10000, cash:sim 10000"),
    (108, "CASH_MOVED", "cash:bank -10000, cash:sim 10000"),
    (109, "CLAIM_RECEIVED", "cash:sim -10000, channel_receivable:sim 10000"),
    (120, "SHORTAGE_SUSPENDED", "shortage: -10000, clearing:sim 10000"),
    (121, "SURPLUS_SUSPENDED", "clearing:sim -10000, surplus: 10000"),
    (124, "SURPLUS_RETURN_ASKED", "surplus: -10000, refund_transit: 10000"),
    (126, "CHANNEL_CLAIMED", "channel_receivable:sim -10000, shortage: 10000"),
    (127, "MERCHANT_CLAIMED", "receivable:mer_1 -10000, shortage: 10000"),
    (128, "MERCHANT_CLAIMED_CLEARING", "receivable:mer_1 -10000, clearing:sim 10000"),
    (129, "WALLET_CLAIMED", "receivable:MALL/u1 -10000, shortage: 10000"),
    (130, "WALLET_CLAIMED_CLEARING", "receivable:MALL/u1 -10000, clearing:sim 10000"),
    (131, "SURPLUS_WRITTEN_OFF", "surplus: -10000, recon_gain: 10000"),
    (132, "SUSPENSE_WRITTEN_OFF", "suspense: -10000, recon_gain: 10000"),
    (133, "DUPLICATE_WRITTEN_OFF", "duplicate: -10000, recon_gain: 10000"),
    (134, "SHORTAGE_WRITTEN_OFF", "recon_loss: -10000, shortage: 10000"),
    (135, "CLAIM_WRITTEN_OFF", "recon_loss: -10000, channel_receivable:sim 10000"),
    (136, "DEBT_WRITTEN_OFF", "recon_loss: -10000, receivable:mer_1 10000"),
    (137, "WALLET_DEBT_WRITTEN_OFF", "recon_loss: -10000, receivable:MALL/u1 10000"),
    (138, "AMOUNT_RAISED", "clearing:sim -10000, surplus: 10000"),
    (139, "AMOUNT_LOWERED", "shortage: -10000, clearing:sim 10000"),
    (140, "COST_RAISED", "channel_cost: -10000, clearing:sim 10000"),
    (142, "ROUNDED_DOWN", "rounding: -10000, clearing:sim 10000"),
    (150, "FEE_INCOME_CLOSED", "fee_income: -10000, profit: 10000"),
    (151, "RECON_GAIN_CLOSED", "recon_gain: -10000, profit: 10000"),
    (152, "CHANNEL_COST_CLOSED", "profit: -10000, channel_cost: 10000"),
    (153, "MARKETING_CLOSED", "profit: -10000, marketing_expense: 10000"),
    (154, "RECON_LOSS_CLOSED", "profit: -10000, recon_loss: 10000"),
    (155, "ROUNDING_CLOSED", "profit: -10000, rounding: 10000"),
]

# Resolutions and closes have a mirror by name, whose code is 100 more.
_WITH_MIRROR = [
    name for code, name, _ in _EFFECTS if code >= 120 and not name.startswith("SURPLUS_RETURN")
] + ["SURPLUS_MATCHED", "SHORTAGE_MATCHED", "COST_LOWERED", "ROUNDED_UP"]

# There, back, and the code of the way back: it undoes the other to the last cent.
PAIRS = [
    ("WALLET_PAID", "WALLET_REFUNDED", 2),
    ("REFUND_ASKED", "REFUND_FAILED", 7),
    ("SUSPENSE_RETURN_ASKED", "SUSPENSE_RETURN_FAILED", 13),
    ("DUPLICATE_RETURN_ASKED", "DUPLICATE_RETURN_FAILED", 14),
    ("COLLECTED", "COLLECT_REVERSED", 17),
    ("RECHARGED", "RECHARGE_REVERSED", 18),
    ("COLLECT_SUSPENDED", "SUSPENSE_REVERSED", 21),
    ("COLLECT_REVERSED", "COLLECT_RESTORED", 22),
    ("RECHARGE_REVERSED", "RECHARGE_RESTORED", 23),
    ("COLLECT_REVERSED_OWED", "COLLECT_RESTORED_OWED", 24),
    ("RECHARGE_REVERSED_OWED", "RECHARGE_RESTORED_OWED", 25),
    ("REFUND_RETURNED", "REFUND_RETURN_UNDONE", 28),
    ("SUSPENSE_REVERSED", "SUSPENSE_RESTORED", 30),
    ("REFUND_AVAILABLE_ASKED", "REFUND_AVAILABLE_FAILED", 32),
    ("REFUND_DRAWN_ASKED", "REFUND_DRAWN_FAILED", 34),
    ("COMPENSATION_ASKED", "COMPENSATION_FAILED", 37),
    ("GOODWILL_ASKED", "GOODWILL_FAILED", 39),
    ("SETTLED", "SETTLE_REVERSED", 41),
    ("RESERVE_DEPOSITED", "RESERVE_RELEASED", 44),
    ("PAYOUT_ASKED", "PAYOUT_FAILED", 50),
    ("FEE_CHARGED", "FEE_RETURNED", 56),
    ("ESCROW_REFUND_ASKED", "ESCROW_REFUND_FAILED", 61),
    ("ESCROWED", "ESCROW_REVERSED", 62),
    ("ESCROW_REVERSED", "ESCROW_RESTORED", 63),
    ("SPLIT_PAID", "SPLIT_RETURNED", 66),
    ("SPLIT_WALLET_PAID", "SPLIT_WALLET_RETURNED", 69),
    ("SPLIT_BY_CHANNEL", "SPLIT_BY_CHANNEL_RETURNED", 71),
    ("COMMISSION_TAKEN", "COMMISSION_RETURNED", 73),
    ("DISPUTE_HELD", "DISPUTE_RELEASED", 75),
    ("DISPUTE_LOST", "DISPUTE_REVERSED", 77),
    ("DISPUTE_LOST_OWED", "DISPUTE_OWED_REVERSED", 114),
    ("PAYOUT_SUSPENSE_DRAWN", "SUSPENSE_CREDITED", 116),
    ("WITHDRAWAL_SUSPENSE_TAKEN", "SUSPENSE_WALLET_CREDITED", 117),
    ("WITHDRAWAL_ASKED", "WITHDRAWAL_FAILED", 80),
    ("SUBSIDY_PAID", "SUBSIDY_REFUNDED", 87),
    ("CASHBACK_PAID", "CASHBACK_RETURNED", 89),
    ("COLLECT_REVERSED_DRAWN", "COLLECT_RESTORED_DRAWN", 93),
    ("FUND_IN_MATCHED", "FUND_OUT_MATCHED", 103),
    ("FUND_FEE_TAKEN", "FUND_FEE_RETURNED", 107),
    ("SURPLUS_SUSPENDED", "SURPLUS_MATCHED", 122),
    ("SHORTAGE_SUSPENDED", "SHORTAGE_MATCHED", 123),
    ("SURPLUS_RETURN_ASKED", "SURPLUS_RETURN_FAILED", 125),
    ("COST_RAISED", "COST_LOWERED", 141),
    ("ROUNDED_DOWN", "ROUNDED_UP", 143),
]


# What is booked when the customer's account refuses 止付/止收: money has moved already.
OTHERWISE = {
    "COLLECTED": "COLLECT_SUSPENDED",
    "RECHARGED": "COLLECT_SUSPENDED",
    "REFUND_FAILED": "REFUND_FAILED_SUSPENDED",
    "REFUND_AVAILABLE_FAILED": "REFUND_FAILED_SUSPENDED",
    "REFUND_DRAWN_FAILED": "REFUND_FAILED_SUSPENDED",
    "COMPENSATION_FAILED": "REFUND_FAILED_SUSPENDED",
    "COLLECT_REVERSED": "COLLECT_REVERSED_OWED",
    "COLLECT_REVERSED_DRAWN": "COLLECT_REVERSED_OWED",
    "RECHARGE_REVERSED": "RECHARGE_REVERSED_OWED",
    "COLLECT_RESTORED": "SUSPENSE_RESTORED",
    "COLLECT_RESTORED_DRAWN": "SUSPENSE_RESTORED",
    "RECHARGE_RESTORED": "SUSPENSE_RESTORED",
    "SETTLED_BY_CHANNEL": "MERCHANT_CLAIMED_CLEARING",
    "SPLIT_BY_CHANNEL": "MERCHANT_CLAIMED_CLEARING",
    "SPLIT_BY_CHANNEL_RETURNED": "MISMATCH_SUSPENDED",
    "PAYOUT_FAILED": "PAYOUT_FAILED_SUSPENDED",
    "PAYOUT_RETURNED": "PAYOUT_RETURN_SUSPENDED",
    "WITHDRAWAL_FAILED": "WITHDRAWAL_FAILED_SUSPENDED",
    "WITHDRAWAL_RETURNED": "PAYOUT_RETURN_SUSPENDED",
    "WITHDRAWAL_SUSPENSE_TAKEN": "WITHDRAWAL_SUSPENSE_OWED",
    "ESCROW_RELEASED": "ESCROW_RELEASE_SUSPENDED",
    "DISPUTE_LOST": "DISPUTE_LOST_OWED",
    "DISPUTE_REVERSED": "DISPUTE_REVERSAL_SUSPENDED",
}
# Nothing has moved: the refusal is the answer. The money stays with who has it, or in suspense.
ANSWERED = {
    "WALLET_PAID", "WALLET_REFUNDED", "REFUND_ASKED", "REFUND_AVAILABLE_ASKED",
    "REFUND_DRAWN_ASKED", "COMPENSATION_ASKED", "SETTLED", "SETTLE_REVERSED",
    "RESERVE_DEPOSITED", "RESERVE_RELEASED", "RESERVE_DRAWN", "RESERVE_FORFEITED",
    "RESERVE_AWARDED", "PAYOUT_ASKED", "WITHDRAWAL_ASKED", "DEBT_NETTED", "DEBT_COVERED",
    "WALLET_DEBT_NETTED", "FEE_CHARGED", "FEE_RETURNED", "SPLIT_PAID", "SPLIT_RETURNED",
    "SPLIT_RETURNED_AVAILABLE", "SPLIT_WALLET_PAID", "SPLIT_WALLET_RETURNED",
    "COMMISSION_TAKEN", "COMMISSION_RETURNED", "DISPUTE_HELD", "DISPUTE_RELEASED",
    "TRANSFERRED", "TRANSFERRED_TO_MERCHANT", "TRANSFERRED_TO_WALLET",
    "TRANSFERRED_BY_MERCHANT", "CASHBACK_PAID", "CASHBACK_RETURNED", "SUSPENSE_COLLECTED",
    "SUSPENSE_RECHARGED", "REFUND_RETURN_CREDITED", "PAYOUT_SUSPENSE_DRAWN",
    "SUSPENSE_CREDITED", "SUSPENSE_WALLET_CREDITED",
}  # fmt: skip


@dataclass(frozen=True)
class Effect:
    """A template's code, and what each account gets, by its name."""

    code: int
    change: dict[str, int]

    def mirrored(self, code):
        return Effect(code, {name: -amount for name, amount in self.change.items()})


def _change(text):
    parts = (part.split() for part in text.split(", "))
    return {f"{account}:CNY": int(amount) for account, amount in parts}


EFFECTS = {name: Effect(code, _change(text)) for code, name, text in _EFFECTS}
for _there, _back, _code in PAIRS:
    EFFECTS[_back] = EFFECTS[_there].mirrored(_code)
for _name in _WITH_MIRROR:
    EFFECTS[f"{_name}_UNDONE"] = EFFECTS[_name].mirrored(EFFECTS[_name].code + 100)
    PAIRS.append((_name, f"{_name}_UNDONE", EFFECTS[_name].code + 100))
