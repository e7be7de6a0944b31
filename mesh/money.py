"""Money is int64 minor units and an ISO 4217 code; rates are parts per million."""

from __future__ import annotations

from decimal import Decimal

PPM = 1_000_000
AMOUNT_MAX = 10**15

# ISO 4217 codes by number of decimals; only currencies that are legal tender somewhere.
_BY_DECIMALS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD "
        "CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS "
        "GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP "
        "LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK "
        "NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS "
        "SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VES WST XCD "
        "XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
}
DECIMALS = {code: places for places, codes in _BY_DECIMALS.items() for code in codes.split()}


def known(currency_code: str) -> bool:
    """Return whether `currency_code` is a currency we can count."""
    return currency_code in DECIMALS


def major(amount_minor: int, currency_code: str) -> str:
    """Return an amount in major units, with all decimals that the currency has."""
    places = DECIMALS[currency_code]
    return f"{Decimal(amount_minor).scaleb(-places):.{places}f}"


def rate_of(amount_minor: int, ppm: int) -> int:
    """Return `ppm` of the amount, rounded half up to one minor unit; amount ≥ 0."""
    assert amount_minor >= 0, amount_minor
    return (2 * amount_minor * ppm + PPM) // (2 * PPM)


def share(total_minor: int, part_minor: int, whole_minor: int) -> int:
    """Return what of `total` falls to `part` of `whole`, rounded half up.

    Telescopes: the shares of growing parts, taken as differences, add up to `total` exactly
    when the parts reach the whole.
    """
    assert 0 <= part_minor <= whole_minor, (part_minor, whole_minor)
    assert whole_minor > 0, whole_minor
    return (2 * total_minor * part_minor + whole_minor) // (2 * whole_minor)
