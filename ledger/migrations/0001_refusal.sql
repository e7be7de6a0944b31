-- Refusals that were told by themselves: their money stays where it stands, so there is no
-- voucher whose writing says that PostingRefused went out. For ever, as what was refused is.
CREATE TABLE refusal_told (
    txn         uuid        NOT NULL,
    book_id     integer     NOT NULL,
    create_time timestamptz NOT NULL DEFAULT business_now(),
    PRIMARY KEY (book_id, txn)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON refusal_told
    FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON refusal_told
    FOR EACH STATEMENT EXECUTE FUNCTION append_only();
