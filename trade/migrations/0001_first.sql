-- Amounts are in minor units of currency_code. Times are business time.

-- A statement that won one key and lost another to a twin may not write half of what belongs
-- together. This undoes it; it is run again by itself and then sees the twin.
CREATE FUNCTION run_again() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'lost a key to a twin' USING ERRCODE = 'serialization_failure';
END $$;

-- What operators made under which request. Never partitioned, never deleted.
CREATE TABLE request_key (
    principal   text  NOT NULL,
    request_id  text  NOT NULL,
    thing_id    text  NOT NULL,
    fingerprint bytea NOT NULL,
    PRIMARY KEY (principal, request_id)
);

-- `version` rises with every change of the app's access: endpoint, secret, keys.
CREATE TABLE app (
    app_id           text        PRIMARY KEY,
    business_code    text        NOT NULL UNIQUE CHECK (business_code ~ '^[A-Z0-9]{2,8}$'),
    name             text        NOT NULL,
    webhook_url      text        NOT NULL,  -- Empty: it is told nothing.
    webhook_secret   bytea       NOT NULL,  -- Sealed for its row.
    old_secret       bytea,                 -- The one before it, for as long as it is valid.
    old_secret_until timestamptz CHECK ((old_secret_until IS NULL) = (old_secret IS NULL)),
    version          bigint      NOT NULL DEFAULT 1,
    create_time      timestamptz NOT NULL DEFAULT business_now()
);

-- Rotation is a second key, then the first one retired: in real time, as tokens live.
CREATE TABLE app_key (
    key_id         text        PRIMARY KEY,
    app_id         text        NOT NULL REFERENCES app,
    public_key_pem text        NOT NULL,
    fingerprint    text        NOT NULL,
    retire_time    timestamptz,
    create_time    timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (app_id, fingerprint)
);

-- How much an app may ask of one process; apps without a row have the defaults of the settings.
CREATE TABLE app_limit (
    app_id      text        PRIMARY KEY REFERENCES app,
    per_second  integer     NOT NULL CHECK (per_second > 0),
    burst       integer     NOT NULL CHECK (burst > 0),
    in_flight   integer     NOT NULL CHECK (in_flight > 0),
    streams     integer     NOT NULL CHECK (streams > 0),
    update_time timestamptz NOT NULL DEFAULT business_now()
);

CREATE TABLE merchant (
    merchant_id    text        PRIMARY KEY,
    app_id         text        NOT NULL REFERENCES app,
    name           text        NOT NULL,
    currency_codes text[]      NOT NULL CHECK (cardinality(currency_codes) > 0),
    rate_ppm       integer     NOT NULL CHECK (rate_ppm BETWEEN 0 AND 1000000),
    least_minor    bigint      NOT NULL CHECK (least_minor >= 0),
    refund_policy  text        NOT NULL CHECK (refund_policy IN ('return', 'keep')),
    create_time    timestamptz NOT NULL DEFAULT business_now()
);

CREATE TABLE product (
    product_code   text        PRIMARY KEY,
    type           text        NOT NULL CHECK (type IN ('collect', 'recharge')),
    name           text        NOT NULL,
    tools          text[]      NOT NULL CHECK (cardinality(tools) > 0),
    expiry_seconds integer     NOT NULL CHECK (expiry_seconds > 0),
    create_time    timestamptz NOT NULL DEFAULT business_now()
);

CREATE TABLE product_app (
    product_code text NOT NULL REFERENCES product,
    app_id       text NOT NULL REFERENCES app,
    PRIMARY KEY (app_id, product_code)
);

CREATE TABLE wallet (
    wallet_id     text        PRIMARY KEY,
    app_id        text        NOT NULL REFERENCES app,
    user_no       text        NOT NULL,
    currency_code text        NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (app_id, user_no, currency_code)
);

-- The callers' own numbers, unique for ever: a unique index cannot span partitions.
CREATE TABLE trade_key (
    business_code text  NOT NULL,
    order_no      text  NOT NULL,
    trade_no      text  COLLATE "C" NOT NULL,
    fingerprint   bytea NOT NULL,
    PRIMARY KEY (business_code, order_no)
);

CREATE TABLE pay_key (
    app_id      text  NOT NULL,
    request_id  text  NOT NULL,
    trade_no    text  COLLATE "C" NOT NULL,
    payment_no  text  COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    PRIMARY KEY (app_id, request_id)
);

CREATE TABLE refund_key (
    app_id          text  NOT NULL,
    refund_order_no text  NOT NULL,
    refund_no       text  COLLATE "C" NOT NULL,
    fingerprint     bytea NOT NULL,
    PRIMARY KEY (app_id, refund_order_no)
);

-- A trade and its latest try to pay. Who wins the trade is decided by its version
-- (docs/decisions/0004). What is left of the fee never exceeds what is left of the amount, so
-- the refund that completes the amount can always return the rest of the fee.
CREATE TABLE trade (
    trade_no           text        COLLATE "C" PRIMARY KEY,
    app_id             text        NOT NULL,
    business_code      text        NOT NULL,
    order_no           text        NOT NULL,
    trace_no           text        NOT NULL,
    type               text        NOT NULL,
    product_code       text        NOT NULL,
    merchant_id        text        NOT NULL CHECK ((type = 'collect') = (merchant_id <> '')),
    user_no            text        NOT NULL,
    currency_code      text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor       bigint      NOT NULL CHECK (amount_minor > 0),
    refunded_minor     bigint      NOT NULL CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    fee_minor          bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    fee_policy         text        NOT NULL CHECK (fee_policy IN ('return', 'keep')),
    fee_refunded_minor bigint      NOT NULL CHECK (fee_refunded_minor BETWEEN 0 AND fee_minor),
    subject            text        NOT NULL,
    state              text        NOT NULL,
    version            bigint      NOT NULL,
    payment_no         text        COLLATE "C" NOT NULL,
    pay_tool           text        NOT NULL,
    pay_state          text        NOT NULL CHECK ((pay_state = 'none') = (payment_no = '')),
    pay_version        bigint      NOT NULL,
    qr_code            text        NOT NULL,
    failure_reason     text        NOT NULL,
    expire_time        timestamptz NOT NULL,
    due_time           timestamptz,
    tries              integer     NOT NULL,
    closing            boolean     NOT NULL DEFAULT false,  -- Somebody wants it closed.
    create_time        timestamptz NOT NULL DEFAULT business_now(),
    update_time        timestamptz NOT NULL DEFAULT business_now(),
    -- What nobody pays is closed when it expires, and an open try is never forgotten.
    CHECK (due_time IS NOT NULL
           OR (state NOT IN ('created', 'paying') AND pay_state <> 'processing')),
    CHECK (fee_policy = 'keep'
           OR fee_minor - fee_refunded_minor <= amount_minor - refunded_minor)
) PARTITION BY RANGE (trade_no);
CREATE INDEX trade_due ON trade (due_time) WHERE due_time IS NOT NULL;
-- Lists go along one of these, the newest first; a number sorts by time.
CREATE INDEX trade_app ON trade (app_id, trade_no);
CREATE INDEX trade_merchant ON trade (merchant_id, trade_no) WHERE merchant_id <> '';
CREATE INDEX trade_user ON trade (app_id, user_no, trade_no) WHERE user_no <> '';
SELECT make_partitions('trade', 2026, 2);

CREATE TABLE refund (
    refund_no       text        COLLATE "C" PRIMARY KEY,
    app_id          text        NOT NULL,
    refund_order_no text        NOT NULL,
    trade_no        text        COLLATE "C" NOT NULL,
    payment_no      text        COLLATE "C" NOT NULL,
    trace_no        text        NOT NULL,
    currency_code   text        NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor > 0),
    fee_minor       bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    cause           text        NOT NULL,
    state           text        NOT NULL,
    version         bigint      NOT NULL,
    pay_version     bigint      NOT NULL,
    failure_reason  text        NOT NULL,
    due_time        timestamptz CHECK ((due_time IS NOT NULL) = (state = 'processing')),
    tries           integer     NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT business_now(),
    update_time     timestamptz NOT NULL DEFAULT business_now()
) PARTITION BY RANGE (refund_no);
CREATE INDEX refund_trace ON refund (trace_no);
CREATE INDEX refund_app ON refund (app_id, refund_no);
CREATE INDEX refund_trade ON refund (trade_no, refund_no);
CREATE INDEX refund_due ON refund (due_time) WHERE due_time IS NOT NULL;
SELECT make_partitions('refund', 2026, 2);

-- What apps are told: the committed state of a resource at a version, byte for byte what is
-- sent. Written by the statement that moved the resource.
CREATE TABLE webhook (
    webhook_id  text        PRIMARY KEY,
    app_id      text        NOT NULL,
    trace_no    text        NOT NULL,
    number      text        COLLATE "C" NOT NULL,
    version     bigint      NOT NULL,
    type        text        NOT NULL,
    payload     bytea       NOT NULL,
    state       text        NOT NULL DEFAULT 'pending',
    due_time    timestamptz CHECK ((due_time IS NOT NULL) = (state = 'pending')),
    tries       integer     NOT NULL DEFAULT 0,
    resends     integer     NOT NULL DEFAULT 0,      -- Asked for by hand,
    by_hand     boolean     NOT NULL DEFAULT false,  -- and the next try is one of these.
    create_time timestamptz NOT NULL DEFAULT business_now(),
    update_time timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (number, version)
);
CREATE INDEX webhook_trace ON webhook (trace_no, webhook_id);
CREATE INDEX webhook_app ON webhook (app_id, webhook_id);
CREATE INDEX webhook_due ON webhook (due_time) WHERE due_time IS NOT NULL;

-- Every try to deliver, also one that was beaten by another replica's.
CREATE TABLE webhook_attempt (
    attempt_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id  text        NOT NULL,
    app_id      text        NOT NULL,
    try_no      integer     NOT NULL,
    by_hand     boolean     NOT NULL,
    status      integer     NOT NULL,  -- HTTP's; 0: there was no answer.
    problem     text        NOT NULL,
    ms          integer     NOT NULL,
    create_time timestamptz NOT NULL DEFAULT business_now()
);
CREATE INDEX webhook_attempt_webhook ON webhook_attempt (webhook_id, attempt_id);
