-- How a block is sealed. Posting writes these hashes, proving computes them again.
-- The binary wire formats (`…_send`) are the same on every platform.

-- What a voucher says, as 32 bytes. Null for no voucher.
CREATE FUNCTION voucher_digest(
    txn uuid, template text, source_no text, trace_no text, app_id text,
    amount_minor bigint, currency_code text, create_time timestamptz
) RETURNS bytea LANGUAGE sql IMMUTABLE
RETURN sha256(
    uuid_send(txn) || int8send(amount_minor) || timestamptz_send(create_time)
    || convert_to(concat_ws(chr(31), template, source_no, trace_no, app_id, currency_code),
                  'UTF8'));

-- What a block's transfers say, in their order; `voucher` is null but at the first transfer
-- of each voucher.
CREATE FUNCTION transfers_digest(
    id uuid[], debit bigint[], credit bigint[], amount bigint[], code smallint[],
    flags smallint[], ref uuid[], txn uuid[], voucher bytea[]
) RETURNS bytea LANGUAGE sql IMMUTABLE
RETURN sha256(
    array_send(id) || array_send(debit) || array_send(credit) || array_send(amount)
    || array_send(code) || array_send(flags) || array_send(ref) || array_send(txn)
    || array_send(voucher));

-- What stands in `block.hash`.
CREATE FUNCTION block_hash(
    previous bytea, block_no bigint, acct_date date, create_time timestamptz, digest bytea
) RETURNS bytea LANGUAGE sql IMMUTABLE
RETURN sha256(
    previous || int8send(block_no) || date_send(acct_date) || timestamptz_send(create_time)
    || digest);
