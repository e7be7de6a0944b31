-- The books: accounts and balances, the journal, vouchers, and the blocks that seal them.
-- Amounts are in minor units. Times are business time.

-- A book is one total order of blocks and one hash chain. Accounts meet in one book only.
-- Whatever is booked carries `acct_date` 会计日, which only the day cut moves, and only forward.
-- It begins in the zone that settings have by default. What is in blocks up to `history_block`
-- is in files; what has an id below `id_floor` may be in files only (0001_history.sql).
CREATE TABLE book (
    book_id       integer     PRIMARY KEY,
    name          text        NOT NULL,
    acct_date     date        NOT NULL
                  DEFAULT (business_now() AT TIME ZONE 'Asia/Shanghai')::date,
    head_block    bigint      NOT NULL DEFAULT 0,
    head_hash     bytea       NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    head_time     timestamptz NOT NULL DEFAULT '-infinity',
    history_block bigint      NOT NULL DEFAULT 0,
    id_floor      uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
) WITH (fillfactor = 50);
INSERT INTO book (book_id, name) VALUES (1, 'main');

-- Which book a business line is kept in; '' stands for all that are not named. A line is
-- named before its first posting or never: the ids of its entries are unique in one book.
CREATE TABLE book_of (
    business_code text    PRIMARY KEY,
    book_id       integer NOT NULL REFERENCES book
);
INSERT INTO book_of (business_code, book_id) VALUES ('', 1);

-- What an account is. Never changed, so its id and name may be remembered for ever.
CREATE TABLE account (
    account_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id       integer     NOT NULL REFERENCES book,
    kind          text        NOT NULL,
    owner         text        NOT NULL,
    currency_code text        NOT NULL,
    name          text        NOT NULL
                  GENERATED ALWAYS AS (kind || ':' || owner || ':' || currency_code) STORED,
    create_time   timestamptz NOT NULL DEFAULT business_now(),
    UNIQUE (book_id, name)
);

-- What posting reads and writes of an account: narrow, no index on what changes, so that an
-- update stays on its page. The limits are columns:
--     floor <= normal * (credit - debit) - pending outflow
--     cap   >= normal * (credit - debit) + pending inflow
CREATE TABLE balance (
    account_id     bigint   NOT NULL REFERENCES account,
    debit          bigint   NOT NULL DEFAULT 0,
    credit         bigint   NOT NULL DEFAULT 0,
    debit_pending  bigint   NOT NULL DEFAULT 0,
    credit_pending bigint   NOT NULL DEFAULT 0,
    floor          bigint   NOT NULL DEFAULT -4000000000000000000,
    cap            bigint   NOT NULL DEFAULT 4000000000000000000,
    last_seq       bigint   NOT NULL DEFAULT 0,
    book_id        integer  NOT NULL,
    normal         smallint NOT NULL CHECK (normal IN (-1, 1)),  -- 1: credit balance; -1: debit.
    status         smallint NOT NULL DEFAULT 0,  -- 1: no debits 止付; 2: no credits 止收; 4: closed.
    currency_code  text     NOT NULL,
    PRIMARY KEY (book_id, account_id)
) WITH (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.02);

-- The journal: one row per transfer, with the balances of both sides after it, so that a
-- statement and a balance as of any moment need no further table. `seq` is
-- block * 8192 + place in the block; the `_prev` columns are the seq of the transfer before
-- on that account. The id is a UUIDv7: unique key, place on disk and partition in one.
CREATE TABLE transfer (
    seq          bigint   NOT NULL,
    debit_id     bigint   NOT NULL,
    credit_id    bigint   NOT NULL,
    amount       bigint   NOT NULL,  -- Negative only for a red entry 红字.
    debit_after  bigint   NOT NULL,
    credit_after bigint   NOT NULL,
    debit_prev   bigint   NOT NULL,
    credit_prev  bigint   NOT NULL,
    id           uuid     NOT NULL,
    txn          uuid,               -- The voucher it belongs to.
    ref          uuid,               -- The hold it resolves, or the transfer it reverses.
    book_id      integer  NOT NULL,
    code         smallint NOT NULL,  -- Which leg of which template; see postings.py.
    flags        smallint NOT NULL,
    PRIMARY KEY (id, book_id)
) PARTITION BY RANGE (id);
CREATE INDEX transfer_seq ON transfer (book_id, seq);

-- One row per chain of transfers that was booked together. `seq` is its first transfer's.
CREATE TABLE voucher (
    seq           bigint      NOT NULL,
    amount_minor  bigint      NOT NULL,
    txn           uuid        NOT NULL,
    book_id       integer     NOT NULL,
    transfers     smallint    NOT NULL,
    currency_code text        NOT NULL,
    template      text        NOT NULL,
    source_no     text        NOT NULL,
    trace_no      text        NOT NULL,
    app_id        text        NOT NULL,
    create_time   timestamptz NOT NULL,
    PRIMARY KEY (txn, book_id)
) PARTITION BY RANGE (txn);
CREATE INDEX voucher_trace ON voucher (trace_no);
CREATE INDEX voucher_seq ON voucher (book_id, seq);

-- Money that is set aside 冻结 and not moved yet. Derived: the journal says it all again.
CREATE TABLE hold (
    debit_id    bigint      NOT NULL,
    credit_id   bigint      NOT NULL,
    amount      bigint      NOT NULL,
    remaining   bigint      NOT NULL,
    expire_time timestamptz NOT NULL DEFAULT 'infinity',
    id          uuid        NOT NULL,
    book_id     integer     NOT NULL,
    code        smallint    NOT NULL,
    state       smallint    NOT NULL DEFAULT 0,  -- 0: open; 1: posted; 2: voided; 3: expired.
    PRIMARY KEY (book_id, id)
) WITH (fillfactor = 70);
-- What has to be let go when its time comes; most holds never do.
CREATE INDEX hold_due ON hold (expire_time) WHERE state = 0 AND expire_time < 'infinity';

-- Transfers and chains that failed for a reason that may pass. They stay failed: whoever
-- was told "no" must not find the money moved after a repeat.
CREATE TABLE reject (
    id          uuid        NOT NULL,
    book_id     integer     NOT NULL,
    result      smallint    NOT NULL,
    create_time timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (book_id, id)
);

-- One row per posting that changed something. Each hash covers the one before it.
CREATE TABLE block (
    block_no    bigint      NOT NULL,
    book_id     integer     NOT NULL REFERENCES book,
    acct_date   date        NOT NULL,
    transfers   integer     NOT NULL,
    hash        bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (book_id, block_no)
);

-- What posting says about a transfer. Stable: callers see the names.
CREATE TABLE result_code (
    code smallint PRIMARY KEY,
    name text     NOT NULL UNIQUE
);
INSERT INTO result_code (code, name) VALUES
    (0,  'OK'),
    (1,  'EXISTS'),
    (2,  'EXISTS_WITH_DIFFERENT_FIELDS'),
    (3,  'ID_ALREADY_FAILED'),
    (5,  'ID_TOO_OLD'),  -- 4 is what callers see for 0.
    (10, 'LINKED_TRANSFER_FAILED'),
    (11, 'LINKED_CHAIN_OPEN'),
    (12, 'INVALID_FLAGS'),
    (13, 'AMOUNT_OUT_OF_RANGE'),
    (14, 'ACCOUNTS_MUST_DIFFER'),
    (15, 'CURRENCY_MISMATCH'),
    (20, 'DEBIT_ACCOUNT_NOT_FOUND'),
    (21, 'CREDIT_ACCOUNT_NOT_FOUND'),
    (22, 'DEBIT_ACCOUNT_BLOCKED'),
    (23, 'CREDIT_ACCOUNT_BLOCKED'),
    (24, 'FORBIDDEN'),
    (30, 'HOLD_NOT_FOUND'),
    (31, 'HOLD_MISMATCH'),
    (32, 'EXCEEDS_HOLD'),
    (33, 'HOLD_ALREADY_POSTED'),
    (34, 'HOLD_ALREADY_VOIDED'),
    (35, 'HOLD_EXPIRED'),
    (40, 'EXCEEDS_FLOOR'),
    (41, 'EXCEEDS_CAP'),
    (50, 'REVERSAL_NOT_FOUND'),
    (51, 'REVERSAL_MISMATCH'),
    (52, 'EXCEEDS_ORIGINAL');

-- Append-only, for the owner of the tables too. Who may switch triggers off is caught by
-- the hash chain.
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is forbidden: the books are append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON transfer
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON voucher
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON block
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON reject
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON block
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON reject
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- The least UUIDv7 of a moment.
CREATE FUNCTION uuid_floor(moment timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
            || repeat('0', 20))::uuid
$$;

-- For ids of weeks to come that are not made yet.
CREATE FUNCTION make_default_partitions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parent text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['transfer', 'voucher'] LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
        -- Row triggers are inherited, this kind is not.
        EXECUTE format(
            'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I
                 FOR EACH STATEMENT EXECUTE FUNCTION append_only()', parent || '_default');
    END LOOP;
END $$;
SELECT make_default_partitions();

-- A week whose rows lie in the default partitions cannot get its own any more. So when there are
-- any before `p_until`, those two become the partitions of all weeks from `p_monday`, the first
-- one that is not made, to that of their newest row, named after the last Monday of them: they go
-- when that week may go. New default ones take their place. Returns the Monday behind; `p_monday`,
-- and nothing done, when no row is in the way.
--
-- Whoever posts holds the lock of the book before any of the journal; so do we. Posting waits for
-- us, and we at most half a second for those that read: then it fails, and may be tried again.
CREATE FUNCTION attach_default_partitions(p_monday date, p_until date) RETURNS date
LANGUAGE plpgsql
SET lock_timeout = '500ms'
AS $$
DECLARE
    until  uuid := uuid_floor(p_until::timestamp AT TIME ZONE 'UTC');
    newest uuid;
    last   date;
    parent text;
BEGIN
    IF NOT EXISTS (SELECT FROM transfer_default WHERE id < until)
       AND NOT EXISTS (SELECT FROM voucher_default WHERE txn < until) THEN
        RETURN p_monday;  -- Nearly always: then nobody has to wait.
    END IF;
    PERFORM FROM book ORDER BY book_id FOR NO KEY UPDATE;
    LOCK TABLE transfer, voucher IN ACCESS EXCLUSIVE MODE;
    SELECT x.id INTO newest FROM (
        (SELECT id FROM transfer_default ORDER BY id DESC LIMIT 1)
        UNION ALL (SELECT txn FROM voucher_default ORDER BY txn DESC LIMIT 1)) x
      ORDER BY x.id DESC LIMIT 1;
    last := date_trunc('week', partition_moment(newest::text) AT TIME ZONE 'UTC');
    FOREACH parent IN ARRAY ARRAY['transfer', 'voucher'] LOOP
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_default');
        EXECUTE format('ALTER TABLE %I RENAME TO %I',
                       parent || '_default', parent || to_char(last, '_YYYYMMDD'));
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       parent, parent || to_char(last, '_YYYYMMDD'),
                       uuid_floor(p_monday::timestamp AT TIME ZONE 'UTC'),
                       uuid_floor((last + 7)::timestamp AT TIME ZONE 'UTC'));
    END LOOP;
    PERFORM make_default_partitions();
    RETURN last + 7;
END $$;

-- Makes the partitions of journal and vouchers that are missing, without a gap: one a week from
-- Monday, in UTC, named after its first day, up to `weeks_ahead` weeks after this one. The first
-- one is that of 36 days ago: ids may be 35 days old. What is older than the weeks that are here
-- lies in `…_late`: events of old orders. What was booked before its week was made gets its
-- partition too (attach_default_partitions). Returns how many it made, of either table. Whoever
-- calls keep_partitions calls this: every service every ten minutes, `tongbao db partitions`.
CREATE FUNCTION make_week_partitions(weeks_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    today  date := business_now() AT TIME ZONE 'UTC';
    until  date := date_trunc('week', today + 7 * weeks_ahead)::date + 7;
    monday date;
    behind date;
    parent text;
    child  text;
    made   integer := 0;
BEGIN
    -- One at a time; nor while drop_week is at work.
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger.id_floor', 0));
    SELECT max(to_date(right(c.relname, 8), 'YYYYMMDD')) + 7 INTO monday
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'transfer'::regclass AND c.relname ~ '_\d{8}$';
    IF monday IS NULL AND to_regclass('transfer_late') IS NOT NULL THEN  -- All have gone.
        SELECT partition_moment(id_floor::text) AT TIME ZONE 'UTC' INTO monday
          FROM book ORDER BY id_floor DESC LIMIT 1;
    ELSIF monday IS NULL THEN
        monday := date_trunc('week', today - 36);
        FOREACH parent IN ARRAY ARRAY['transfer', 'voucher'] LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (MINVALUE) TO (%L)',
                           parent || '_late', parent,
                           uuid_floor(monday::timestamp AT TIME ZONE 'UTC'));
        END LOOP;
    END IF;
    behind := attach_default_partitions(monday, until);
    IF behind > monday THEN
        made := 2;
        monday := behind;
    END IF;
    WHILE monday < until LOOP
        FOREACH parent IN ARRAY ARRAY['transfer', 'voucher'] LOOP
            child := parent || to_char(monday, '_YYYYMMDD');
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)', child, parent,
                uuid_floor(monday::timestamp AT TIME ZONE 'UTC'),
                uuid_floor((monday + 7)::timestamp AT TIME ZONE 'UTC'));
            EXECUTE format(
                'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I
                     FOR EACH STATEMENT EXECUTE FUNCTION append_only()', child);
            made := made + 1;
        END LOOP;
        monday := monday + 7;
    END LOOP;
    RETURN made;
END $$;
SELECT make_week_partitions(5);
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON transfer_late
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON voucher_late
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
