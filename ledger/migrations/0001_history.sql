-- Closed days in files: which they are, and how partitions go whose rows all are in files.

-- Closed accounting days whose entries are in files, each once, in order: their blocks follow each
-- other from block 1 to `book.history_block`. A day without blocks has no files and no row. The
-- digests are those of the files, `transfer.parquet` and `voucher.parquet`.
CREATE TABLE history_day (
    book_id         integer     NOT NULL,
    acct_date       date        NOT NULL,
    first_block     bigint      NOT NULL,
    last_block      bigint      NOT NULL CHECK (last_block >= first_block),
    transfers       bigint      NOT NULL CHECK (transfers > 0),
    vouchers        bigint      NOT NULL CHECK (vouchers >= 0),
    transfer_bytes  bigint      NOT NULL,
    voucher_bytes   bigint      NOT NULL,
    transfer_sha256 bytea       NOT NULL CHECK (length(transfer_sha256) = 32),
    voucher_sha256  bytea       NOT NULL CHECK (length(voucher_sha256) = 32),
    write_time      timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (book_id, acct_date),
    FOREIGN KEY (book_id, acct_date) REFERENCES book_day
);
CREATE UNIQUE INDEX history_day_block ON history_day (book_id, first_block);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON history_day
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON history_day
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE FUNCTION history_rises() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.history_block < OLD.history_block OR NEW.id_floor < OLD.id_floor THEN
        RAISE EXCEPTION 'what is in files stays there' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER history_rises BEFORE UPDATE OF history_block, id_floor ON book
    FOR EACH ROW EXECUTE FUNCTION history_rises();

-- A book that is made later shares the partitions that are left, and so their floor.
CREATE FUNCTION begin_at_floor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('ledger.id_floor', 0));
    SELECT b.id_floor INTO NEW.id_floor FROM book b ORDER BY b.id_floor DESC LIMIT 1;
    RETURN NEW;
END $$;
CREATE TRIGGER begin_at_floor BEFORE INSERT ON book
    FOR EACH ROW EXECUTE FUNCTION begin_at_floor();

-- Notes that a day is in files. Returns whether it was the next one: false, and nothing done,
-- when somebody noted it before. Fails for a day that is not closed or does not follow.
CREATE FUNCTION keep_history_day(
    p_book integer, p_date date, p_transfers bigint, p_vouchers bigint,
    p_transfer_bytes bigint, p_voucher_bytes bigint,
    p_transfer_sha256 bytea, p_voucher_sha256 bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_done  bigint;
    v_first bigint;
    v_last  bigint;
BEGIN
    SELECT history_block INTO v_done FROM book WHERE book_id = p_book FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM history_day WHERE book_id = p_book AND acct_date = p_date) THEN
        RETURN false;
    END IF;
    SELECT first_block, last_block INTO v_first, v_last
      FROM book_day WHERE book_id = p_book AND acct_date = p_date AND state = 'closed';
    IF v_first IS DISTINCT FROM v_done + 1 THEN
        RAISE EXCEPTION 'day % of book % is not the next one to go', p_date, p_book;
    END IF;
    INSERT INTO history_day (book_id, acct_date, first_block, last_block, transfers, vouchers,
                             transfer_bytes, voucher_bytes, transfer_sha256, voucher_sha256)
        VALUES (p_book, p_date, v_first, v_last, p_transfers, p_vouchers,
                p_transfer_bytes, p_voucher_bytes, p_transfer_sha256, p_voucher_sha256);
    UPDATE book SET history_block = v_last WHERE book_id = p_book;
    RETURN true;
END $$;

-- The Monday of the oldest partitions, the last one of those that have several weeks; null when
-- there are none.
CREATE FUNCTION oldest_week() RETURNS date LANGUAGE sql STABLE AS $$
    SELECT min(to_date(right(c.relname, 8), 'YYYYMMDD'))
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'transfer'::regclass AND c.relname ~ '^transfer_\d{8}$'
$$;

-- From which to which block of each book the partitions of a week have rows.
CREATE FUNCTION week_blocks(p_monday date)
RETURNS TABLE (book_id integer, first_block bigint, last_block bigint) LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY EXECUTE format($sql$
        SELECT b.book_id, min(x.seq) / 8192, max(x.seq) / 8192
        FROM book b CROSS JOIN LATERAL (
            (SELECT seq FROM %1$I WHERE book_id = b.book_id ORDER BY seq LIMIT 1)
            UNION ALL (SELECT seq FROM %1$I WHERE book_id = b.book_id ORDER BY seq DESC LIMIT 1)
            UNION ALL (SELECT seq FROM %2$I WHERE book_id = b.book_id ORDER BY seq LIMIT 1)
            UNION ALL (SELECT seq FROM %2$I WHERE book_id = b.book_id ORDER BY seq DESC LIMIT 1)
        ) x GROUP BY b.book_id $sql$,
        'transfer' || to_char(p_monday, '_YYYYMMDD'), 'voucher' || to_char(p_monday, '_YYYYMMDD'));
END $$;

-- Why the partitions of a week cannot go: a row of theirs is not in files. Null when they can.
CREATE FUNCTION week_problem(p_monday date) RETURNS text LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT min(format('block %s of book %s is not in files yet', w.last_block, b.book_id))
    FROM week_blocks(p_monday) w JOIN book b USING (book_id)
    WHERE w.last_block > b.history_block
$$;

-- Drops the partitions of a week, which have to be the oldest ones, and from then on ids of that
-- week and before are ID_TOO_OLD in every book: whoever books them looks into files before, and
-- they lie in `…_late`. Returns why it did not; null when they are gone, whoever dropped them.
-- Fails for a week whose ids may still come from callers.
--
-- Whoever posts holds the lock of the book before any of the journal; so do we. Posting waits for
-- us, and we at most half a second for those that read: then it fails, and may be tried again.
CREATE FUNCTION drop_week(p_monday date) RETURNS text LANGUAGE plpgsql
SET lock_timeout = '500ms'
AS $$
DECLARE
    oldest  date;
    floor   uuid := uuid_floor((p_monday + 7)::timestamp AT TIME ZONE 'UTC');
    parent  text;
    problem text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('ledger.id_floor', 0));  -- One at a time.
    oldest := oldest_week();
    IF p_monday + 7 > (business_now() AT TIME ZONE 'UTC')::date - 36 OR p_monday > oldest THEN
        RAISE EXCEPTION 'the partitions of % are not to go yet', p_monday;
    END IF;
    IF p_monday = oldest THEN
        problem := week_problem(p_monday);  -- Before anybody who posts has to wait for us.
    END IF;
    IF problem IS NOT NULL OR p_monday IS DISTINCT FROM oldest THEN
        RETURN problem;
    END IF;
    PERFORM FROM book ORDER BY book_id FOR NO KEY UPDATE;
    LOCK TABLE transfer, voucher IN ACCESS EXCLUSIVE MODE;
    problem := week_problem(p_monday);  -- Once more: nobody writes now.
    IF problem IS NOT NULL THEN
        RETURN problem;
    END IF;
    FOREACH parent IN ARRAY ARRAY['transfer', 'voucher'] LOOP
        EXECUTE format('DROP TABLE %I', parent || to_char(p_monday, '_YYYYMMDD'));
        -- It has few rows, those of orders that were older than this when they came.
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, parent || '_late');
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                       parent, parent || '_late', floor);
    END LOOP;
    UPDATE book SET id_floor = floor;
    RETURN NULL;
END $$;
