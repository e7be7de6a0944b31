-- What persons do to accounts: block 止付/止收, close 销户, set limits; and how accounts are looked
-- at.

-- One row per request that was carried out, also when it changed nothing.
CREATE TABLE account_change (
    change_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id    bigint      NOT NULL REFERENCES account,
    book_id       integer     NOT NULL,
    verb          text        NOT NULL,
    actor         text        NOT NULL,
    cause         text        NOT NULL,
    request_id    text        NOT NULL,
    fingerprint   bytea       NOT NULL,
    status_before smallint    NOT NULL,
    status_after  smallint    NOT NULL,
    floor_before  bigint      NOT NULL,
    floor_after   bigint      NOT NULL,
    cap_before    bigint      NOT NULL,
    cap_after     bigint      NOT NULL,
    create_time   timestamptz NOT NULL,
    UNIQUE (actor, request_id)
);
CREATE INDEX account_change_account ON account_change (account_id, change_id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON account_change
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON account_change
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- An account with what is on it.
CREATE VIEW account_view AS
SELECT a.account_id, a.book_id, a.kind, a.owner, a.currency_code, a.create_time,
       b.normal, b.status, b.debit, b.credit, b.debit_pending, b.credit_pending, b.floor, b.cap,
       b.last_seq
FROM account a JOIN balance b ON (b.book_id, b.account_id) = (a.book_id, a.account_id);

-- Those that are blocked or closed: few of many, so they have an index of their own. Posting
-- does not change the status, so an update of a balance stays on its page all the same.
CREATE VIEW account_marked AS
SELECT a.account_id, a.book_id, a.kind, a.owner, a.currency_code, a.create_time,
       b.normal, b.status, b.debit, b.credit, b.debit_pending, b.credit_pending, b.floor, b.cap,
       b.last_seq
FROM balance b JOIN account a ON a.account_id = b.account_id WHERE b.status <> 0;
CREATE INDEX balance_marked ON balance (account_id) WHERE status <> 0;
CREATE INDEX account_owner ON account (owner, account_id) WHERE owner <> '';
CREATE INDEX account_kind ON account (kind, account_id);

-- Changes an account's status and limits, once per actor and request id.
--
-- `p_mark` and `p_unmark` are bits of the status; a limit that is null stays as it is. Limits
-- that the account does not keep now are refused unless `p_breach`.
--
-- Says what became of it: `done`; `known`, when it was done before; `reused`, when the request
-- id stands for something else; `again`, when another one with this request id is under way;
-- or why not: `closed`, `not_empty`, `crossed`, `below_floor`, `above_cap`. And how the account
-- stands: limits as they would be, amounts as they are.
CREATE FUNCTION change_account(
    p_book integer, p_account bigint, p_verb text, p_actor text, p_cause text,
    p_request_id text, p_fingerprint bytea, p_mark integer, p_unmark integer,
    p_floor bigint, p_cap bigint, p_breach boolean,
    OUT o_outcome text, OUT o_floor bigint, OUT o_cap bigint,
    OUT o_posted bigint, OUT o_in bigint, OUT o_out bigint
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    is_closed CONSTANT integer := 4;
    seen      bytea;
    status    smallint;
    lowest    bigint;
    highest   bigint;
BEGIN
    -- Posting reads status and limits under this lock only: whoever posts after us sees ours.
    PERFORM FROM book b WHERE b.book_id = p_book FOR NO KEY UPDATE;

    SELECT c.fingerprint INTO seen FROM account_change c
        WHERE (c.actor, c.request_id) = (p_actor, p_request_id);
    IF FOUND THEN
        o_outcome := CASE WHEN seen = p_fingerprint THEN 'known' ELSE 'reused' END;
        RETURN;
    END IF;

    SELECT b.status, b.floor, b.cap, b.normal * (b.credit - b.debit),
           CASE WHEN b.normal > 0 THEN b.credit_pending ELSE b.debit_pending END,
           CASE WHEN b.normal > 0 THEN b.debit_pending ELSE b.credit_pending END
      INTO STRICT status, lowest, highest, o_posted, o_in, o_out
      FROM balance b WHERE b.book_id = p_book AND b.account_id = p_account;
    o_floor := coalesce(p_floor, lowest);
    o_cap := coalesce(p_cap, highest);
    o_outcome := CASE
        WHEN status & is_closed <> 0 THEN 'closed'
        WHEN p_mark & is_closed <> 0 AND (o_posted <> 0 OR o_in <> 0 OR o_out <> 0)
            THEN 'not_empty'
        WHEN o_floor > o_cap THEN 'crossed'
        WHEN NOT p_breach AND p_floor > o_posted - o_out THEN 'below_floor'
        WHEN NOT p_breach AND p_cap < o_posted + o_in THEN 'above_cap'
        ELSE 'done' END;
    IF o_outcome <> 'done' THEN
        RETURN;
    END IF;

    INSERT INTO account_change (
            account_id, book_id, verb, actor, cause, request_id, fingerprint,
            status_before, status_after, floor_before, floor_after, cap_before, cap_after,
            create_time)
        SELECT p_account, p_book, p_verb, p_actor, p_cause, p_request_id, p_fingerprint,
               status, (status | p_mark) & ~p_unmark, lowest, o_floor, highest, o_cap,
               clock_timestamp() + c.shift
        FROM clock c
        ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        o_outcome := 'again';  -- Its other account is in another book, so its lock is another.
        RETURN;
    END IF;
    UPDATE balance b
        SET status = (b.status | p_mark) & ~p_unmark, floor = o_floor, cap = o_cap
        WHERE b.book_id = p_book AND b.account_id = p_account;
END $$;
