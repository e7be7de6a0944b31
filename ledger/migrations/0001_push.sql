-- Vouchers on their way into the general ledger 总账: what was said of each, for ever.

-- The newest version is where a voucher is; one without a row is pending.
CREATE TABLE voucher_push (
    book_id       integer     NOT NULL,
    acct_date     date        NOT NULL,
    template_code smallint    NOT NULL,
    currency_code text        NOT NULL,
    version       integer     NOT NULL,
    state         text        NOT NULL CHECK (state IN ('pushed', 'accepted', 'rejected')),
    pushes        integer     NOT NULL,
    voucher_no    text        NOT NULL,
    cause         text        NOT NULL,
    actor         text        NOT NULL,
    request_id    text        NOT NULL,
    fingerprint   bytea       NOT NULL,
    create_time   timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (book_id, acct_date, template_code, currency_code, version),
    UNIQUE (actor, request_id, book_id, acct_date, template_code, currency_code)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON voucher_push
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON voucher_push
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();

-- Every voucher of every closed day, and where it is.
CREATE VIEW voucher_state AS
SELECT v.book_id, v.acct_date, v.template_code, v.currency_code,
       coalesce(p.version, 0) AS version, coalesce(p.state, 'pending') AS state,
       coalesce(p.pushes, 0) AS pushes, coalesce(p.voucher_no, '') AS voucher_no,
       coalesce(p.cause, '') AS cause, coalesce(p.actor, '') AS actor, p.create_time
FROM (SELECT DISTINCT book_id, acct_date, template_code, currency_code FROM voucher_day) v
LEFT JOIN LATERAL (
    SELECT version, state, pushes, voucher_no, cause, actor, create_time FROM voucher_push p
    WHERE (p.book_id, p.acct_date, p.template_code, p.currency_code)
          = (v.book_id, v.acct_date, v.template_code, v.currency_code)
    ORDER BY version DESC LIMIT 1
) p ON true;

-- Writes down what became of vouchers, all or none, once per actor and request id. Returns
-- `done`; `known`, when the same request was carried out before; `reused`, when another one
-- was; `missing` or `refused` with the place, from 1, of the first voucher that is not there,
-- or is in a state that does not lead to `p_state`, which is given too.
CREATE FUNCTION record_pushes(
    p_books integer[], p_dates date[], p_codes smallint[], p_currencies text[], p_state text,
    p_voucher_no text, p_cause text, p_again boolean, p_actor text, p_request_id text,
    p_fingerprint bytea, OUT o_outcome text, OUT o_place bigint, OUT o_state text
)
LANGUAGE plpgsql AS $$
DECLARE
    v_before bytea;
BEGIN
    -- One request at a time under its number, one at a time about a day, days in their order.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_actor || ' ' || p_request_id, 0));
    PERFORM FROM book_day
        WHERE (book_id, acct_date) IN (
            SELECT i.book_id, i.acct_date FROM unnest(p_books, p_dates) AS i (book_id, acct_date))
        ORDER BY book_id, acct_date FOR NO KEY UPDATE;

    SELECT fingerprint INTO v_before FROM voucher_push
        WHERE actor = p_actor AND request_id = p_request_id LIMIT 1;
    IF FOUND THEN
        o_outcome := CASE WHEN v_before = p_fingerprint THEN 'known' ELSE 'reused' END;
        RETURN;
    END IF;

    SELECT CASE WHEN s.state IS NULL THEN 'missing' ELSE 'refused' END, i.place, s.state
      INTO o_outcome, o_place, o_state
      FROM unnest(p_books, p_dates, p_codes, p_currencies) WITH ORDINALITY
           AS i (book_id, acct_date, template_code, currency_code, place)
      LEFT JOIN voucher_state s USING (book_id, acct_date, template_code, currency_code)
      WHERE s.state IS NULL OR (s.state, p_state) NOT IN (
          ('pending', 'pushed'), ('pushed', 'accepted'), ('pushed', 'rejected'),
          ('rejected', 'pushed')
      ) AND NOT (p_again AND (s.state, p_state) = ('pushed', 'pushed'))
      ORDER BY (s.state IS NOT NULL), i.place LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;

    INSERT INTO voucher_push (book_id, acct_date, template_code, currency_code, version, state,
                              pushes, voucher_no, cause, actor, request_id, fingerprint)
    SELECT book_id, acct_date, template_code, currency_code, s.version + 1, p_state,
           s.pushes + (p_state = 'pushed')::integer, p_voucher_no, p_cause, p_actor,
           p_request_id, p_fingerprint
    FROM unnest(p_books, p_dates, p_codes, p_currencies)
         AS i (book_id, acct_date, template_code, currency_code)
    JOIN voucher_state s USING (book_id, acct_date, template_code, currency_code);
    o_outcome := 'done';
END $$;
