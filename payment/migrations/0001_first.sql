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
    product_code   text        NOT NULL DEFAULT '',
    fee_minor      bigint      NOT NULL CHECK (fee_minor BETWEEN 0 AND amount_minor),
    cost_minor     bigint      NOT NULL DEFAULT 0 CHECK (cost_minor >= 0),
    refunded_minor bigint      NOT NULL DEFAULT 0
                   CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    state          text        NOT NULL,
    version        bigint      NOT NULL DEFAULT 1,
    channel_code   text        NOT NULL DEFAULT '',
    attempt_no     text        COLLATE "C" NOT NULL DEFAULT '',  -- Whose word brought it here.
    attempt_state  text        NOT NULL DEFAULT '',  -- That word.
    reported_minor bigint      NOT NULL DEFAULT 0 CHECK (reported_minor >= 0),
    reported_currency_code text NOT NULL DEFAULT '',
    review_kind    text        NOT NULL DEFAULT '',  -- Of its case, also when that is over.
    from_suspense  boolean     NOT NULL DEFAULT false,  -- It was accepted out of there.
    release_round  integer     NOT NULL DEFAULT 0,  -- How often it was to leave it after a refusal.
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
    attempt_state  text        NOT NULL DEFAULT '',
    reported_minor bigint      NOT NULL DEFAULT 0 CHECK (reported_minor >= 0),
    review_kind    text        NOT NULL DEFAULT '',
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

-- The one payment that may count as the payment of a trade, for ever. Never partitioned: a
-- trade may have payments of two years.
CREATE TABLE winner (
    trade_no   text COLLATE "C" PRIMARY KEY,
    app_id     text NOT NULL,
    payment_no text COLLATE "C" NOT NULL
);

-- What a rule or a person has to resolve. The number is that of the order or attempt it is
-- about; parked is the money that stands in suspense or as a duplicate because of it.
CREATE TABLE exception_case (
    case_id              text        COLLATE "C" PRIMARY KEY,
    kind                 text        NOT NULL,
    subject              text        NOT NULL,
    number               text        COLLATE "C" NOT NULL,
    payment_no           text        COLLATE "C" NOT NULL,
    app_id               text        NOT NULL,
    trace_no             text        NOT NULL,
    facts                jsonb       NOT NULL,
    parked_on            text        NOT NULL CHECK (parked_on IN ('', 'suspense', 'duplicate')),
    parked_minor         bigint      NOT NULL CHECK (parked_minor >= 0),
    parked_currency_code text        NOT NULL,
    attempt_no           text        COLLATE "C" NOT NULL,
    channel_code         text        NOT NULL,
    state                text        NOT NULL,
    version              bigint      NOT NULL DEFAULT 1,
    action               text        NOT NULL CHECK (action IN ('manual', 'auto_refund')),
    rule                 text        NOT NULL,
    owner                text        NOT NULL,
    resolution           text        NOT NULL DEFAULT '',
    proposed_by          text        NOT NULL DEFAULT '',
    rounds               integer     NOT NULL DEFAULT 0,
    due_time             timestamptz,
    tries                integer     NOT NULL DEFAULT 0,
    deadline             timestamptz NOT NULL,
    create_time          timestamptz NOT NULL DEFAULT business_now(),
    update_time          timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (kind, number),
    CHECK ((parked_on = '') = (parked_minor = 0)),
    -- What was decided is never forgotten, and what waits for a person has no timer.
    CHECK (CASE state WHEN 'executing' THEN due_time IS NOT NULL
                      WHEN 'open' THEN due_time IS NULL OR action = 'auto_refund'
                      ELSE due_time IS NULL END)
);
CREATE INDEX exception_case_trace ON exception_case (trace_no);
CREATE INDEX exception_case_due ON exception_case (due_time) WHERE due_time IS NOT NULL;
CREATE INDEX exception_case_time ON exception_case (create_time, case_id);
CREATE INDEX exception_case_late ON exception_case (deadline) WHERE state <> 'resolved';

-- The history of cases: each version of a case has its line. An operator's request is its key.
CREATE TABLE case_note (
    case_id     text        COLLATE "C" NOT NULL,
    version     bigint      NOT NULL,
    actor       text        NOT NULL,
    event       text        NOT NULL,
    state       text        NOT NULL,
    resolution  text        NOT NULL,
    text        text        NOT NULL,
    request_id  text        NOT NULL DEFAULT '',
    fingerprint bytea       NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL,
    PRIMARY KEY (case_id, version)
);
CREATE UNIQUE INDEX case_note_request ON case_note (actor, request_id) WHERE request_id <> '';

-- Rules: what becomes of which cases. A version is written once.
CREATE TABLE case_rule (
    rule_id          text        COLLATE "C" NOT NULL,
    version          bigint      NOT NULL,
    kind             text        NOT NULL,
    app_id           text        NOT NULL,
    product_code     text        NOT NULL,
    channel_code     text        NOT NULL,
    amount_max_minor bigint      NOT NULL CHECK (amount_max_minor >= 0),
    action           text        NOT NULL CHECK (action IN ('manual', 'auto_refund')),
    delay_seconds    integer     NOT NULL CHECK (delay_seconds >= 0),
    deadline_seconds integer     NOT NULL CHECK (deadline_seconds > 0),
    owner            text        NOT NULL,
    lifted           boolean     NOT NULL,
    author           text        NOT NULL,
    create_time      timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (rule_id, version)
);
-- Money goes out by itself only where somebody has said so: until then a person decides.
INSERT INTO case_rule (rule_id, version, kind, app_id, product_code, channel_code,
                       amount_max_minor, action, delay_seconds, deadline_seconds, owner, lifted,
                       author)
SELECT 'default_' || lower(kind), 1, kind, '', '', '', 0, 'manual', 0, seconds, '', false, 'schema'
FROM (VALUES ('AMOUNT_MISMATCH', 86400), ('LATE_SUCCESS', 86400), ('CHANNEL_REVERSED', 14400),
             ('DUPLICATE_SUCCESS', 86400), ('LEDGER_REFUSED', 14400),
             ('INQUIRY_EXHAUSTED', 86400), ('REFUND_BLOCKED', 14400)) AS x (kind, seconds);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON case_note
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON case_rule
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Money of a case on its way back to the payer. The number follows from the attempt that is
-- given back, so one decision makes one of them.
CREATE TABLE give_back (
    give_back_no      text        COLLATE "C" PRIMARY KEY,
    case_id           text        COLLATE "C" NOT NULL,
    payment_no        text        COLLATE "C" NOT NULL,
    attempt_no        text        COLLATE "C" NOT NULL,
    app_id            text        NOT NULL,
    business_code     text        NOT NULL,
    trace_no          text        NOT NULL,
    source            text        NOT NULL CHECK (source IN ('suspense', 'duplicate')),
    currency_code     text        NOT NULL,
    amount_minor      bigint      NOT NULL CHECK (amount_minor > 0),
    channel_code      text        NOT NULL,
    state             text        NOT NULL,
    version           bigint      NOT NULL DEFAULT 1,
    refund_attempt_no text        COLLATE "C" NOT NULL DEFAULT '',
    failure_reason    text        NOT NULL DEFAULT '',
    create_time       timestamptz NOT NULL DEFAULT business_now(),
    update_time       timestamptz NOT NULL DEFAULT business_now()
);
-- A charge goes back once: another round only when the one before certainly did not.
CREATE UNIQUE INDEX give_back_once ON give_back (attempt_no) WHERE state <> 'failed';
CREATE INDEX give_back_trace ON give_back (trace_no);
CREATE INDEX give_back_case ON give_back (case_id);
