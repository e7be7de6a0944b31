"""Templates of what merchants have: refunds beyond pending, settlement, reserve, payout, debt."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.templates.parts import (
    AMOUNT,
    AVAILABLE,
    AVAILABLE_PART,
    CHANNEL,
    CHANNEL_COST,
    COST_BACK_LEG,
    COST_LEG,
    FEE,
    FEE_INCOME,
    MARKETING,
    MERCHANT_DEBT,
    MERCHANT_TRANSIT,
    NET,
    OWED_PART,
    PENDING,
    RESERVE,
    RESERVE_PART,
    SUSPENSE,
    TRANSIT,
    UNDRAWN,
    UNRESERVED,
    WALLET,
    Leg,
    Side,
    Template,
    back,
)


def drawn(to: Side) -> tuple[Leg, ...]:
    """Return the legs that take an amount from all that a merchant has, and its fee from us.

    The event says how much of it reserve and available bear and how much is owed from now on;
    pending bears the rest. The order of drawing is the caller's.
    """
    return (
        Leg(PENDING, to, UNDRAWN),
        Leg(RESERVE, to, RESERVE_PART),
        Leg(AVAILABLE, to, AVAILABLE_PART),
        Leg(MERCHANT_DEBT, to, OWED_PART),
        Leg(FEE_INCOME, to, FEE),
    )


_REFUND_AVAILABLE = (Leg(AVAILABLE, TRANSIT, NET), Leg(FEE_INCOME, TRANSIT, FEE))
_SETTLED = (Leg(PENDING, AVAILABLE, UNRESERVED), Leg(PENDING, RESERVE, RESERVE_PART))

MERCHANTS: Mapping[str, Template] = {
    # Refund of a trade that is settled, or of one whose fee is kept: what is pending does not
    # do. All end by REFUND_SUCCEEDED under the refund's number.
    "REFUND_AVAILABLE_ASKED": Template(
        31, "N3 refund asked, out of what is available 可用余额退款", _REFUND_AVAILABLE
    ),
    "REFUND_AVAILABLE_FAILED": Template(
        32,
        "N3 such a refund failed 可用余额退款失败",
        back(_REFUND_AVAILABLE),
        otherwise="REFUND_FAILED_SUSPENDED",
    ),
    "REFUND_DRAWN_ASKED": Template(
        33, "N3 refund asked, out of several accounts 多账户退款", drawn(TRANSIT), opens=True
    ),
    "REFUND_DRAWN_FAILED": Template(
        34,
        "N3 such a refund failed 多账户退款失败",
        back(drawn(TRANSIT)),
        otherwise="REFUND_FAILED_SUSPENDED",
    ),
    "COST_RETURNED": Template(
        35, "N3 channel returns its fee 退还渠道手续费", (Leg(CHANNEL, CHANNEL_COST, AMOUNT),)
    ),
    # More than was paid 赔付: paid out like a refund, the merchant's or our own money.
    "COMPENSATION_ASKED": Template(
        36, "compensation asked, the merchant pays 商户赔付", (Leg(AVAILABLE, TRANSIT, AMOUNT),)
    ),
    "COMPENSATION_FAILED": Template(
        37,
        "such a compensation failed 商户赔付失败",
        (Leg(TRANSIT, AVAILABLE, AMOUNT),),
        otherwise="REFUND_FAILED_SUSPENDED",
    ),
    "GOODWILL_ASKED": Template(
        38, "compensation asked, we pay 平台赔付", (Leg(MARKETING, TRANSIT, AMOUNT),)
    ),
    "GOODWILL_FAILED": Template(
        39, "such a compensation failed 平台赔付失败", (Leg(TRANSIT, MARKETING, AMOUNT),)
    ),
    # Settlement 结算: what is due becomes available, part of it kept back.
    "SETTLED": Template(40, "pending to available, part to reserve 结算", _SETTLED, opens=True),
    "SETTLE_REVERSED": Template(41, "settlement taken back 结算冲回", back(_SETTLED)),
    # The channel pays the merchant itself; our books only follow.
    "SETTLED_BY_CHANNEL": Template(
        42,
        "channel settled with the merchant 渠道直清",
        (Leg(PENDING, CHANNEL, AMOUNT),),
        otherwise="MERCHANT_CLAIMED_CLEARING",
    ),
    # Reserve 保证金.
    "RESERVE_DEPOSITED": Template(
        43, "margin taken 缴存保证金", (Leg(AVAILABLE, RESERVE, AMOUNT),), opens=True
    ),
    "RESERVE_RELEASED": Template(
        44, "margin given back 释放保证金", (Leg(RESERVE, AVAILABLE, AMOUNT),), opens=True
    ),
    "RESERVE_DRAWN": Template(
        45, "margin covers a negative settlement 保证金抵扣", (Leg(RESERVE, PENDING, AMOUNT),)
    ),
    "RESERVE_FORFEITED": Template(
        46, "margin deducted, to us 扣罚保证金", (Leg(RESERVE, FEE_INCOME, AMOUNT),)
    ),
    "RESERVE_AWARDED": Template(
        47, "margin deducted, to a payer's wallet 保证金赔付", (Leg(RESERVE, WALLET, AMOUNT),)
    ),
    # Payout 付款, 代付: out of the account before any channel is asked. A payout that came back
    # 退票 is credited net, with what of the fee we give back.
    "PAYOUT_ASKED": Template(
        48, "N5 payout asked 出款", (Leg(AVAILABLE, MERCHANT_TRANSIT, AMOUNT),), opens=True
    ),
    "PAYOUT_SUCCEEDED": Template(
        49,
        "N5 payout reached the payee 出款成功",
        (Leg(MERCHANT_TRANSIT, CHANNEL, NET), Leg(MERCHANT_TRANSIT, FEE_INCOME, FEE), COST_LEG),
    ),
    "PAYOUT_FAILED": Template(
        50,
        "N5 payout failed 出款失败",
        (Leg(MERCHANT_TRANSIT, AVAILABLE, AMOUNT),),
        otherwise="PAYOUT_FAILED_SUSPENDED",
    ),
    "PAYOUT_RETURNED": Template(
        51,
        "N5 payout came back 出款退票",
        (Leg(CHANNEL, AVAILABLE, NET), Leg(FEE_INCOME, AVAILABLE, FEE)),
        otherwise="PAYOUT_RETURN_SUSPENDED",
    ),
    # The merchant's account takes no credits, so its money waits for a person; nothing stays in
    # transit. A withdrawal that came back to a wallet of that kind waits in the same way.
    "PAYOUT_FAILED_SUSPENDED": Template(
        99,
        "failed payout that the merchant's account refused 出款失败挂账",
        (Leg(MERCHANT_TRANSIT, SUSPENSE, AMOUNT),),
        opens=True,
    ),
    "PAYOUT_RETURN_SUSPENDED": Template(
        111,
        "returned payout or withdrawal that its account refused 退票挂账",
        (Leg(CHANNEL, SUSPENSE, NET), Leg(FEE_INCOME, SUSPENSE, FEE)),
        opens=True,
    ),
    # Late success: it had failed, and the payee has the money all the same. A person finds who
    # bears it.
    "PAYOUT_SUSPENDED": Template(
        94,
        "a payout that had failed reached the payee 出款迟到成功",
        (Leg(SUSPENSE, CHANNEL, AMOUNT),),
        opens=True,
    ),
    "PAYOUT_SUSPENSE_DRAWN": Template(
        95, "the merchant bears such a payout 出款补扣", drawn(SUSPENSE), opens=True
    ),
    # What waited in suspense for a merchant's account is let go, into whichever it belongs to.
    "SUSPENSE_CREDITED": Template(
        116, "the merchant has what stood in suspense 挂账转商户", back(drawn(SUSPENSE))
    ),
    # What a merchant owes us 追款 gets less.
    "DEBT_NETTED": Template(
        52,
        "R7b debt taken from what is available 追款轧差",
        (Leg(AVAILABLE, MERCHANT_DEBT, AMOUNT),),
    ),
    "DEBT_COVERED": Template(
        53, "R7b debt taken from the reserve 保证金抵债", (Leg(RESERVE, MERCHANT_DEBT, AMOUNT),)
    ),
    "DEBT_REPAID": Template(
        54,
        "R7b debt paid through a channel 商户还款",
        (Leg(CHANNEL, MERCHANT_DEBT, AMOUNT), COST_LEG),
    ),
    # Fees beside payments: monthly ones, true-ups of a volume's price, those that we bear.
    "FEE_CHARGED": Template(
        55, "fee taken from what is available 收取手续费", (Leg(AVAILABLE, FEE_INCOME, AMOUNT),)
    ),
    "FEE_RETURNED": Template(
        56, "fee given back 退还手续费", (Leg(FEE_INCOME, AVAILABLE, AMOUNT),)
    ),
    "FEE_SUBSIDISED": Template(
        57, "fee borne by us 手续费补贴", (Leg(MARKETING, FEE_INCOME, AMOUNT),)
    ),
    # R3 in the order of its design: pending, reserve, available, and the rest is owed.
    "COLLECT_REVERSED_DRAWN": Template(
        92,
        "R3 channel takes a payment back, out of several accounts 多账户冲正",
        (*drawn(CHANNEL), COST_BACK_LEG),
        opens=True,
        otherwise="COLLECT_REVERSED_OWED",
    ),
    "COLLECT_RESTORED_DRAWN": Template(
        93,
        "such a payment stands after all 多账户冲正恢复",
        (*back(drawn(CHANNEL)), COST_LEG),
        otherwise="SUSPENSE_RESTORED",
    ),
}
