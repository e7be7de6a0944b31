"""Templates of real money, of what reconciliation resolves, and of the close of a period."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.templates.parts import (
    AMOUNT,
    CASH,
    CHANNEL,
    CHANNEL_COST,
    CHANNEL_DEBT,
    DUPLICATE,
    FEE_INCOME,
    MARKETING,
    MERCHANT_DEBT,
    PAID_CASH,
    PROFIT,
    RECON_GAIN,
    RECON_LOSS,
    ROUNDING,
    SHORTAGE,
    SURPLUS,
    SUSPENSE,
    TRANSIT,
    WALLET_DEBT,
    Leg,
    Side,
    Template,
    back,
)


def _moved(code: int, about: str, debit: Side, credit: Side) -> Template:
    """Return a template of one leg, on accounts that it opens."""
    return Template(code, about, (Leg(debit, credit, AMOUNT),), opens=True)


def _undone(templates: Mapping[str, Template]) -> dict[str, Template]:
    """Return the mirror of each: a corrected resolution is new entries, never an edit.

    The mirror is called like its template with `_UNDONE` behind it, its code is 100 more.
    """
    return {
        f"{name}_UNDONE": Template(
            one.code + 100, f"{one.about}, undone 撤销", back(one.legs), opens=one.opens
        )
        for name, one in templates.items()
    }


# Nothing else writes cash. One event for each batch and kind of line, with the batch's sum; the
# lines that belong to it are reconciliation's.
FUNDS: Mapping[str, Template] = {
    "FUND_IN_MATCHED": _moved(100, "N2 money that was expected came in 资金到账", CASH, CHANNEL),
    "FUND_IN_LATE": _moved(101, "N2 R5b money that was short came in 短款到账", CASH, SHORTAGE),
    "FUND_IN_SURPLUS": _moved(102, "N2 R4a money without an order came in 长款", CASH, SURPLUS),
    "FUND_OUT_MATCHED": _moved(103, "N2 N4 N5 money that was due went out 资金出账", CHANNEL, CASH),
    "FUND_OUT_LATE": _moved(104, "N2 R5b money that was long went out 长款出账", SURPLUS, CASH),
    "FUND_OUT_SHORTAGE": _moved(105, "N2 R4b money without an order went out 短款", SHORTAGE, CASH),
    "FUND_FEE_TAKEN": _moved(106, "N2 channel took its fees 渠道扣费", CHANNEL, CASH),
    "FUND_FEE_RETURNED": _moved(107, "N2 channel gave fees back 渠道退费", CASH, CHANNEL),
    "CASH_MOVED": _moved(108, "money moved between our accounts 资金归集", PAID_CASH, CASH),
    "CLAIM_RECEIVED": _moved(109, "R7a channel paid what it owed 渠道赔款到账", CASH, CHANNEL_DEBT),
}

_RESOLUTIONS = {
    # Expected, and not there after T+3: in or out.
    "SHORTAGE_SUSPENDED": _moved(120, "R4b money did not come in 短款挂账", SHORTAGE, CHANNEL),
    "SURPLUS_SUSPENDED": _moved(121, "R4b money did not go out 长款挂账", CHANNEL, SURPLUS),
    # The order was found, or repaired.
    "SURPLUS_MATCHED": _moved(122, "R5a order of a surplus found 长款核销", SURPLUS, CHANNEL),
    "SHORTAGE_MATCHED": _moved(123, "R5a order of a shortage found 短款核销", CHANNEL, SHORTAGE),
    # Somebody has to pay 追款. Settlement and trade take it by DEBT_ and WALLET_DEBT_.
    "CHANNEL_CLAIMED": _moved(126, "R7a channel must pay 渠道追款", CHANNEL_DEBT, SHORTAGE),
    "MERCHANT_CLAIMED": _moved(127, "R7b merchant must pay 商户追款", MERCHANT_DEBT, SHORTAGE),
    "MERCHANT_CLAIMED_CLEARING": _moved(
        128, "R7b merchant must pay, not suspended before 商户追款", MERCHANT_DEBT, CHANNEL
    ),
    "WALLET_CLAIMED": _moved(129, "R7b user must pay 用户追款", WALLET_DEBT, SHORTAGE),
    "WALLET_CLAIMED_CLEARING": _moved(
        130, "R7b user must pay, not suspended before 用户追款", WALLET_DEBT, CHANNEL
    ),
    # Nobody claims it, nobody pays it.
    "SURPLUS_WRITTEN_OFF": _moved(131, "R8a surplus nobody claims 长款转收益", SURPLUS, RECON_GAIN),
    "SUSPENSE_WRITTEN_OFF": _moved(
        132, "R8a suspense nobody claims 挂账转收益", SUSPENSE, RECON_GAIN
    ),
    "DUPLICATE_WRITTEN_OFF": _moved(
        133, "R8a duplicate nobody claims 重复支付转收益", DUPLICATE, RECON_GAIN
    ),
    "SHORTAGE_WRITTEN_OFF": _moved(134, "R8b shortage lost 短款核销损失", RECON_LOSS, SHORTAGE),
    "CLAIM_WRITTEN_OFF": _moved(
        135, "R8b claim on a channel lost 应收渠道核销", RECON_LOSS, CHANNEL_DEBT
    ),
    "DEBT_WRITTEN_OFF": _moved(
        136, "R8b debt of a merchant lost 应收商户核销", RECON_LOSS, MERCHANT_DEBT
    ),
    "WALLET_DEBT_WRITTEN_OFF": _moved(
        137, "R8b debt of a user lost 应收用户核销", RECON_LOSS, WALLET_DEBT
    ),
    # The channel is truth; the amount is the difference.
    "AMOUNT_RAISED": _moved(138, "R9 channel has more 金额差错调增", CHANNEL, SURPLUS),
    "AMOUNT_LOWERED": _moved(139, "R9 channel has less 金额差错调减", SHORTAGE, CHANNEL),
    "COST_RAISED": _moved(140, "R10 channel takes more 费用调增", CHANNEL_COST, CHANNEL),
    "COST_LOWERED": _moved(141, "R10 channel takes less 费用调减", CHANNEL, CHANNEL_COST),
    "ROUNDED_DOWN": _moved(142, "R11 less, within the tolerance 尾差", ROUNDING, CHANNEL),
    "ROUNDED_UP": _moved(143, "R11 more, within the tolerance 尾差", CHANNEL, ROUNDING),
}
# A surplus given back 退款 ends by REFUND_SUCCEEDED under the give-back's number.
_RETURNS = {
    "SURPLUS_RETURN_ASKED": _moved(
        124, "R6 give-back of a surplus asked 长款退款", SURPLUS, TRANSIT
    ),
    "SURPLUS_RETURN_FAILED": _moved(
        125, "R6 give-back of a surplus failed 长款退款失败", TRANSIT, SURPLUS
    ),
}
RESOLUTIONS: Mapping[str, Template] = {**_RESOLUTIONS, **_RETURNS, **_undone(_RESOLUTIONS)}

# Close of a period 损益结转. An account that stands on its other side is closed by the mirror.
_CLOSES = {
    "FEE_INCOME_CLOSED": _moved(150, "fee income closed 结转手续费收入", FEE_INCOME, PROFIT),
    "RECON_GAIN_CLOSED": _moved(151, "gains closed 结转差错收益", RECON_GAIN, PROFIT),
    "CHANNEL_COST_CLOSED": _moved(152, "channel cost closed 结转渠道成本", PROFIT, CHANNEL_COST),
    "MARKETING_CLOSED": _moved(153, "marketing closed 结转营销费用", PROFIT, MARKETING),
    "RECON_LOSS_CLOSED": _moved(154, "losses closed 结转差错损失", PROFIT, RECON_LOSS),
    "ROUNDING_CLOSED": _moved(155, "rounding closed 结转尾差", PROFIT, ROUNDING),
}
CLOSES: Mapping[str, Template] = {**_CLOSES, **_undone(_CLOSES)}
