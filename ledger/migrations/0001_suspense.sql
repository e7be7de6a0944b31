-- Money in doubt 挂账, item by item. Derived, and read from the journal behind the posting, so that
-- a look at the items costs no more than what was parked since the last look; every day is read
-- before it closes, so nothing of this has to be looked for in files. Amounts are in minor units, and
-- more than zero where they make the balance more.

-- How far an account has been read, and what its items came to then.
CREATE TABLE suspense_read (
    seq        bigint  NOT NULL DEFAULT 0,  -- The place in the journal.
    open_minor bigint  NOT NULL DEFAULT 0,
    open_items bigint  NOT NULL DEFAULT 0,
    account_id bigint  NOT NULL REFERENCES account,
    book_id    integer NOT NULL,
    PRIMARY KEY (book_id, account_id)
) WITH (fillfactor = 50);

-- One row per account and voucher, or per transfer by number. Moves with the same `number` belong
-- together. `kin` is what may be taken out of each other: the app's trace of the first move of the
-- number or, without a trace, the number alone.
CREATE TABLE suspense_move (
    seq        bigint  NOT NULL,
    delta      bigint  NOT NULL,
    account_id bigint  NOT NULL,
    book_id    integer NOT NULL,
    id         uuid    NOT NULL,
    number     text    NOT NULL,
    kin        text    NOT NULL,
    template   text    NOT NULL,
    source_no  text    NOT NULL,
    trace_no   text    NOT NULL,
    channel    text    NOT NULL,
    PRIMARY KEY (book_id, account_id, id)
);
CREATE INDEX suspense_move_kin ON suspense_move (book_id, account_id, kin);

-- What a number parked and what was taken out of that. `seq` is its first move's.
CREATE TABLE suspense_item (
    seq        bigint  NOT NULL,
    put        bigint  NOT NULL,
    taken      bigint  NOT NULL,
    account_id bigint  NOT NULL,
    book_id    integer NOT NULL,
    is_parked  boolean NOT NULL,  -- Its first move did; what only took out is no item once settled.
    number     text    NOT NULL,
    kin        text    NOT NULL,
    PRIMARY KEY (book_id, account_id, number)
) WITH (fillfactor = 70);
CREATE INDEX suspense_item_open ON suspense_item (book_id, account_id, seq) WHERE put <> taken;
CREATE INDEX suspense_item_listed ON suspense_item (book_id, account_id, seq)
    WHERE put <> taken OR is_parked;

-- The numbers of some kins: above zero one parked on the whole, below zero it took out. The numbers
-- of one sign of a kin stand one behind the other, each from `upto - abs(net)` to `upto`; where one
-- that parked and one that took out overlap, the one took from the other: first in, first out.
-- What is less of the two, everything of it overlaps.
CREATE FUNCTION suspense_numbers(p_book integer, p_account bigint, p_kins text[])
RETURNS TABLE (
    number text, kin text, seq bigint, net bigint, put bigint, taken bigint, is_parked boolean,
    upto bigint, took_seq bigint
) LANGUAGE sql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
    WITH one AS (
        SELECT m.number, m.kin, min(m.seq) AS seq, sum(m.delta)::bigint AS net,
               sum(greatest(m.delta, 0))::bigint AS put, sum(greatest(-m.delta, 0))::bigint AS took,
               (array_agg(m.delta ORDER BY m.seq))[1] > 0 AS is_parked,
               (array_agg(m.trace_no ORDER BY m.seq))[1] = '' AS is_alone,
               max(m.seq) FILTER (WHERE m.delta < 0) AS took_seq
        FROM suspense_move m
        WHERE m.book_id = p_book AND m.account_id = p_account AND m.kin = ANY (p_kins)
        GROUP BY m.number, m.kin
    ),
    placed AS (
        SELECT o.*, (sum(abs(o.net)) OVER (PARTITION BY o.kin, sign(o.net) ORDER BY o.seq))::bigint
                   AS upto,
               CASE WHEN o.is_alone THEN 0 ELSE least(
                   sum(greatest(o.net, 0)) OVER same, sum(greatest(-o.net, 0)) OVER same
               ) END AS meets
        FROM one o WINDOW same AS (PARTITION BY o.kin)
    )
    SELECT p.number, p.kin, p.seq, p.net, p.put,
           (p.took + CASE WHEN p.net < 0 THEN -l.amount ELSE l.amount END)::bigint,
           p.is_parked, p.upto, p.took_seq
    FROM placed p CROSS JOIN LATERAL (
        SELECT least(abs(p.net), greatest(p.meets - p.upto + abs(p.net), 0)) AS amount
    ) l
$$;

-- Reads up to `p_most` more entries of an account. Returns whether there may be more.
CREATE FUNCTION read_suspense(p_book integer, p_account bigint, p_most integer)
RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_read   bigint;
    v_newest bigint;
    v_seqs   bigint[];
    v_kins   text[];
BEGIN
    INSERT INTO suspense_read (book_id, account_id) VALUES (p_book, p_account)
        ON CONFLICT DO NOTHING;
    SELECT seq INTO v_read FROM suspense_read
        WHERE book_id = p_book AND account_id = p_account FOR NO KEY UPDATE;
    SELECT last_seq INTO v_newest FROM balance WHERE book_id = p_book AND account_id = p_account;
    IF v_newest IS NULL OR v_newest <= v_read THEN
        RETURN false;
    END IF;
    -- Holds (2) and what lets them go (8) move nothing.
    v_seqs := entries_after(p_book, p_account, v_newest, v_read, v_newest, p_most, 10);
    IF cardinality(v_seqs) = p_most THEN
        v_newest := v_seqs[p_most];
    END IF;

    WITH entry AS (
        SELECT t.seq, b.normal * CASE WHEN t.debit_id = p_account THEN -t.amount ELSE t.amount END
                   AS delta,
               o.kind, o.owner, v.txn IS NOT NULL AS has_voucher, t.id, coalesce(t.txn, t.id) AS txn,
               coalesce(v.template, '') AS template, coalesce(v.source_no, '') AS source_no,
               coalesce(v.trace_no, '') AS trace_no, coalesce(v.app_id, '') AS app_id
        FROM transfer t
        JOIN balance b ON (b.book_id, b.account_id) = (p_book, p_account)
        JOIN account o ON o.account_id = CASE WHEN t.debit_id = p_account THEN t.credit_id
                                              ELSE t.debit_id END
        LEFT JOIN LATERAL (
            SELECT x.txn, x.template, x.source_no, x.trace_no, x.app_id FROM voucher x
            WHERE (x.txn, x.book_id) = (t.txn, p_book) AND t.flags & 1024 = 0 OFFSET 0
        ) v ON true
        WHERE t.book_id = p_book AND t.seq = ANY (v_seqs)
    ),
    move AS (
        SELECT min(seq) AS seq, sum(delta)::bigint AS delta,
               CASE WHEN has_voucher THEN txn ELSE id END AS id,
               coalesce(nullif(source_no, ''), txn::text) AS number,
               template, source_no, trace_no, app_id,
               coalesce(max(owner) FILTER (WHERE kind IN ('clearing', 'cash')), '') AS channel
        FROM entry GROUP BY 3, 4, 5, 6, 7, 8
    ),
    wrote AS (
        INSERT INTO suspense_move AS s (seq, delta, account_id, book_id, id, number, kin, template,
                                        source_no, trace_no, channel)
        SELECT m.seq, m.delta, p_account, p_book, m.id, m.number,
               coalesce(i.kin, first_value(concat_ws(
                   chr(31), m.app_id, m.trace_no, CASE WHEN m.trace_no = '' THEN m.number END
               )) OVER (PARTITION BY m.number ORDER BY m.seq)),
               m.template, m.source_no, m.trace_no, m.channel
        FROM move m
        LEFT JOIN suspense_item i
            ON (i.book_id, i.account_id, i.number) = (p_book, p_account, m.number)
        -- A voucher whose entries were read in two parts.
        ON CONFLICT (book_id, account_id, id) DO UPDATE
        SET delta = s.delta + excluded.delta, channel = greatest(s.channel, excluded.channel)
        RETURNING kin
    )
    SELECT array_agg(DISTINCT kin) INTO v_kins FROM wrote;

    WITH n AS MATERIALIZED (
        SELECT number, kin, seq, put, taken, is_parked
        FROM suspense_numbers(p_book, p_account, v_kins)
    ),
    before AS (
        SELECT coalesce(sum(i.put - i.taken), 0) AS minor,
               count(*) FILTER (WHERE i.put <> i.taken) AS items
        FROM n JOIN suspense_item i
            ON (i.book_id, i.account_id, i.number) = (p_book, p_account, n.number)
    ),
    wrote AS (
        INSERT INTO suspense_item (seq, put, taken, account_id, book_id, is_parked, number, kin)
        SELECT seq, put, taken, p_account, p_book, is_parked, number, kin FROM n
        ON CONFLICT (book_id, account_id, number) DO UPDATE
        SET put = excluded.put, taken = excluded.taken, is_parked = excluded.is_parked
    ),
    now AS (
        SELECT coalesce(sum(put - taken), 0) AS minor, count(*) FILTER (WHERE put <> taken) AS items
        FROM n
    )
    UPDATE suspense_read r
    SET seq = v_newest, open_minor = r.open_minor + now.minor - before.minor,
        open_items = r.open_items + now.items - before.items
    FROM now CROSS JOIN before
    WHERE r.book_id = p_book AND r.account_id = p_account;
    RETURN cardinality(v_seqs) = p_most;
END $$;
