-- Accounting days 会计日: cutting one off 日切, closing it, and what is kept of a closed one.
-- Amounts are in minor units. Net amounts are debits minus credits, whatever the normal side.

-- One row per accounting date of a book, and its blocks: they follow each other without a gap.
-- A date nobody cut to has no row. `last_block` of a day without blocks is before `first_block`.
CREATE TABLE book_day (
    book_id     integer     NOT NULL REFERENCES book,
    acct_date   date        NOT NULL,
    first_block bigint      NOT NULL,
    last_block  bigint,
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'cut', 'closed')),
    cut_time    timestamptz,
    close_time  timestamptz,
    -- How far closing is: the last block that was added up, the last account that was written;
    -- or why it cannot be closed, while what was written of it is being taken away again.
    read_block      bigint,
    written_account bigint,
    problem         text,
    PRIMARY KEY (book_id, acct_date),
    CHECK ((state = 'open') = (cut_time IS NULL)),
    CHECK ((state = 'open') = (last_block IS NULL)),
    CHECK ((state = 'closed') = (close_time IS NOT NULL)),
    CHECK (last_block >= first_block - 1)
);
CREATE UNIQUE INDEX book_day_open ON book_day (book_id) WHERE state = 'open';

CREATE FUNCTION begin_first_day() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO book_day (book_id, acct_date, first_block)
        VALUES (NEW.book_id, NEW.acct_date, NEW.head_block + 1);
    RETURN NULL;
END $$;
CREATE TRIGGER begin_first_day AFTER INSERT ON book
    FOR EACH ROW EXECUTE FUNCTION begin_first_day();
INSERT INTO book_day (book_id, acct_date, first_block)
    SELECT book_id, acct_date, head_block + 1 FROM book;

-- A day goes from open to cut to closed, and what was said of it stays.
CREATE FUNCTION book_day_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.state, NEW.state) NOT IN (('open', 'cut'), ('cut', 'cut'), ('cut', 'closed'))
       OR (NEW.book_id, NEW.acct_date, NEW.first_block)
          <> (OLD.book_id, OLD.acct_date, OLD.first_block)
       OR OLD.state = 'cut' AND (NEW.last_block, NEW.cut_time) <> (OLD.last_block, OLD.cut_time)
    THEN
        RAISE EXCEPTION 'a day does not go from % to %', OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER book_day_moves BEFORE UPDATE ON book_day
    FOR EACH ROW EXECUTE FUNCTION book_day_moves();
CREATE TRIGGER append_only BEFORE DELETE ON book_day
    FOR EACH ROW EXECUTE FUNCTION append_only();

-- One row per account and closed day on which its balance was moved. `opening` and `closing`
-- are in the account's normal direction: closing = opening + normal * (credit - debit).
-- `last_seq` is its last transfer of that day that moved it. While a day is being closed its rows
-- are a draft: they are right, and go if the day does not close.
CREATE TABLE account_day (
    book_id    integer NOT NULL,
    acct_date  date    NOT NULL,
    account_id bigint  NOT NULL,
    opening    bigint  NOT NULL,
    debit      bigint  NOT NULL,
    credit     bigint  NOT NULL,
    closing    bigint  NOT NULL,
    transfers  bigint  NOT NULL,
    last_seq   bigint  NOT NULL,
    PRIMARY KEY (book_id, account_id, acct_date)
);
CREATE INDEX account_day_date ON account_day (book_id, acct_date);

-- What was booked on a closed day, by template, subject and currency: the lines of the vouchers
-- 记账凭证 that the general ledger gets. `template_code` is that of postings.py; 0 for transfers
-- without a voucher.
CREATE TABLE voucher_day (
    book_id       integer  NOT NULL,
    acct_date     date     NOT NULL,
    template_code smallint NOT NULL,
    subject_code  text     NOT NULL REFERENCES subject,
    currency_code text     NOT NULL,
    debit         bigint   NOT NULL,
    credit        bigint   NOT NULL,
    transfers     bigint   NOT NULL,  -- A transfer inside one subject counts on both its sides.
    PRIMARY KEY (book_id, acct_date, template_code, currency_code, subject_code),
    FOREIGN KEY (book_id, acct_date) REFERENCES book_day
);

-- Every subject that ever had money, on every closed day, moved or not: a report reads the rows
-- of one day. `opening` and `closing` are net. `carried` is the net part of the turnover by which
-- closed periods were carried into profit 损益结转: no income, no expense of that day.
CREATE TABLE subject_day (
    book_id       integer NOT NULL,
    acct_date     date    NOT NULL,
    subject_code  text    NOT NULL REFERENCES subject,
    currency_code text    NOT NULL,
    opening       bigint  NOT NULL,
    debit         bigint  NOT NULL,
    credit        bigint  NOT NULL,
    closing       bigint  NOT NULL CHECK (closing = opening + debit - credit),
    carried       bigint  NOT NULL,
    PRIMARY KEY (book_id, acct_date, subject_code, currency_code),
    FOREIGN KEY (book_id, acct_date) REFERENCES book_day
);

-- What the day that is being closed comes to so far, by account and template: of accounts that
-- are not written yet.
CREATE TABLE day_sum (
    book_id       integer  NOT NULL,
    account_id    bigint   NOT NULL,
    template_code smallint NOT NULL,
    debit         bigint   NOT NULL,
    credit        bigint   NOT NULL,
    transfers     bigint   NOT NULL,
    last_seq      bigint   NOT NULL,
    PRIMARY KEY (book_id, account_id, template_code)
) WITH (fillfactor = 70);

-- The same of accounts that are written, by subject and template: what `voucher_day` will have.
CREATE TABLE voucher_sum (
    book_id       integer  NOT NULL,
    template_code smallint NOT NULL,
    subject_code  text     NOT NULL,
    currency_code text     NOT NULL,
    debit         bigint   NOT NULL,
    credit        bigint   NOT NULL,
    transfers     bigint   NOT NULL,
    PRIMARY KEY (book_id, template_code, subject_code, currency_code)
) WITH (fillfactor = 50);

-- Periods whose income and expenses were carried into profit, each once, one behind the other.
-- `claim_date` is the date the book was at when somebody began; `book_time` is set when all of it is
-- booked; until then a repeat goes on with it.
CREATE TABLE income_period (
    book_id    integer     NOT NULL REFERENCES book,
    from_date  date        NOT NULL,
    to_date    date        NOT NULL,
    claim_date date        NOT NULL,
    book_time  timestamptz,
    PRIMARY KEY (book_id, to_date),
    UNIQUE (book_id, from_date),
    CHECK (from_date <= to_date)
);

-- All that was ever booked on a clearing account 待清算, as of each cut: what was booked on a day
-- is known from the moment it is cut, and nobody reads the journal for it.
CREATE TABLE clearing_cut (
    book_id    integer NOT NULL,
    account_id bigint  NOT NULL REFERENCES account,
    acct_date  date    NOT NULL,  -- The day that ended.
    debit      bigint  NOT NULL,
    credit     bigint  NOT NULL,
    PRIMARY KEY (book_id, account_id, acct_date),
    FOREIGN KEY (book_id, acct_date) REFERENCES book_day
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON clearing_cut
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON clearing_cut
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

CREATE TRIGGER append_only BEFORE UPDATE ON account_day
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE FUNCTION only_a_draft_goes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM book_day d WHERE d.state = 'closed'
               AND (d.book_id, d.acct_date) = (OLD.book_id, OLD.acct_date)) THEN
        RAISE EXCEPTION '% of % is forbidden: the books are append-only', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER only_a_draft_goes BEFORE DELETE ON account_day
    FOR EACH ROW EXECUTE FUNCTION only_a_draft_goes();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON voucher_day
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON subject_day
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE DELETE ON income_period
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON book_day
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON account_day
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON voucher_day
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON subject_day
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON income_period
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- Cuts the day: whatever is booked from now on has the date `p_to`. Returns whether it did;
-- false, and nothing done, unless `p_to` is after the date of the book.
--
-- A fence, not a pause: it waits for the batch that is being booked, and the next one waits for
-- this one update, under the lock that every batch takes anyway, and for what stands on the clearing
-- accounts to be written down, which are as few as channels.
CREATE FUNCTION day_cut(p_book integer, p_to date) RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_date date;
    v_head bigint;
    v_time timestamptz;
BEGIN
    SELECT b.acct_date, b.head_block, greatest(clock_timestamp() + s.shift, b.head_time)
      INTO v_date, v_head, v_time
      FROM book b CROSS JOIN clock s WHERE b.book_id = p_book FOR NO KEY UPDATE OF b;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no book %', p_book;
    END IF;
    IF p_to IS NULL OR p_to <= v_date THEN
        RETURN false;
    END IF;
    UPDATE book SET acct_date = p_to WHERE book_id = p_book;
    UPDATE book_day SET state = 'cut', last_block = v_head, cut_time = v_time
        WHERE book_id = p_book AND acct_date = v_date;
    INSERT INTO book_day (book_id, acct_date, first_block) VALUES (p_book, p_to, v_head + 1);
    INSERT INTO clearing_cut (book_id, account_id, acct_date, debit, credit)
    SELECT p_book, b.account_id, v_date, b.debit, b.credit
    FROM account a JOIN balance b ON (b.book_id, b.account_id) = (p_book, a.account_id)
    WHERE a.book_id = p_book AND a.kind = 'clearing' ORDER BY b.account_id;
    RETURN true;
END $$;
