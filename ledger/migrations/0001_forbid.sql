-- Forbidding: a chain that was not booked is refused from now on, as if it had failed.
--
-- Answers each txn by its place, from 1: whether it is in the books and could not be forbidden;
-- null when it is older than the journal that is here, and then nothing is done; p_floor as in
-- `post`.
-- What was refused before stays refused for its own reason.
CREATE FUNCTION forbid_chains(p_book integer, p_txns uuid[], p_floor uuid DEFAULT NULL)
RETURNS TABLE (place bigint, is_booked boolean)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    v_floor uuid;
BEGIN
    -- Whoever books holds this lock, so what we see next is all there is or ever will be.
    SELECT coalesce(p_floor, id_floor) INTO v_floor
      FROM book WHERE book_id = p_book FOR NO KEY UPDATE;

    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT a.txn, a.place,
               CASE WHEN v.txn IS NOT NULL THEN true
                    WHEN a.txn >= v_floor THEN false END AS is_booked
        FROM unnest(p_txns) WITH ORDINALITY AS a (txn, place)
        LEFT JOIN voucher v ON (v.txn, v.book_id) = (a.txn, p_book)
    ),
    kept AS (
        INSERT INTO reject (id, book_id, result)
        SELECT a.txn, p_book, r.code
        FROM asked a JOIN result_code r ON r.name = 'FORBIDDEN'
        WHERE NOT a.is_booked ORDER BY a.txn ON CONFLICT DO NOTHING
    )
    SELECT a.place, a.is_booked FROM asked a ORDER BY a.place;
END $$;
