-- What each success and each refund means for merchant and platform. The source's number is
-- the effect key: the same event makes one item, however often it comes. Amounts are
-- positive; `kind` gives the sense.
CREATE TABLE clearing_item (
    source_no     text COLLATE "C" NOT NULL,
    kind          text             NOT NULL CHECK (kind IN ('payment', 'refund')),
    app_id        text             NOT NULL,
    trace_no      text             NOT NULL,
    trade_no      text COLLATE "C" NOT NULL,
    merchant_id   text             NOT NULL CHECK (merchant_id <> ''),
    currency_code text             NOT NULL,
    gross_minor   bigint           NOT NULL CHECK (gross_minor > 0),
    fee_minor     bigint           NOT NULL CHECK (fee_minor BETWEEN 0 AND gross_minor),
    cost_minor    bigint           NOT NULL CHECK (cost_minor >= 0),
    net_minor     bigint           NOT NULL CHECK (net_minor = gross_minor - fee_minor),
    state         text             NOT NULL CHECK (state IN ('pending', 'held', 'cancelled')),
    source_version bigint          NOT NULL,  -- Of the payment or refund, as it said so.
    version       bigint           NOT NULL DEFAULT 1,
    create_time   timestamptz      NOT NULL DEFAULT business_now(),
    update_time   timestamptz      NOT NULL DEFAULT business_now(),
    PRIMARY KEY (source_no),
    CHECK (kind = 'payment' OR cost_minor = 0)
) PARTITION BY RANGE (source_no);
CREATE INDEX clearing_item_trace ON clearing_item (trace_no, app_id);
SELECT make_partitions('clearing_item', 2026, 2);
