-- Amounts are in minor units of currency_code. Times are business time.

-- One row per try to pay a trade. The number is chosen by trade and is the key; it holds its
-- date, so it is unique for good although the table is partitioned by it.
CREATE TABLE payment (
    payment_no     text        COLLATE "C" PRIMARY KEY,
    app_id         text        NOT NULL,
    business_code  text        NOT NULL,
    trace_no       text        NOT NULL,
    trade_no       text        COLLATE "C" NOT NULL,
    trade_type     text        NOT NULL,
    tool           text        NOT NULL,
    currency_code  text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    merchant_id    text        NOT NULL,
    user_no        text        NOT NULL,
    subject        text        NOT NULL,
    fee_minor      bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    cost_minor     bigint      NOT NULL DEFAULT 0 CHECK (cost_minor >= 0),
    refunded_minor bigint      NOT NULL DEFAULT 0
                   CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    state          text        NOT NULL,
    version        bigint      NOT NULL DEFAULT 1,
    channel_code   text        NOT NULL DEFAULT '',
    attempt_no     text        COLLATE "C" NOT NULL DEFAULT '',  -- Whose word brought it here.
    reported_minor bigint      NOT NULL DEFAULT 0 CHECK (reported_minor >= 0),
    failure_reason text        NOT NULL DEFAULT '',
    qr_code        text        NOT NULL DEFAULT '',
    fingerprint    bytea       NOT NULL,
    due_time       timestamptz,
    tries          integer     NOT NULL DEFAULT 0,
    create_time    timestamptz NOT NULL DEFAULT business_now(),
    update_time    timestamptz NOT NULL DEFAULT business_now(),
    -- What is not known yet is never forgotten, and what is known is left alone.
    CHECK ((state IN ('created', 'processing')) = (due_time IS NOT NULL))
) PARTITION BY RANGE (payment_no);
CREATE INDEX payment_trace ON payment (trace_no);
CREATE INDEX payment_due ON payment (due_time) WHERE due_time IS NOT NULL;
SELECT make_partitions('payment', 2026, 2);

-- One row per amount on its way back. fee_minor is the part that our fee income pays.
CREATE TABLE refund (
    refund_no      text        COLLATE "C" PRIMARY KEY,
    payment_no     text        COLLATE "C" NOT NULL,
    trade_no       text        COLLATE "C" NOT NULL,
    app_id         text        NOT NULL,
    business_code  text        NOT NULL,
    trace_no       text        NOT NULL,
    currency_code  text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    fee_minor      bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    merchant_id    text        NOT NULL,
    state          text        NOT NULL,
    version        bigint      NOT NULL DEFAULT 1,
    channel_code   text        NOT NULL DEFAULT '',
    attempt_no     text        COLLATE "C" NOT NULL DEFAULT '',
    failure_reason text        NOT NULL DEFAULT '',
    fingerprint    bytea       NOT NULL,
    due_time       timestamptz,
    tries          integer     NOT NULL DEFAULT 0,
    create_time    timestamptz NOT NULL DEFAULT business_now(),
    update_time    timestamptz NOT NULL DEFAULT business_now(),
    CHECK ((state IN ('created', 'processing')) = (due_time IS NOT NULL))
) PARTITION BY RANGE (refund_no);
CREATE INDEX refund_trace ON refund (trace_no);
CREATE INDEX refund_due ON refund (due_time) WHERE due_time IS NOT NULL;
SELECT make_partitions('refund', 2026, 2);

-- What a person has to resolve. The number is that of the order or attempt it is about.
CREATE TABLE exception_case (
    case_id     text        COLLATE "C" PRIMARY KEY,
    kind        text        NOT NULL,
    number      text        COLLATE "C" NOT NULL,
    app_id      text        NOT NULL,
    trace_no    text        NOT NULL,
    facts       jsonb       NOT NULL,
    state       text        NOT NULL CHECK (state IN ('open', 'resolved')),
    deadline    timestamptz NOT NULL,
    version     bigint      NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT business_now(),
    update_time timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (kind, number)
);
CREATE INDEX exception_case_trace ON exception_case (trace_no);
