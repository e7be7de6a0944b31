-- Events of orders that are older than the journal that is here (`book.id_floor`), one at a time.
-- Whoever asks has found out that the event is not in files, where all is that was dropped. That
-- holds while `p_floor` is still the floor; else nothing is done, and nothing is answered.

-- As post_chains.
CREATE FUNCTION post_late_chain(p_book integer, p_floor uuid, p_chain chain)
RETURNS TABLE (outcome text, refusal text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM book WHERE book_id = p_book AND id_floor = p_floor FOR NO KEY UPDATE;
    IF FOUND THEN
        RETURN QUERY SELECT p.outcome, p.refusal
            FROM post_chains(p_book, ARRAY[p_chain], uuid_floor('epoch')) p;
    END IF;
END $$;

-- As forbid_chains.
CREATE FUNCTION forbid_late_chain(p_book integer, p_floor uuid, p_txn uuid)
RETURNS TABLE (is_booked boolean) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM book WHERE book_id = p_book AND id_floor = p_floor FOR NO KEY UPDATE;
    IF FOUND THEN
        RETURN QUERY SELECT f.is_booked
            FROM forbid_chains(p_book, ARRAY[p_txn], uuid_floor('epoch')) f;
    END IF;
END $$;
