"""Templates of payments and refunds: money in, money back, money in doubt."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.templates.parts import (
    AMOUNT,
    CHANNEL,
    COST_BACK_LEG,
    COST_LEG,
    DUPLICATE,
    FEE,
    FEE_INCOME,
    MERCHANT_DEBT,
    NET,
    PENDING,
    SUSPENSE,
    TRANSIT,
    WALLET,
    WALLET_DEBT,
    WALLETS,
    Leg,
    Template,
)

PAYMENTS: Mapping[str, Template] = {
    # A payment by wallet: the leg of the balance adapter. PaymentSucceeded books the rest
    # by COLLECTED like that of any channel, so that clearing of wallets returns to zero.
    "WALLET_PAID": Template(1, "a leg paid by wallet 余额支付", (Leg(WALLET, WALLETS, AMOUNT),)),
    "WALLET_REFUNDED": Template(
        2, "such a leg given back 余额退回", (Leg(WALLETS, WALLET, AMOUNT),)
    ),
    # Money in 收款: the channel owes us, we owe the merchant, or the wallet's owner 充值.
    "COLLECTED": Template(
        3,
        "N1 payment succeeded 收款",
        (Leg(CHANNEL, PENDING, NET), Leg(CHANNEL, FEE_INCOME, FEE), COST_LEG),
        otherwise="COLLECT_SUSPENDED",
    ),
    "RECHARGED": Template(
        4,
        "N1 wallet topped up 充值",
        (Leg(CHANNEL, WALLET, AMOUNT), COST_LEG),
        otherwise="COLLECT_SUSPENDED",
    ),
    # Refund: out of the merchant's account before any channel is asked, fee share from us.
    "REFUND_ASKED": Template(
        5,
        "N3 refund asked, out of what is pending 退款",
        (Leg(PENDING, TRANSIT, NET), Leg(FEE_INCOME, TRANSIT, FEE)),
    ),
    "REFUND_SUCCEEDED": Template(
        6, "N3 R6 refund or give-back reached the payer 退款成功", (Leg(TRANSIT, CHANNEL, AMOUNT),)
    ),
    "REFUND_FAILED": Template(
        7,
        "N3 refund did not reach the payer 退款失败",
        (Leg(TRANSIT, PENDING, NET), Leg(TRANSIT, FEE_INCOME, FEE)),
        otherwise="REFUND_FAILED_SUSPENDED",
    ),
    # The merchant's account takes no credits 止收, is full or closed: its money, and our share of
    # the fee, wait for a person. So does every other refund or compensation that failed.
    "REFUND_FAILED_SUSPENDED": Template(
        98,
        "failed refund that the merchant's account refused 退款失败挂账",
        (Leg(TRANSIT, SUSPENSE, AMOUNT),),
        opens=True,
    ),
    # Money in whose owner is in doubt 挂账: at the channel's amount for a payment under
    # review; whole for one that its own accounts refused.
    "MISMATCH_SUSPENDED": Template(
        8, "payment under review 挂账", (Leg(CHANNEL, SUSPENSE, AMOUNT),), opens=True
    ),
    "COLLECT_SUSPENDED": Template(
        9,
        "payment that its own accounts refused 入账被拒挂账",
        (Leg(CHANNEL, SUSPENSE, AMOUNT), COST_LEG),
        opens=True,
    ),
    # A second charge of one trade, under the number of its attempt.
    "DUPLICATE_PARKED": Template(
        10, "payer charged twice 重复支付", (Leg(CHANNEL, DUPLICATE, AMOUNT),), opens=True
    ),
    # Back to the payer 账务冲退, by REFUND_SUCCEEDED under the give-back's number.
    "SUSPENSE_RETURN_ASKED": Template(
        11, "give-back of suspense asked 账务冲退", (Leg(SUSPENSE, TRANSIT, AMOUNT),), opens=True
    ),
    "DUPLICATE_RETURN_ASKED": Template(
        12,
        "R6 give-back of a duplicate asked 重复支付退款",
        (Leg(DUPLICATE, TRANSIT, AMOUNT),),
        opens=True,
    ),
    "SUSPENSE_RETURN_FAILED": Template(
        13, "give-back of suspense failed 冲退失败", (Leg(TRANSIT, SUSPENSE, AMOUNT),)
    ),
    "DUPLICATE_RETURN_FAILED": Template(
        14,
        "R6 give-back of a duplicate failed 重复支付退款失败",
        (Leg(TRANSIT, DUPLICATE, AMOUNT),),
    ),
    # A person accepts what stood in suspense: from here on as if it had been collected. What the
    # account refuses stays there, and is accepted under a number of its own when it may be.
    "SUSPENSE_COLLECTED": Template(
        15,
        "suspense accepted as a payment 挂账转收款",
        (Leg(SUSPENSE, PENDING, NET), Leg(SUSPENSE, FEE_INCOME, FEE), COST_LEG),
    ),
    "SUSPENSE_RECHARGED": Template(
        16, "suspense accepted as a top-up 挂账转充值", (Leg(SUSPENSE, WALLET, AMOUNT), COST_LEG)
    ),
    # The channel takes a success back 冲正: the exact mirror, so that clearing says what the
    # channel says. Whoever spent the money meanwhile owes it; nobody goes below zero.
    "COLLECT_REVERSED": Template(
        17,
        "R3 channel takes a payment back 冲正",
        (Leg(PENDING, CHANNEL, NET), Leg(FEE_INCOME, CHANNEL, FEE), COST_BACK_LEG),
        otherwise="COLLECT_REVERSED_OWED",
    ),
    "RECHARGE_REVERSED": Template(
        18,
        "R3 channel takes a top-up back 充值冲正",
        (Leg(WALLET, CHANNEL, AMOUNT), COST_BACK_LEG),
        otherwise="RECHARGE_REVERSED_OWED",
    ),
    "COLLECT_REVERSED_OWED": Template(
        19,
        "R3 channel takes a payment back, the merchant owes it 冲正追款",
        (Leg(MERCHANT_DEBT, CHANNEL, NET), Leg(FEE_INCOME, CHANNEL, FEE), COST_BACK_LEG),
        opens=True,
    ),
    "RECHARGE_REVERSED_OWED": Template(
        20,
        "R3 channel takes a top-up back, the user owes it 充值冲正追款",
        (Leg(WALLET_DEBT, CHANNEL, AMOUNT), COST_BACK_LEG),
        opens=True,
    ),
    "SUSPENSE_REVERSED": Template(
        21,
        "R3 channel takes back what stood in suspense 挂账冲正",
        (Leg(SUSPENSE, CHANNEL, AMOUNT), COST_BACK_LEG),
    ),
    # A person says that the channel has the money after all: each mirrors one of the above, and
    # what an account refuses then stands in suspense, as if it had been refused at first.
    "COLLECT_RESTORED": Template(
        22,
        "payment stands after all 冲正恢复",
        (Leg(CHANNEL, PENDING, NET), Leg(CHANNEL, FEE_INCOME, FEE), COST_LEG),
        otherwise="SUSPENSE_RESTORED",
    ),
    "RECHARGE_RESTORED": Template(
        23,
        "top-up stands after all 充值冲正恢复",
        (Leg(CHANNEL, WALLET, AMOUNT), COST_LEG),
        otherwise="SUSPENSE_RESTORED",
    ),
    "COLLECT_RESTORED_OWED": Template(
        24,
        "payment stands after all, nobody owes it 追款撤销",
        (Leg(CHANNEL, MERCHANT_DEBT, NET), Leg(CHANNEL, FEE_INCOME, FEE), COST_LEG),
    ),
    "RECHARGE_RESTORED_OWED": Template(
        25,
        "top-up stands after all, nobody owes it 充值追款撤销",
        (Leg(CHANNEL, WALLET_DEBT, AMOUNT), COST_LEG),
    ),
    "SUSPENSE_RESTORED": Template(
        30, "it stands in suspense after all 挂账恢复", (Leg(CHANNEL, SUSPENSE, AMOUNT), COST_LEG)
    ),
    # A refund came back to us 退票, and what a person made of that: the merchant has the money
    # again, or the payer kept it.
    "REFUND_RETURNED": Template(
        26, "refund came back 退款退票", (Leg(CHANNEL, SUSPENSE, AMOUNT),), opens=True
    ),
    "REFUND_RETURN_CREDITED": Template(
        27,
        "the merchant has the refund again 退票入账",
        (Leg(SUSPENSE, PENDING, NET), Leg(SUSPENSE, FEE_INCOME, FEE)),
    ),
    "REFUND_RETURN_UNDONE": Template(
        28, "the payer kept the refund 退票撤销", (Leg(SUSPENSE, CHANNEL, AMOUNT),)
    ),
    # A payer has money that nobody gave: a refund that had failed, or another amount.
    "REFUND_SUSPENDED": Template(
        29, "a refund that nobody gave 退款挂账", (Leg(SUSPENSE, CHANNEL, AMOUNT),), opens=True
    ),
}
