-- Booking: posts the chains of one batch and writes down what came of it.

-- One business event: its voucher, the event that tells of it, and its legs in order.
CREATE TYPE chain AS (
    txn           uuid,
    template      text,
    source_no     text,
    trace_no      text,
    app_id        text,
    amount_minor  bigint,
    currency_code text,
    create_time   timestamptz,
    event         bytea,
    ids           uuid[],
    debits        bigint[],
    credits       bigint[],
    amounts       bigint[],
    codes         smallint[]
);

-- Books the chains in order, each whole or not at all, in one block; with it a voucher for
-- each that was booked, and one outbox row with their events. Answers each by its place,
-- from 1: `posted`; `exists`, when the same was booked before; `refused`, with the reason.
--
-- A refused chain stays refused under its txn, also with other content, and is told the
-- first reason again; unless it is too old (5), which is not remembered. p_floor as in `post`.
CREATE FUNCTION post_chains(p_book integer, p_chains chain[], p_floor uuid DEFAULT NULL)
RETURNS TABLE (place bigint, outcome text, refusal text)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_asked   uuid[];  -- The txn of every chain.
    v_ids     uuid[];
    v_debits  bigint[];
    v_credits bigint[];
    v_amounts bigint[];
    v_codes   smallint[];
    v_flags   smallint[];
    v_txns    uuid[];
    v_vouchers bytea[];
    v_chains  bigint[];  -- The chain's place, by leg.
    v_block   bigint;
    v_results smallint[];
BEGIN
    -- Nobody books or refuses while we look at what was refused before.
    PERFORM FROM book WHERE book_id = p_book FOR NO KEY UPDATE;

    SELECT array_agg(c.txn) INTO v_asked FROM unnest(p_chains) c;
    SELECT array_agg(z.id), array_agg(z.debit), array_agg(z.credit), array_agg(z.amount),
           array_agg(z.code), array_agg(z.flags), array_agg(z.txn), array_agg(z.voucher),
           array_agg(z.place)
      INTO v_ids, v_debits, v_credits, v_amounts, v_codes, v_flags, v_txns, v_vouchers,
           v_chains
      FROM (
        SELECT l.id, l.debit, l.credit, l.amount, l.code, c.txn, c.place,
               -- Linked to the next leg; the last one closes the chain.
               (l.nth < cardinality(c.ids))::integer::smallint AS flags,
               CASE WHEN l.nth = 1 THEN voucher_digest(
                   c.txn, c.template, c.source_no, c.trace_no, c.app_id, c.amount_minor,
                   c.currency_code, c.create_time) END AS voucher
        FROM unnest(p_chains) WITH ORDINALITY AS c (
            txn, template, source_no, trace_no, app_id, amount_minor, currency_code,
            create_time, event, ids, debits, credits, amounts, codes, place)
        CROSS JOIN LATERAL unnest(c.ids, c.debits, c.credits, c.amounts, c.codes)
            WITH ORDINALITY AS l (id, debit, credit, amount, code, nth)
        WHERE c.txn NOT IN (
            SELECT id FROM reject WHERE book_id = p_book AND id = ANY (v_asked))
        ORDER BY c.place, l.nth
      ) z;
    IF v_ids IS NOT NULL THEN
        SELECT p.o_block, p.o_result INTO v_block, v_results
          FROM post(p_book, v_ids, v_debits, v_credits, v_amounts, v_codes, v_flags,
                    p_txn => v_txns, p_voucher => v_vouchers, p_floor => p_floor) p;
    END IF;

    RETURN QUERY
    WITH c AS MATERIALIZED (
        SELECT txn, template, source_no, trace_no, app_id, amount_minor, currency_code,
               create_time, event, place
        FROM unnest(p_chains) WITH ORDINALITY AS x (
            txn, template, source_no, trace_no, app_id, amount_minor, currency_code,
            create_time, event, ids, debits, credits, amounts, codes, place)
    ),
    -- A chain's result is that of the leg it failed by. A chain of which some legs exist and
    -- some do not is not the one that was booked.
    posted AS MATERIALIZED (
        SELECT v_chains[g] AS place, min(g) AS first, count(*) AS legs,
               CASE WHEN bool_and(v_results[g] = 0) THEN 0
                    WHEN bool_and(v_results[g] = 1) THEN 1
                    WHEN bool_or(v_results[g] = 5) THEN 5
                    ELSE greatest(max(v_results[g]) FILTER (WHERE v_results[g] <> 10), 2)
               END AS result
        FROM generate_series(1, cardinality(v_ids)) g GROUP BY 1
    ),
    wrote AS (
        INSERT INTO voucher (seq, amount_minor, txn, book_id, transfers, currency_code,
                             template, source_no, trace_no, app_id, create_time)
        SELECT v_block * 8192 + p.first, c.amount_minor, c.txn, p_book, p.legs,
               c.currency_code, c.template, c.source_no, c.trace_no, c.app_id, c.create_time
        FROM c JOIN posted p USING (place) WHERE p.result = 0
    ),
    kept AS (
        INSERT INTO reject (id, book_id, result)
        SELECT c.txn, p_book, p.result FROM c JOIN posted p USING (place)
        WHERE p.result > 2 AND p.result <> 5 ON CONFLICT DO NOTHING
    ),
    told AS (
        INSERT INTO outbox (events)
        SELECT string_agg(c.event, '' ORDER BY c.place) FROM c JOIN posted p USING (place)
        WHERE p.result = 0 HAVING count(*) > 0
    ),
    verdict AS (
        SELECT place, result FROM posted
        UNION ALL
        SELECT c.place, r.result FROM c JOIN reject r ON r.id = c.txn
        WHERE r.book_id = p_book AND r.id = ANY (v_asked)
    )
    SELECT v.place,
           CASE v.result WHEN 0 THEN 'posted' WHEN 1 THEN 'exists' ELSE 'refused' END,
           CASE WHEN v.result > 1 THEN n.name ELSE '' END
    FROM verdict v JOIN result_code n ON n.code = v.result
    ORDER BY v.place;
END $$;
