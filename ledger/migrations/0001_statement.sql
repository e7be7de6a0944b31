-- Reading the journal by account: statements 明细, balances as of any time, holds.
--
-- An entry knows the entry before it on each of its accounts, not the one after. So a statement
-- walks back from an entry; to find one in the middle we look from both ends at once.
-- All of it reads one snapshot, that of the statement which calls it.
--
-- What is in blocks up to `book.history_block` is read from files and never here, whether it is
-- still here or not: the functions below end at that border and say where it was.

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

-- Walks back along an account from its entry at `p_from`, `p_steps` entries at most and none at
-- `p_floor` or before. Answers their places and flags, the newest first, and the place of the next
-- one, 0 if there is none. One statement, not one a step: to begin a statement that reads all
-- partitions costs more than to take a step.
CREATE FUNCTION walk_back(
    p_book integer, p_account bigint, p_from bigint, p_floor bigint, p_steps integer,
    OUT o_seqs bigint[], OUT o_flags integer[], OUT o_next bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off  -- What walks is planned as if it were much.
AS $$
DECLARE
    steps integer;
BEGIN
    WITH RECURSIVE walk AS (
        SELECT 0 AS step, 0::bigint AS seq, 0 AS flags, p_from AS prev
        UNION ALL
        SELECT w.step + 1, t.seq, t.flags::integer, t.prev
        FROM walk w CROSS JOIN LATERAL (
            SELECT x.seq, x.flags,
                   CASE WHEN x.debit_id = p_account THEN x.debit_prev ELSE x.credit_prev END AS prev
            FROM transfer x WHERE x.book_id = p_book AND x.seq = w.prev OFFSET 0
        ) t
        WHERE w.prev > p_floor AND w.step < p_steps
    )
    SELECT coalesce(array_agg(seq ORDER BY step) FILTER (WHERE step > 0), '{}'),
           array_agg(flags ORDER BY step) FILTER (WHERE step > 0),
           (array_agg(prev ORDER BY step DESC))[1], max(step)
      INTO o_seqs, o_flags, o_next, steps FROM walk;
    IF o_next > p_floor AND steps < p_steps THEN
        RAISE EXCEPTION 'account % has no entry at % of book %', p_account, o_next, p_book;
    END IF;
END $$;

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
    seqs     bigint[];
    flags_   integer[];
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

        SELECT w.o_seqs, w.o_flags, w.o_next INTO seqs, flags_, at
          FROM walk_back(p_book, p_account, at, place, rows_ / 4) w;
        backward := backward || ARRAY(
            SELECT seqs[g] FROM generate_series(1, cardinality(seqs)) g
            WHERE seqs[g] <= p_upto AND flags_[g] & p_hidden = 0 ORDER BY g);
        IF at <= place THEN
            RETURN (forward || ARRAY(
                SELECT backward[g] FROM generate_series(cardinality(backward), 1, -1) g
                WHERE backward[g] > place LIMIT p_lines
            ))[1:p_lines];
        END IF;
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

-- The last place of what is in files.
CREATE FUNCTION filed_end(p_book integer) RETURNS bigint LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT block_end(history_block) FROM book WHERE book_id = p_book;
END;

-- The booked balance of an account as of a moment, what was booked at it included, or as of the
-- end of an accounting date; the entry that left it so, 0 for none; and whether nothing can be
-- booked any more that would change it.
--
-- Closed days are known from `account_day`. What a day that is not over by then, or not closed,
-- added to them is looked up in the journal; when the day is in files that is up to the caller:
-- `o_filed_date` names it, and the newest entry in it up to `o_upto` that moves counts, if any.
CREATE FUNCTION balance_at(
    p_book integer, p_account bigint, p_time timestamptz, p_date date,
    OUT o_posted bigint, OUT o_seq bigint, OUT o_final boolean,
    OUT o_filed_date date, OUT o_upto bigint, OUT o_filed bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    last    bigint := last_block_before(p_book, p_time + interval '1 microsecond', p_date + 1);
    closed  date;
    behind  bigint;  -- Up to here `account_day` says it all.
    v_date  date;
    newest  bigint;
    at      bigint;
    one     record;
BEGIN
    o_upto := block_end(last);
    o_filed := filed_end(p_book);
    SELECT coalesce(p_time <= b.head_time, p_date < b.acct_date) INTO o_final
        FROM book b WHERE b.book_id = p_book;
    SELECT d.acct_date, block_end(d.last_block) INTO closed, behind FROM book_day d
        WHERE d.book_id = p_book AND d.state = 'closed' AND d.last_block <= last
        ORDER BY d.acct_date DESC LIMIT 1;
    behind := coalesce(behind, 0);
    SELECT d.closing, d.last_seq INTO o_posted, o_seq FROM account_day d
        WHERE d.book_id = p_book AND d.account_id = p_account AND d.acct_date <= closed
        ORDER BY d.acct_date DESC LIMIT 1;
    o_posted := coalesce(o_posted, 0);
    o_seq := coalesce(o_seq, 0);
    IF behind >= o_upto THEN
        RETURN;
    END IF;

    -- The newest entry of the account in a closed day, or of all.
    SELECT d.acct_date INTO v_date FROM block b
        JOIN book_day d ON (d.book_id, d.acct_date, d.state) = (p_book, b.acct_date, 'closed')
        WHERE (b.book_id, b.block_no) = (p_book, last);
    IF v_date IS NOT NULL THEN
        SELECT d.last_seq INTO newest FROM account_day d
            WHERE (d.book_id, d.account_id, d.acct_date) = (p_book, p_account, v_date);
    ELSE
        SELECT b.last_seq INTO newest FROM balance b
            WHERE (b.book_id, b.account_id) = (p_book, p_account);
    END IF;
    IF newest IS NULL OR newest <= behind THEN
        RETURN;
    END IF;
    IF o_upto <= o_filed THEN
        o_filed_date := v_date;
        RETURN;
    END IF;

    at := entry_at(p_book, p_account, newest, o_upto);
    WHILE at > behind LOOP
        SELECT t.flags, CASE WHEN t.debit_id = p_account THEN t.debit_prev ELSE t.credit_prev END
                   AS prev,
               CASE WHEN t.debit_id = p_account THEN t.debit_after ELSE t.credit_after END AS after
          INTO STRICT one FROM transfer t WHERE t.book_id = p_book AND t.seq = at;
        IF one.flags & 10 = 0 THEN  -- It moved.
            o_posted := one.after;
            o_seq := at;
            RETURN;
        END IF;
        at := one.prev;
    END LOOP;
END $$;

-- The places of one page of a statement, in the order asked for, and where the next page goes
-- on; 0 at the end. Narrowed by times (the second excluded), by dates (both included), or, when
-- all are null, not at all. `p_position` is what the page before said, 0 for the first.
--
-- However rare what is looked for, the newest-first page walks along 10,000 entries at most;
-- it may then be short, or empty, and still lead on.
--
-- Entries up to `o_filed` are left to the caller. Of the newest first `o_next` may lead there: the
-- page goes on with what the files have up to it and behind `o_after`. The oldest first, what they
-- have behind `o_after` and up to `o_upto` comes before these places; there are one more of them
-- then the page has lines, if there are so many, and `o_next` is null.
CREATE FUNCTION statement_page(
    p_book integer, p_account bigint, p_since timestamptz, p_until timestamptz,
    p_from date, p_to date, p_oldest boolean, p_position bigint, p_lines integer,
    p_hidden integer, OUT o_seqs bigint[], OUT o_next bigint, OUT o_after bigint,
    OUT o_upto bigint, OUT o_filed bigint
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    newest bigint;
    behind bigint;              -- Up to here it does not walk.
    walked integer := 0;
    steps  integer := p_lines;  -- At once; more when few of them are shown.
    seqs   bigint[];
    flags_ integer[];
BEGIN
    o_seqs := '{}';
    o_after := 0;
    o_upto := 9223372036854775807;
    o_filed := filed_end(p_book);
    SELECT b.last_seq INTO newest FROM balance b
        WHERE b.book_id = p_book AND b.account_id = p_account;
    IF p_since IS NOT NULL OR p_from IS NOT NULL THEN
        o_after := block_end(last_block_before(p_book, p_since, p_from));
    END IF;
    IF p_until IS NOT NULL OR p_to IS NOT NULL THEN
        o_upto := block_end(last_block_before(p_book, p_until, p_to + 1));
    END IF;

    IF p_oldest THEN
        o_after := greatest(o_after, p_position);
        o_seqs := entries_after(p_book, p_account, newest, greatest(o_after, o_filed), o_upto,
                                p_lines + 1, p_hidden);
        RETURN;
    END IF;

    o_next := least(newest, CASE WHEN p_position > 0 THEN p_position ELSE o_upto END);
    IF o_next > o_filed AND p_position > 0 THEN  -- An entry of this account, whoever names it.
        SELECT t.seq INTO o_next FROM transfer t
            WHERE t.book_id = p_book AND t.seq = p_position
              AND p_account IN (t.debit_id, t.credit_id);
        o_next := coalesce(o_next, 0);
    ELSIF o_next > o_filed THEN
        o_next := entry_at(p_book, p_account, newest, o_upto);
    END IF;
    behind := greatest(o_after, o_filed);
    WHILE o_next > behind AND cardinality(o_seqs) < p_lines AND walked < 10000 LOOP
        SELECT w.o_seqs, w.o_flags, w.o_next INTO seqs, flags_, o_next
          FROM walk_back(p_book, p_account, o_next, behind, least(steps, 10000 - walked)) w;
        walked := walked + cardinality(seqs);
        steps := least(steps * 4, 2048);
        o_seqs := o_seqs || ARRAY(
            SELECT seqs[g] FROM generate_series(1, cardinality(seqs)) g
            WHERE flags_[g] & p_hidden = 0 ORDER BY g);
    END LOOP;
    IF cardinality(o_seqs) > p_lines THEN  -- It went further than it had to.
        o_next := o_seqs[p_lines + 1];
        o_seqs := o_seqs[1:p_lines];
    END IF;
    IF o_next <= o_after THEN
        o_next := 0;
    END IF;
END $$;
