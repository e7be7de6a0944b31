-- How much of a transfer was reversed 冲正, by red and blue entries together: never more than it
-- moved. Derived: the journal says it all again,
--     SELECT book_id, ref, sum(abs(amount)) FROM transfer WHERE flags & 768 <> 0 GROUP BY 1, 2
CREATE TABLE reversal (
    reversed bigint  NOT NULL CHECK (reversed > 0),
    id       uuid    NOT NULL,
    book_id  integer NOT NULL,
    PRIMARY KEY (book_id, id)
) WITH (fillfactor = 70);
