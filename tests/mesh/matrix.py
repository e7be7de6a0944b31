"""What every rpc has of whom: the rows of the matrix of rights.

Walking the descriptors gives the rpcs and who may call them; only what a number in a request
belongs to is not written there, and that is here. `theirs`: the request names something of one
app; for another app it does not exist, and cannot be told from what never existed. `listed`:
the answer holds what is the caller's own, and nothing else. `traced`: a neighbour asks on
behalf of an app. `nobodys`: nothing of any app can be named, or only who may name it all asks.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """`names`: the fields that lead to it; `reason`: what another app is told."""

    kind: str
    names: tuple[str, ...] = ()
    reason: str = ""
    why: str = ""


def theirs(reason: str, *names: str) -> Row:
    return Row("theirs", names, reason)


def nobodys(why: str) -> Row:
    return Row("nobodys", why=why)


LISTED, TRACED = Row("listed"), Row("traced")
OPERATORS = nobodys("operators see every app")
TRUSTED = nobodys("whose it is stands in the item, by a service that was asked by its owner")

ROWS: dict[str, tuple[Row, ...]] = {
    "trade.TradeService/OpenWallet": (nobodys("a wallet is its opener's"),),
    "trade.TradeService/GetWallet": (theirs("WALLET_NOT_FOUND", "user_no"),),
    "trade.TradeService/CreateTrade": (
        theirs("MERCHANT_NOT_FOUND", "merchant_id"),
        theirs("PRODUCT_NOT_FOUND", "product_code"),
    ),
    "trade.TradeService/PayTrade": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/CloseTrade": (
        theirs("TRADE_NOT_FOUND", "trade_no"),
        theirs("TRADE_NOT_FOUND", "order_no"),
    ),
    "trade.TradeService/GetTrade": (
        theirs("TRADE_NOT_FOUND", "trade_no"),
        theirs("TRADE_NOT_FOUND", "order_no"),
    ),
    "trade.TradeService/WatchTrade": (
        theirs("TRADE_NOT_FOUND", "trade_no"),
        theirs("TRADE_NOT_FOUND", "order_no"),
    ),
    "trade.TradeService/CreateRefund": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/GetRefund": (
        theirs("REFUND_NOT_FOUND", "refund_no"),
        theirs("REFUND_NOT_FOUND", "refund_order_no"),
    ),
    "trade.TradeService/BatchPayTrades": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/BatchCreateTrades": (theirs("MERCHANT_NOT_FOUND", "merchant_id"),),
    "trade.TradeService/BatchCreateRefunds": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/BatchGetTrades": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/StreamPayTrades": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/StreamCreateTrades": (theirs("MERCHANT_NOT_FOUND", "merchant_id"),),
    "trade.TradeService/StreamCreateRefunds": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/StreamGetTrades": (theirs("TRADE_NOT_FOUND", "trade_no"),),
    "trade.TradeService/ListTrades": (LISTED,),
    "trade.TradeService/ListRefunds": (LISTED,),
    "trade.TradeService/GetTrace": (theirs("TRACE_NOT_FOUND", "trace_no"),),
    "trade.AppService/GetWebhookEndpoint": (theirs("APP_NOT_FOUND", "app_id"),),
    "trade.AppService/UpdateWebhookEndpoint": (theirs("APP_NOT_FOUND", "app_id"),),
    "trade.AppService/RotateWebhookSecret": (theirs("APP_NOT_FOUND", "app_id"),),
    "trade.AppService/ListWebhooks": (LISTED, theirs("APP_NOT_FOUND", "app_id")),
    "trade.AppService/ListWebhookAttempts": (
        theirs("WEBHOOK_NOT_FOUND", "webhook_id"),
        theirs("APP_NOT_FOUND", "app_id"),
    ),
    "trade.AppService/ResendWebhook": (
        theirs("WEBHOOK_NOT_FOUND", "webhook_id"),
        theirs("APP_NOT_FOUND", "app_id"),
    ),
    "trade.AppService/AddAppKey": (theirs("APP_NOT_FOUND", "app_id"),),
    "trade.AppService/RetireAppKey": (
        theirs("APP_KEY_NOT_FOUND", "key_id"),
        theirs("APP_NOT_FOUND", "app_id"),
    ),
    "trade.AppService/ListAppKeys": (LISTED, theirs("APP_NOT_FOUND", "app_id")),
    "trade.TradeOpsService/CreateApp": (OPERATORS,),
    "trade.TradeOpsService/PutAppLimits": (OPERATORS,),
    "trade.TradeOpsService/CreateMerchant": (OPERATORS,),
    "trade.TradeOpsService/CreateProduct": (OPERATORS,),
    "payment.PaymentOpsService/ListCases": (OPERATORS,),
    "payment.PaymentOpsService/GetCase": (OPERATORS,),
    "payment.PaymentOpsService/AssignCase": (OPERATORS,),
    "payment.PaymentOpsService/ResolveCase": (OPERATORS,),
    "payment.PaymentOpsService/ProposeResolution": (OPERATORS,),
    "payment.PaymentOpsService/ApproveResolution": (OPERATORS,),
    "payment.PaymentOpsService/RejectResolution": (OPERATORS,),
    "payment.PaymentOpsService/PutCaseRule": (OPERATORS,),
    "payment.PaymentOpsService/ListCaseRules": (OPERATORS,),
    "payment.PaymentService/StreamPayments": (TRUSTED,),
    "payment.PaymentService/StreamCloses": (TRUSTED,),
    "payment.PaymentService/StreamRefunds": (TRUSTED,),
    "payment.PaymentService/ListTraceEntries": (TRACED,),
    "channel.ChannelOpsService/PutChannelAccount": (OPERATORS,),
    "channel.ChannelService/StreamSubmits": (TRUSTED,),
    "channel.ChannelService/StreamCloses": (TRUSTED,),
    "channel.ChannelService/ListTraceEntries": (TRACED,),
    "ledger.LedgerOpsService/GetTrialBalance": (OPERATORS,),
    "ledger.LedgerOpsService/ProveBook": (OPERATORS,),
    "ledger.LedgerOpsService/ProveBlocks": (OPERATORS,),
    "ledger.LedgerOpsService/ListBlockHashes": (OPERATORS,),
    "ledger.BookOpsService/CreateBook": (OPERATORS,),
    "ledger.BookOpsService/AssignBook": (OPERATORS,),
    "ledger.TransferService/PostTransfers": (TRUSTED,),
    "ledger.TransferService/LookupTransfers": (TRUSTED,),
    "ledger.AccountingService/ListSubjects": (OPERATORS,),
    "ledger.AccountingService/CutDay": (OPERATORS,),
    "ledger.AccountingService/CloseDay": (OPERATORS,),
    "ledger.AccountingService/ListDays": (OPERATORS,),
    "ledger.AccountingService/ListHistoryDays": (OPERATORS,),
    "ledger.AccountingService/GetDayTrialBalance": (OPERATORS,),
    "ledger.AccountingService/GetBalanceSheet": (OPERATORS,),
    "ledger.AccountingService/GetIncomeStatement": (OPERATORS,),
    "ledger.AccountingService/CloseIncome": (OPERATORS,),
    "ledger.AccountingService/ListDayVouchers": (OPERATORS,),
    "ledger.AccountingService/ListSuspense": (OPERATORS,),
    "ledger.AccountingService/GetClearingAges": (OPERATORS,),
    "ledger.AccountService/GetAccount": (OPERATORS,),
    "ledger.AccountService/ListAccounts": (OPERATORS,),
    "ledger.AccountService/ListOwnerAccounts": (OPERATORS,),
    "ledger.AccountService/BlockAccount": (OPERATORS,),
    "ledger.AccountService/UnblockAccount": (OPERATORS,),
    "ledger.AccountService/CloseAccount": (OPERATORS,),
    "ledger.AccountService/SetAccountLimits": (OPERATORS,),
    "ledger.AccountService/ListStatement": (OPERATORS,),
    "ledger.AccountService/GetBalanceAt": (OPERATORS,),
    "ledger.AccountService/ListHolds": (OPERATORS,),
    "ledger.AccountReadService/ReadOwnerAccounts": (TRUSTED,),
    "ledger.AccountReadService/ReadStatement": (TRUSTED,),
    "ledger.AccountReadService/ReadBalanceAt": (TRUSTED,),
    "ledger.GeneralLedgerService/ExportVouchers": (OPERATORS,),
    "ledger.GeneralLedgerService/RecordPushes": (OPERATORS,),
    "ledger.GeneralLedgerService/ListPushes": (OPERATORS,),
    "ledger.LedgerService/BatchPost": (TRUSTED,),
    "ledger.LedgerService/BatchForbid": (TRUSTED,),
    "ledger.LedgerService/BatchOpenAccounts": (TRUSTED,),
    "ledger.LedgerService/BatchGetBalances": (TRUSTED,),
    "ledger.LedgerService/ListTraceEntries": (TRACED,),
    "risk.RiskOpsService/PutLimit": (OPERATORS,),
    "risk.RiskOpsService/PutDenyEntry": (OPERATORS,),
    "risk.RiskService/BatchEvaluate": (TRUSTED,),
    "risk.RiskService/ListTraceEntries": (TRACED,),
    "settlement.SettlementService/ListTraceEntries": (TRACED,),
}


def row_name(full_name: str) -> str:
    """Return `trade.TradeService/PayTrade` of `tongbao.trade.v1.TradeService.PayTrade`."""
    _, service, _, name, rpc = full_name.split(".")
    return f"{service}.{name}/{rpc}"
