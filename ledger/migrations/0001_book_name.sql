-- Operators know books by their names.
CREATE UNIQUE INDEX book_name ON book (name);
