"""Vouchers for the general ledger of the company 总账, in the formats that it imports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ledger.gl import beancount, kingdee_cloud, kingdee_kis, plain, yonyou_u8
from ledger.gl.voucher import GlBook, GlVoucher


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How vouchers are written, and what a file of them is called behind the dot.

    Those `in_base` say the base currency alone, in which a voucher may come to nothing.
    """

    render: Callable[[Sequence[GlVoucher], GlBook], bytes]
    suffix: str
    in_base: bool


FORMATS: Mapping[str, Format] = {
    "kingdee-cloud": Format(render=kingdee_cloud.render, suffix="json", in_base=True),
    "kingdee-kis": Format(render=kingdee_kis.render, suffix="xlsx", in_base=True),
    "yonyou-u8": Format(render=yonyou_u8.render, suffix="txt", in_base=True),
    "csv": Format(render=plain.render, suffix="csv", in_base=False),
    "beancount": Format(render=beancount.render, suffix="beancount", in_base=False),
}
