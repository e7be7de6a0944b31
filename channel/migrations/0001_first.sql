-- Amounts are in minor units of currency_code. Times are business time.

-- Our accounts at providers. Never deleted: attempts name them for ever.
CREATE TABLE channel_account (
    channel_code     text        PRIMARY KEY CHECK (channel_code ~ '^[a-z0-9-]{2,32}$'),
    adapter          text        NOT NULL,
    base_url         text        NOT NULL,
    provider_account text        NOT NULL,
    secret           bytea       NOT NULL,  -- Sealed for its row.
    tools            text[]      NOT NULL CHECK (cardinality(tools) > 0),
    currency_codes   text[]      NOT NULL CHECK (cardinality(currency_codes) > 0),
    cost_ppm         integer     NOT NULL CHECK (cost_ppm BETWEEN 0 AND 1000000),
    priority         integer     NOT NULL,
    version          bigint      NOT NULL DEFAULT 1,
    create_time      timestamptz NOT NULL DEFAULT business_now(),
    update_time      timestamptz NOT NULL DEFAULT business_now()
);

-- The key of a leg, and its latest attempt. Never partitioned, never deleted: a leg is
-- carried out once for ever.
CREATE TABLE attempt_leg (
    leg_no      text  COLLATE "C" PRIMARY KEY,
    app_id      text  NOT NULL,
    fingerprint bytea NOT NULL,
    attempt_no  text  COLLATE "C" NOT NULL
);

-- One row per try of a leg at a channel, stored before the first byte leaves.
CREATE TABLE attempt (
    attempt_no          text        COLLATE "C" PRIMARY KEY,
    leg_no              text        COLLATE "C" NOT NULL,
    app_id              text        NOT NULL,
    business_code       text        NOT NULL,
    user_no             text        NOT NULL,
    subject             text        NOT NULL,
    trace_no            text        NOT NULL,
    operation           text        NOT NULL CHECK (operation IN ('pay', 'refund')),
    tool                text        NOT NULL,
    channel_code        text        NOT NULL,
    currency_code       text        NOT NULL CHECK (currency_code ~ '^[A-Z]{3}$'),
    amount_minor        bigint      NOT NULL CHECK (amount_minor > 0),
    reported_minor      bigint      NOT NULL DEFAULT 0 CHECK (reported_minor >= 0),
    reported_currency_code text     NOT NULL DEFAULT '',
    cost_minor          bigint      NOT NULL CHECK (cost_minor >= 0),
    original_attempt_no text        COLLATE "C" NOT NULL
                        CHECK ((operation = 'refund') = (original_attempt_no <> '')),
    provider_no         text        NOT NULL DEFAULT '',
    qr_code             text        NOT NULL DEFAULT '',
    failure_reason      text        NOT NULL DEFAULT '',
    state               text        NOT NULL,
    version             bigint      NOT NULL DEFAULT 1,
    due_time            timestamptz,
    tries               integer     NOT NULL DEFAULT 0,
    sends               integer     NOT NULL DEFAULT 1 CHECK (sends >= 0),
    sent_time           timestamptz NOT NULL,
    closing             boolean     NOT NULL DEFAULT false,  -- Nobody wants it any more.
    create_time         timestamptz NOT NULL DEFAULT business_now(),
    update_time         timestamptz NOT NULL DEFAULT business_now(),
    CHECK ((state = 'processing') = (due_time IS NOT NULL))
) PARTITION BY RANGE (attempt_no);
CREATE INDEX attempt_trace ON attempt (trace_no);
CREATE INDEX attempt_due ON attempt (due_time) WHERE due_time IS NOT NULL;
SELECT make_partitions('attempt', 2026, 2);

-- What providers told us unasked, as it came; written before we say that we have it.
CREATE TABLE callback (
    callback_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_code text        NOT NULL,
    attempt_no   text        COLLATE "C" NOT NULL,
    body         bytea       NOT NULL,
    headers      json        NOT NULL,
    dedup_key    text        NOT NULL,  -- Of its copies and retries, which make no row.
    copies       integer     NOT NULL DEFAULT 1 CHECK (copies > 0),  -- How often it came.
    verdict      text        NOT NULL,  -- What it says, e.g. 'succeeded'.
    create_time  timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (attempt_no, channel_code, dedup_key)
);
CREATE INDEX callback_create_time ON callback USING brin (create_time);
