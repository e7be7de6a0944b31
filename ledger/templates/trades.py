"""Templates of escrow, split, dispute, withdrawal, transfer of balances, promotion."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.templates.merchants import drawn
from ledger.templates.parts import (
    AMOUNT,
    AVAILABLE,
    CHANNEL,
    COST_BACK_LEG,
    COST_LEG,
    ESCROW,
    FEE,
    FEE_INCOME,
    MARKETING,
    MERCHANT_DEBT,
    NET,
    PAID_AVAILABLE,
    PAID_PENDING,
    PAID_WALLET,
    PENDING,
    RESERVE,
    SUSPENSE,
    TRANSIT,
    WALLET,
    WALLET_DEBT,
    WALLET_TRANSIT,
    Leg,
    Template,
    back,
)

_LOST = (*drawn(CHANNEL), COST_LEG)
_LOST_OWED = (Leg(MERCHANT_DEBT, CHANNEL, NET), Leg(FEE_INCOME, CHANNEL, FEE), COST_LEG)

TRADES: Mapping[str, Template] = {
    # Escrow 担保: nobody's until the payer confirms; the fee is taken when it is released.
    "ESCROWED": Template(
        58, "N1 payment succeeded, into escrow 担保收款", (Leg(CHANNEL, ESCROW, AMOUNT), COST_LEG)
    ),
    "ESCROW_RELEASED": Template(
        59,
        "payer confirmed, or the deadline passed 担保放款",
        (Leg(ESCROW, PENDING, NET), Leg(ESCROW, FEE_INCOME, FEE)),
        otherwise="ESCROW_RELEASE_SUSPENDED",
    ),
    "ESCROW_RELEASE_SUSPENDED": Template(
        112,
        "release that the merchant's account refused 担保放款挂账",
        (Leg(ESCROW, SUSPENSE, AMOUNT),),
        opens=True,
    ),
    "ESCROW_REFUND_ASKED": Template(
        60, "N3 refund asked, out of escrow 担保退款", (Leg(ESCROW, TRANSIT, AMOUNT),)
    ),
    "ESCROW_REFUND_FAILED": Template(
        61, "N3 such a refund failed 担保退款失败", (Leg(TRANSIT, ESCROW, AMOUNT),)
    ),
    "ESCROW_REVERSED": Template(
        62,
        "R3 channel takes back what is in escrow 担保冲正",
        (Leg(ESCROW, CHANNEL, AMOUNT), COST_BACK_LEG),
    ),
    "ESCROW_RESTORED": Template(
        63, "it is in escrow after all 担保冲正恢复", (Leg(CHANNEL, ESCROW, AMOUNT), COST_LEG)
    ),
    "SUSPENSE_ESCROWED": Template(
        64, "suspense accepted into escrow 挂账转担保", (Leg(SUSPENSE, ESCROW, AMOUNT), COST_LEG)
    ),
    # Split 分账: one event for each receiver.
    "SPLIT_PAID": Template(65, "share of a receiver 分账", (Leg(PENDING, PAID_PENDING, AMOUNT),)),
    "SPLIT_RETURNED": Template(
        66, "share given back 分账回退", (Leg(PAID_PENDING, PENDING, AMOUNT),)
    ),
    "SPLIT_RETURNED_AVAILABLE": Template(
        67,
        "share given back after settlement 结算后分账回退",
        (Leg(PAID_AVAILABLE, PENDING, AMOUNT),),
    ),
    "SPLIT_WALLET_PAID": Template(
        68, "share of a user 分账到钱包", (Leg(PENDING, PAID_WALLET, AMOUNT),)
    ),
    "SPLIT_WALLET_RETURNED": Template(
        69, "share given back by a user 钱包分账回退", (Leg(PAID_WALLET, PENDING, AMOUNT),)
    ),
    "SPLIT_BY_CHANNEL": Template(
        70,
        "channel paid a receiver itself 渠道分账",
        (Leg(PENDING, CHANNEL, AMOUNT),),
        otherwise="MERCHANT_CLAIMED_CLEARING",
    ),
    "SPLIT_BY_CHANNEL_RETURNED": Template(
        71,
        "channel took a share back 渠道分账回退",
        (Leg(CHANNEL, PENDING, AMOUNT),),
        otherwise="MISMATCH_SUSPENDED",
    ),
    "COMMISSION_TAKEN": Template(72, "our own share 平台佣金", (Leg(PENDING, FEE_INCOME, AMOUNT),)),
    "COMMISSION_RETURNED": Template(
        73, "our own share given back 平台佣金退还", (Leg(FEE_INCOME, PENDING, AMOUNT),)
    ),
    # Dispute 拒付: kept back while it is open; if it is lost, the channel takes the money.
    "DISPUTE_HELD": Template(
        74, "disputed money kept back 争议冻结", (Leg(AVAILABLE, RESERVE, AMOUNT),), opens=True
    ),
    "DISPUTE_RELEASED": Template(75, "dispute won 争议解冻", (Leg(RESERVE, AVAILABLE, AMOUNT),)),
    "DISPUTE_LOST": Template(
        76,
        "channel takes the disputed money 拒付",
        _LOST,
        opens=True,
        otherwise="DISPUTE_LOST_OWED",
    ),
    "DISPUTE_REVERSED": Template(
        77,
        "channel gives the disputed money back 拒付撤销",
        back(_LOST),
        otherwise="DISPUTE_REVERSAL_SUSPENDED",
    ),
    # The channel has taken it, whatever the merchant's accounts say 止付: the merchant owes it.
    "DISPUTE_LOST_OWED": Template(
        113,
        "channel takes the disputed money, the merchant owes it 拒付追款",
        _LOST_OWED,
        opens=True,
    ),
    "DISPUTE_OWED_REVERSED": Template(
        114, "channel gives it back, nobody owes it 拒付追款撤销", back(_LOST_OWED)
    ),
    "DISPUTE_REVERSAL_SUSPENDED": Template(
        115,
        "disputed money that the merchant's account refused 拒付撤销挂账",
        (Leg(CHANNEL, SUSPENSE, AMOUNT), COST_BACK_LEG),
        opens=True,
    ),
    # Withdrawal 提现: as a payout, out of a wallet.
    "WITHDRAWAL_ASKED": Template(
        78, "N5 withdrawal asked 提现", (Leg(WALLET, WALLET_TRANSIT, AMOUNT),), opens=True
    ),
    "WITHDRAWAL_SUCCEEDED": Template(
        79,
        "N5 withdrawal reached its bank 提现成功",
        (Leg(WALLET_TRANSIT, CHANNEL, NET), Leg(WALLET_TRANSIT, FEE_INCOME, FEE), COST_LEG),
    ),
    "WITHDRAWAL_FAILED": Template(
        80,
        "N5 withdrawal failed 提现失败",
        (Leg(WALLET_TRANSIT, WALLET, AMOUNT),),
        otherwise="WITHDRAWAL_FAILED_SUSPENDED",
    ),
    "WITHDRAWAL_RETURNED": Template(
        81,
        "N5 withdrawal came back 提现退票",
        (Leg(CHANNEL, WALLET, NET), Leg(FEE_INCOME, WALLET, FEE)),
        otherwise="PAYOUT_RETURN_SUSPENDED",
    ),
    "WITHDRAWAL_FAILED_SUSPENDED": Template(
        110,
        "failed withdrawal that the wallet refused 提现失败挂账",
        (Leg(WALLET_TRANSIT, SUSPENSE, AMOUNT),),
        opens=True,
    ),
    # Its late success is suspended by PAYOUT_SUSPENDED; the user bears it, or owes it.
    "WITHDRAWAL_SUSPENSE_TAKEN": Template(
        96,
        "the user bears a late withdrawal 提现补扣",
        (Leg(WALLET, SUSPENSE, AMOUNT),),
        otherwise="WITHDRAWAL_SUSPENSE_OWED",
    ),
    "WITHDRAWAL_SUSPENSE_OWED": Template(
        97,
        "the user owes a late withdrawal 提现补扣追款",
        (Leg(WALLET_DEBT, SUSPENSE, AMOUNT),),
        opens=True,
    ),
    # What waited in suspense for a wallet is let go.
    "SUSPENSE_WALLET_CREDITED": Template(
        117, "the user has what stood in suspense 挂账转钱包", (Leg(SUSPENSE, WALLET, AMOUNT),)
    ),
    # Transfer 转账 of balances: the payee gets the net. A payee is never opened by being paid.
    "TRANSFERRED": Template(
        82,
        "wallet to wallet 钱包转账",
        (Leg(WALLET, PAID_WALLET, NET), Leg(WALLET, FEE_INCOME, FEE)),
    ),
    "TRANSFERRED_TO_MERCHANT": Template(
        83,
        "wallet to merchant 钱包转商户",
        (Leg(WALLET, PAID_AVAILABLE, NET), Leg(WALLET, FEE_INCOME, FEE)),
    ),
    "TRANSFERRED_TO_WALLET": Template(
        84,
        "merchant to wallet 商户转钱包",
        (Leg(AVAILABLE, PAID_WALLET, NET), Leg(AVAILABLE, FEE_INCOME, FEE)),
    ),
    "TRANSFERRED_BY_MERCHANT": Template(
        85,
        "merchant to merchant 商户间转账",
        (Leg(AVAILABLE, PAID_AVAILABLE, NET), Leg(AVAILABLE, FEE_INCOME, FEE)),
    ),
    # Promotion 营销: a coupon or red packet is an internal channel, with clearing of its own.
    "SUBSIDY_PAID": Template(
        86, "a leg paid by coupon or red packet 优惠券/红包", (Leg(MARKETING, CHANNEL, AMOUNT),)
    ),
    "SUBSIDY_REFUNDED": Template(
        87, "such a leg given back 优惠退回", (Leg(CHANNEL, MARKETING, AMOUNT),)
    ),
    "CASHBACK_PAID": Template(88, "cashback to a wallet 返现", (Leg(MARKETING, WALLET, AMOUNT),)),
    "CASHBACK_RETURNED": Template(
        89, "cashback taken back 返现收回", (Leg(WALLET, MARKETING, AMOUNT),)
    ),
    # What a user owes us 追款 gets less.
    "WALLET_DEBT_NETTED": Template(
        90, "R7b debt taken from the wallet 钱包抵债", (Leg(WALLET, WALLET_DEBT, AMOUNT),)
    ),
    "WALLET_DEBT_REPAID": Template(
        91,
        "R7b debt paid through a channel 用户还款",
        (Leg(CHANNEL, WALLET_DEBT, AMOUNT), COST_LEG),
    ),
}
