-- Closing an accounting day: its blocks cannot change any more, so nobody waits for this.
--
-- It is done in steps, each a transaction of its own that reads or writes so much and no more: a
-- day may have any number of entries, a statement has seconds. Where it is stands in `book_day`.
-- Blocks are added up (`day_sum`); accounts are written (`account_day`) once each of them comes to
-- the balance that posting saw, and added up by subject (`voucher_sum`); last come vouchers and
-- subjects, few rows, and debits that are credits.
--
-- No scans: tables are planned for as they are at the first step, when they may be empty.

-- Why blocks do not hold what they say, under this date; null when they do.
CREATE FUNCTION blocks_problem(p_book integer, p_date date, p_first bigint, p_last bigint)
RETURNS text LANGUAGE sql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
    SELECT format('blocks %s to %s: %s of them are there for the day, they say %s entries, not %s',
                  p_first, p_last, b.blocks, b.entries, t.entries)
    FROM (SELECT count(*) AS blocks, coalesce(sum(transfers), 0) AS entries
          FROM block
          WHERE book_id = p_book AND block_no BETWEEN p_first AND p_last AND acct_date = p_date) b
    CROSS JOIN (SELECT count(*) AS entries FROM transfer
                WHERE book_id = p_book
                  AND seq >= p_first * 8192 AND seq < (p_last + 1) * 8192) t
    WHERE (b.blocks, b.entries) <> (p_last - p_first + 1, t.entries)
$$;

-- Adds up blocks, by account and template. Entries that only hold (2) or let go (8) move nothing;
-- a red one 红字 is turnover below zero. Transfers without a voucher have codes of their callers.
CREATE FUNCTION sum_blocks(p_book integer, p_first bigint, p_last bigint)
RETURNS void LANGUAGE sql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
    INSERT INTO day_sum AS s (book_id, account_id, template_code, debit, credit, transfers,
                              last_seq)
    SELECT p_book, x.account_id, CASE WHEN v.txn IS NULL THEN 0 ELSE t.code / 10 END AS template,
           sum(x.debit), sum(x.credit), count(*), max(t.seq)
    FROM transfer t
    LEFT JOIN (
        SELECT txn FROM voucher
        WHERE book_id = p_book AND seq >= p_first * 8192 AND seq < (p_last + 1) * 8192
    ) v ON v.txn = t.txn AND t.flags & 1024 = 0  -- By number: of no voucher, whatever its txn.
    CROSS JOIN LATERAL (
        VALUES (t.debit_id, t.amount, 0::bigint), (t.credit_id, 0, t.amount)
    ) AS x (account_id, debit, credit)
    WHERE t.book_id = p_book AND t.flags & 10 = 0
      AND t.seq >= p_first * 8192 AND t.seq < (p_last + 1) * 8192
    GROUP BY x.account_id, template ORDER BY x.account_id, template
    ON CONFLICT (book_id, account_id, template_code) DO UPDATE
    SET debit = s.debit + excluded.debit, credit = s.credit + excluded.credit,
        transfers = s.transfers + excluded.transfers, last_seq = excluded.last_seq
$$;

-- Writes up to `p_most` accounts behind `p_after`, in order, and moves their sums to subjects.
-- Answers the last one, null when there are no more; or what is wrong with one of them, and then
-- what it wrote is to be forgotten.
CREATE FUNCTION write_accounts(
    p_book integer, p_date date, p_after bigint, p_most integer,
    OUT o_last bigint, OUT o_problem text
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    SELECT max(m.account_id),
           min(format('account %s is not there, or of a kind without a subject', m.account_id))
               FILTER (WHERE k.subject_code IS NULL OR b.normal IS NULL)
      INTO o_last, o_problem
      FROM (SELECT DISTINCT account_id FROM day_sum
            WHERE book_id = p_book AND account_id > p_after
            ORDER BY account_id LIMIT p_most) m
      LEFT JOIN account a ON a.account_id = m.account_id
      LEFT JOIN kind_subject k ON k.kind = a.kind
      LEFT JOIN balance b ON (b.book_id, b.account_id) = (p_book, m.account_id);
    IF o_last IS NULL OR o_problem IS NOT NULL THEN
        RETURN;
    END IF;
    WITH written AS (
        INSERT INTO account_day (book_id, acct_date, account_id, opening, debit, credit, closing,
                                 transfers, last_seq)
        SELECT p_book, p_date, m.account_id, coalesce(o.closing, 0), m.debit, m.credit,
               coalesce(o.closing, 0) + b.normal * (m.credit - m.debit), m.transfers, m.last_seq
        FROM (
            SELECT account_id, sum(debit)::bigint AS debit, sum(credit)::bigint AS credit,
                   sum(transfers)::bigint AS transfers, max(last_seq) AS last_seq
            FROM day_sum
            WHERE book_id = p_book AND account_id > p_after AND account_id <= o_last GROUP BY 1
        ) m
        JOIN balance b ON (b.book_id, b.account_id) = (p_book, m.account_id)
        LEFT JOIN LATERAL (
            SELECT closing FROM account_day y
            WHERE y.book_id = p_book AND y.account_id = m.account_id AND y.acct_date < p_date
            ORDER BY y.acct_date DESC LIMIT 1
        ) o ON true
        RETURNING account_id, closing, last_seq
    )
    SELECT min(format('account %s: opening and turnover come to %s, its last entry says %s',
                      w.account_id, w.closing, t.after))
      INTO o_problem
      FROM written w
      LEFT JOIN LATERAL (
          SELECT CASE WHEN debit_id = w.account_id THEN debit_after ELSE credit_after END AS after
          FROM transfer WHERE book_id = p_book AND seq = w.last_seq) t ON true
      WHERE w.closing IS DISTINCT FROM t.after;

    WITH summed AS (
        DELETE FROM day_sum
        WHERE book_id = p_book AND account_id > p_after AND account_id <= o_last
        RETURNING account_id, template_code, debit, credit, transfers
    )
    INSERT INTO voucher_sum AS v (book_id, template_code, subject_code, currency_code, debit,
                                  credit, transfers)
    SELECT p_book, s.template_code, k.subject_code, a.currency_code, sum(s.debit), sum(s.credit),
           sum(s.transfers)
    FROM summed s
    JOIN account a ON a.account_id = s.account_id
    JOIN kind_subject k ON k.kind = a.kind
    GROUP BY 2, 3, 4 ORDER BY 2, 3, 4
    ON CONFLICT (book_id, template_code, subject_code, currency_code) DO UPDATE
    SET debit = v.debit + excluded.debit, credit = v.credit + excluded.credit,
        transfers = v.transfers + excluded.transfers;
END $$;

-- Writes vouchers and subjects of a day; `p_before` is the day before it. Returns why debits are
-- not credits 试算平衡, in the turnover or on the whole; null when they are.
CREATE FUNCTION write_subjects(p_book integer, p_date date, p_before date)
RETURNS text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
BEGIN
    INSERT INTO voucher_day (book_id, acct_date, template_code, subject_code, currency_code,
                             debit, credit, transfers)
    SELECT p_book, p_date, template_code, subject_code, currency_code, debit, credit, transfers
    FROM voucher_sum WHERE book_id = p_book;
    DELETE FROM voucher_sum WHERE book_id = p_book;

    -- The templates that carry income into profit are 150 to 159, their mirrors 250 to 259.
    INSERT INTO subject_day (book_id, acct_date, subject_code, currency_code, opening, debit,
                             credit, closing, carried)
    SELECT p_book, p_date, subject_code, currency_code, sum(opening), sum(debit), sum(credit),
           sum(opening + debit - credit), sum(carried)
    FROM (
        SELECT subject_code, currency_code, closing AS opening, 0::bigint AS debit,
               0::bigint AS credit, 0::bigint AS carried
        FROM subject_day WHERE book_id = p_book AND acct_date = p_before
        UNION ALL
        SELECT subject_code, currency_code, 0, debit, credit,
               CASE WHEN template_code BETWEEN 150 AND 159
                      OR template_code BETWEEN 250 AND 259 THEN debit - credit ELSE 0 END
        FROM voucher_day WHERE book_id = p_book AND acct_date = p_date
    ) s GROUP BY 3, 4;

    RETURN (
        SELECT min(z.said) FROM (
            SELECT format('%s: debits %s, credits %s, a balance of %s is left over',
                          currency_code, sum(debit), sum(credit), sum(closing)) AS said
            FROM subject_day WHERE book_id = p_book AND acct_date = p_date
            GROUP BY currency_code HAVING sum(debit) <> sum(credit) OR sum(closing) <> 0
        ) z);
END $$;

-- Takes away up to `p_most` rows of what was written of a day that does not close. Returns whether
-- nothing is left.
CREATE FUNCTION clear_draft(p_book integer, p_date date, p_most integer)
RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    gone integer;
    sums integer;
BEGIN
    DELETE FROM account_day WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM account_day WHERE book_id = p_book AND acct_date = p_date LIMIT p_most));
    GET DIAGNOSTICS gone = ROW_COUNT;
    DELETE FROM day_sum WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM day_sum WHERE book_id = p_book LIMIT p_most - gone));
    GET DIAGNOSTICS sums = ROW_COUNT;
    DELETE FROM voucher_sum WHERE book_id = p_book;
    RETURN gone + sums < p_most;
END $$;

-- Takes one step towards closing a day. Answers `more` when there is more to do, `busy` when
-- somebody else takes a step, `closed` when it is closed; or `unbalanced`, and why: then nothing
-- is left of what was written for it, and the next step is the first one again.
--
-- Fails for a day that is not cut, or while an earlier one is not closed.
CREATE FUNCTION close_day(
    p_book integer, p_date date, p_most integer, OUT o_state text, OUT o_problem text
)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_first   bigint;
    v_last    bigint;
    v_read    bigint;
    v_written bigint;
    v_before  date;
    v_problem text;
BEGIN
    SELECT state, first_block, last_block, coalesce(read_block, first_block - 1),
           coalesce(written_account, -9223372036854775808), problem
      INTO o_state, v_first, v_last, v_read, v_written, v_problem
      FROM book_day WHERE book_id = p_book AND acct_date = p_date
      FOR NO KEY UPDATE SKIP LOCKED;
    IF o_state = 'closed' THEN
        RETURN;
    END IF;
    IF o_state IS NULL AND EXISTS (
        SELECT FROM book_day WHERE book_id = p_book AND acct_date = p_date) THEN
        o_state := 'busy';
        RETURN;
    END IF;
    IF o_state IS DISTINCT FROM 'cut' THEN
        RAISE EXCEPTION 'book % has no day % that is cut', p_book, p_date;
    END IF;
    SELECT max(acct_date) INTO v_before
      FROM book_day WHERE book_id = p_book AND acct_date < p_date;
    IF EXISTS (SELECT FROM book_day
               WHERE book_id = p_book AND acct_date = v_before AND state <> 'closed') THEN
        RAISE EXCEPTION 'the day % of book % is not closed yet', v_before, p_book;
    END IF;

    o_state := 'more';
    IF v_problem IS NULL THEN
        BEGIN
            IF v_read < v_last THEN
                -- As many blocks as hold `p_most` entries; a block at least.
                SELECT coalesce(max(block_no), v_read + 1) INTO v_first
                  FROM (SELECT block_no, sum(transfers) OVER (ORDER BY block_no) AS entries
                        FROM block WHERE book_id = p_book
                         AND block_no > v_read AND block_no <= least(v_last, v_read + p_most)) b
                  WHERE entries <= p_most;
                v_problem := blocks_problem(p_book, p_date, v_read + 1, v_first);
                PERFORM sum_blocks(p_book, v_read + 1, v_first);
                UPDATE book_day SET read_block = v_first
                    WHERE book_id = p_book AND acct_date = p_date;
            ELSE
                SELECT w.o_last, w.o_problem INTO v_written, v_problem
                  FROM write_accounts(p_book, p_date, v_written, p_most) w;
                IF v_written IS NOT NULL THEN
                    UPDATE book_day SET written_account = v_written
                        WHERE book_id = p_book AND acct_date = p_date;
                ELSE
                    v_problem := write_subjects(p_book, p_date, v_before);
                    UPDATE book_day SET state = 'closed', close_time = business_now()
                        WHERE book_id = p_book AND acct_date = p_date;
                    o_state := 'closed';
                END IF;
            END IF;
            IF v_problem IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'ZZ001';
            END IF;
            RETURN;
        EXCEPTION WHEN SQLSTATE 'ZZ001' THEN  -- The step is undone; now the steps before it.
            o_state := 'more';
        END;
    END IF;
    IF clear_draft(p_book, p_date, p_most) THEN
        o_state := 'unbalanced';
        o_problem := v_problem;
        v_problem := NULL;
    END IF;
    UPDATE book_day SET read_block = NULL, written_account = NULL, problem = v_problem
        WHERE book_id = p_book AND acct_date = p_date;
END $$;
