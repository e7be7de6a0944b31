-- What one user of an app may pay a day. No row: not limited.
CREATE TABLE user_limit (
    app_id        text        NOT NULL,
    currency_code text        NOT NULL,
    daily_minor   bigint      NOT NULL CHECK (daily_minor >= 0),
    version       bigint      NOT NULL DEFAULT 1,
    create_time   timestamptz NOT NULL DEFAULT business_now(),
    update_time   timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (app_id, currency_code)
);

-- How much of a limit is taken: reserved and confirmed amounts of one business date.
CREATE TABLE limit_use (
    app_id        text   NOT NULL,
    user_no       text   NOT NULL,
    currency_code text   NOT NULL,
    business_date date   NOT NULL,
    used_minor    bigint NOT NULL CHECK (used_minor >= 0),
    PRIMARY KEY (app_id, user_no, currency_code, business_date)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- Users who may not pay. A lifted entry stays, with its cause.
CREATE TABLE deny_entry (
    app_id      text        NOT NULL,
    user_no     text        NOT NULL,
    cause       text        NOT NULL,
    lifted      boolean     NOT NULL,
    version     bigint      NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT business_now(),
    update_time timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (app_id, user_no)
);

-- What was decided, once for each payment. The key is the partition key, so it is unique for
-- good without a table of its own.
CREATE TABLE decision (
    payment_no    text COLLATE "C" NOT NULL,
    app_id        text             NOT NULL,
    trace_no      text             NOT NULL,
    user_no       text             NOT NULL,
    currency_code text             NOT NULL,
    amount_minor  bigint           NOT NULL CHECK (amount_minor > 0),
    business_date date             NOT NULL,
    decision      text             NOT NULL CHECK (decision IN ('pass', 'block')),
    cause         text             NOT NULL CHECK ((cause = '') = (decision = 'pass')),
    state         text             NOT NULL
        CHECK (state IN ('none', 'reserved', 'confirmed', 'released')),
    fingerprint   bytea            NOT NULL,
    version       bigint           NOT NULL DEFAULT 1,
    create_time   timestamptz      NOT NULL DEFAULT business_now(),
    update_time   timestamptz      NOT NULL DEFAULT business_now(),
    PRIMARY KEY (payment_no),
    CHECK (state = 'none' OR decision = 'pass')
) PARTITION BY RANGE (payment_no);
CREATE INDEX decision_trace ON decision (trace_no, app_id);
SELECT make_partitions('decision', 2026, 2);
