-- Reading the journal by account: statements 明细, balances as of any time, holds.
--
-- An entry knows the entry before it on each of its accounts, not the one after. So a statement
-- walks back from an entry; to find one in the middle we look from both ends at once.
-- All of it reads one snapshot, that of the statement which calls it.

CREATE INDEX hold_debit ON hold (debit_id, id);
CREATE INDEX hold_credit ON hold (credit_id, id);

-- The last block of a book before a moment, or before an accounting date; 0 if there is none.
-- Both rise with the number of the block, so it is searched for by halves.
CREATE FUNCTION last_block_before(p_book integer, p_time timestamptz, p_date date)
RETURNS bigint LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    low  bigint := 0;  -- Before it.
    high bigint;       -- Not before it.
    mid  bigint;
    one  record;
BEGIN
    SELECT head_block + 1 INTO high FROM book WHERE book_id = p_book;
    WHILE high - low > 1 LOOP
        mid := (low + high) / 2;
        SELECT block_no, coalesce(create_time < p_time, acct_date < p_date) AS is_before INTO one
            FROM block WHERE book_id = p_book AND block_no >= mid AND block_no < high
            ORDER BY block_no LIMIT 1;
        IF one.is_before THEN
            low := one.block_no;
        ELSE
            high := mid;  -- None there, or not before it.
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- The last place that a block can have in the journal.
CREATE FUNCTION block_end(block_no bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
RETURN block_no * 8192 + 8191;

-- The first `p_lines` entries of an account behind place `p_after` and up to `p_upto`, in order.
-- Entries with a flag of `p_hidden` are left out. `p_from` is an entry of the account behind
-- which nothing is wanted, or 0 if it has none.
--
-- Looks at the journal from `p_after` on, which ends soon for a busy account, and walks along
-- the account from `p_from` down, which ends soon for an idle one; a little further each time,
-- until one of them is through or they meet.
CREATE FUNCTION entries_after(
    p_book integer, p_account bigint, p_from bigint, p_after bigint, p_upto bigint,
    p_lines integer, p_hidden integer
)
RETURNS bigint[] LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
AS $$
DECLARE
    forward  bigint[] := '{}';
    backward bigint[] := '{}';  -- The newest first.
    place    bigint := p_after; -- Everything up to here is in `forward`,
    at       bigint := p_from;  -- everything behind here is in `backward`.
    rows_    integer := 256;
    found    bigint[];
    seen     integer;
    top      bigint;
    one      record;
BEGIN
    LOOP
        SELECT array_agg(s.seq ORDER BY s.seq) FILTER (
                   WHERE p_account IN (s.debit_id, s.credit_id) AND s.flags & p_hidden = 0),
               count(*), max(s.seq)
          INTO found, seen, top
          FROM (
            SELECT t.seq, t.debit_id, t.credit_id, t.flags FROM transfer t
            WHERE t.book_id = p_book AND t.seq > place AND t.seq <= p_upto
            ORDER BY t.seq LIMIT rows_
          ) s;
        forward := forward || coalesce(found, '{}');
        IF cardinality(forward) >= p_lines OR seen < rows_ THEN
            RETURN forward[1:p_lines];
        END IF;
        place := top;

        FOR step IN 1..rows_ / 4 LOOP
            IF at <= place THEN
                RETURN (forward || ARRAY(
                    SELECT backward[g] FROM generate_series(cardinality(backward), 1, -1) g
                    WHERE backward[g] > place LIMIT p_lines
                ))[1:p_lines];
            END IF;
            SELECT CASE WHEN t.debit_id = p_account THEN t.debit_prev ELSE t.credit_prev END
                       AS prev, t.flags
              INTO STRICT one FROM transfer t WHERE t.book_id = p_book AND t.seq = at;
            IF at <= p_upto AND one.flags & p_hidden = 0 THEN
                backward := backward || at;
            END IF;
            at := one.prev;
        END LOOP;
        rows_ := least(rows_ * 2, 65536);
    END LOOP;
END $$;

-- The newest entry of an account at place `p_seq` or before it; 0 if there is none. `p_from` is
-- an entry of the account: the newest, or any that is known to be at `p_seq` or behind it.
CREATE FUNCTION entry_at(p_book integer, p_account bigint, p_from bigint, p_seq bigint)
RETURNS bigint LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    next_ bigint[];
    found bigint;
BEGIN
    IF p_from <= p_seq THEN
        RETURN p_from;
    END IF;
    next_ := entries_after(p_book, p_account, p_from, p_seq, p_from, 1, 0);
    SELECT CASE WHEN t.debit_id = p_account THEN t.debit_prev ELSE t.credit_prev END
      INTO STRICT found FROM transfer t WHERE t.book_id = p_book AND t.seq = next_[1];
    RETURN found;
END $$;

-- The booked balance of an account as of a moment, what was booked at it included, or as of the
-- end of an accounting date; the entry that left it so, 0 for none; and whether nothing can be
-- booked any more that would change it.
CREATE FUNCTION balance_at(
    p_book integer, p_account bigint, p_time timestamptz, p_date date,
    OUT o_posted bigint, OUT o_seq bigint, OUT o_final boolean
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    newest bigint;
    last   bigint := last_block_before(p_book, p_time + interval '1 microsecond', p_date + 1);
BEGIN
    SELECT b.last_seq INTO newest FROM balance b
        WHERE b.book_id = p_book AND b.account_id = p_account;
    SELECT coalesce(p_time <= b.head_time, p_date < b.acct_date) INTO o_final
        FROM book b WHERE b.book_id = p_book;
    o_seq := entry_at(p_book, p_account, newest, block_end(last));
    SELECT CASE WHEN t.debit_id = p_account THEN t.debit_after ELSE t.credit_after END
      INTO o_posted FROM transfer t WHERE t.book_id = p_book AND t.seq = o_seq;
    o_posted := coalesce(o_posted, 0);
END $$;

-- The places of one page of a statement, in the order asked for, and where the next page goes
-- on; 0 at the end. Narrowed by times (the second excluded), by dates (both included), or, when
-- all are null, not at all. `p_position` is what the page before said, 0 for the first.
--
-- However rare what is looked for, the newest-first page walks along 10,000 entries at most;
-- it may then be short, or empty, and still lead on.
CREATE FUNCTION statement_page(
    p_book integer, p_account bigint, p_since timestamptz, p_until timestamptz,
    p_from date, p_to date, p_oldest boolean, p_position bigint, p_lines integer,
    p_hidden integer, OUT o_seqs bigint[], OUT o_next bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    newest bigint;
    after  bigint := 0;
    upto   bigint := 9223372036854775807;
    one    record;
BEGIN
    o_seqs := '{}';
    SELECT b.last_seq INTO newest FROM balance b
        WHERE b.book_id = p_book AND b.account_id = p_account;
    IF p_since IS NOT NULL OR p_from IS NOT NULL THEN
        after := block_end(last_block_before(p_book, p_since, p_from));
    END IF;
    IF p_until IS NOT NULL OR p_to IS NOT NULL THEN
        upto := block_end(last_block_before(p_book, p_until, p_to + 1));
    END IF;

    IF p_oldest THEN
        o_seqs := entries_after(
            p_book, p_account, newest, greatest(after, p_position), upto, p_lines + 1, p_hidden);
        o_next := CASE WHEN cardinality(o_seqs) > p_lines THEN o_seqs[p_lines] ELSE 0 END;
        o_seqs := o_seqs[1:p_lines];
        RETURN;
    END IF;

    IF p_position > 0 THEN  -- An entry of this account and no other, whoever names it.
        SELECT t.seq INTO o_next FROM transfer t
            WHERE t.book_id = p_book AND t.seq = p_position
              AND p_account IN (t.debit_id, t.credit_id);
        o_next := coalesce(o_next, 0);
    ELSE
        o_next := entry_at(p_book, p_account, newest, upto);
    END IF;
    FOR step IN 1..10000 LOOP
        IF o_next <= after THEN
            o_next := 0;
        END IF;
        EXIT WHEN o_next = 0 OR cardinality(o_seqs) = p_lines;
        SELECT CASE WHEN t.debit_id = p_account THEN t.debit_prev ELSE t.credit_prev END AS prev,
               t.flags
          INTO STRICT one FROM transfer t WHERE t.book_id = p_book AND t.seq = o_next;
        IF one.flags & p_hidden = 0 THEN
            o_seqs := o_seqs || o_next;
        END IF;
        o_next := one.prev;
    END LOOP;
END $$;
