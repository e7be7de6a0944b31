-- Posting: N transfers in one call, as if they were made one by one in their order.
--
-- * Each sees the effects of those before it. One result code per transfer (result_code);
--   a failure does not touch its neighbours. Linked chains are booked whole or not at all.
-- * Idempotent by id: a repeat is told EXISTS. A failure that might pass is remembered.
-- * What is older than the journal that is here (`book.id_floor`) is refused, and is not
--   remembered: it may be a repeat of what is in files alone.
-- * Two phases: PENDING holds money, POST moves all, less or part of it, VOID lets it go.
-- * Reversals, RED and BLUE, name what they reverse, and together take back no more than it.
--
-- Tables are touched by a constant number of set-based statements however many transfers
-- there are; what depends on order is decided in between, over arrays in memory.

-- Whether a repeat that asks for `wanted` means the transfer that booked `booked`. -1 and
-- sweeps leave the amount to us, a red entry is booked with the other sign, and a void
-- may name what it lets go.
CREATE FUNCTION same_amount(flags smallint, wanted bigint, booked bigint)
RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN CASE WHEN wanted = -1 OR flags & (16 | 32) <> 0 THEN true
            WHEN flags & 256 <> 0 THEN booked = -wanted
            WHEN flags & 8 <> 0 THEN wanted IN (0, booked)
            ELSE booked = wanted END;

-- Posts to one book. All arrays are as long as p_id; those with a default may be null.
-- A post or void names its hold in p_ref, may leave its accounts 0, and with amount -1
-- takes all that remains. A reversal names in p_ref what it reverses. p_ttl is in seconds, 0
-- for ever. p_voucher is what is sealed beside the transfer: the digest of its voucher, if it
-- is the first of one. p_ends are the places, rising, of those that no chain goes beyond: the
-- last of each caller's; the last of all is always one. p_floor stands in for `book.id_floor`
-- when the caller holds the lock of the book and knows what is in files.
-- Returns the block, null when nothing was booked, one result code per transfer, and the
-- accounting date.
CREATE FUNCTION post(
    p_book integer,
    p_id uuid[], p_debit bigint[], p_credit bigint[], p_amount bigint[], p_code smallint[],
    p_flags smallint[] DEFAULT NULL, p_ref uuid[] DEFAULT NULL, p_ttl integer[] DEFAULT NULL,
    p_txn uuid[] DEFAULT NULL, p_voucher bytea[] DEFAULT NULL, p_ends integer[] DEFAULT NULL,
    p_floor uuid DEFAULT NULL,
    OUT o_block bigint, OUT o_result smallint[], OUT o_acct_date date
)
LANGUAGE plpgsql
-- One plan for ever, and never a scan of the journal: every look-up below is by index or by
-- row address. Inputs come from generate_series and subscripts, because the planner expects
-- 1000 rows of it and 10 of unnest.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
-- Sessions have it off for a fault of rechecked rows (mesh/db.py). Nothing below rechecks a row
-- of a partitioned table, and few of many months are asked.
SET enable_partition_pruning = on
AS $post$
#variable_conflict use_variable
DECLARE
    -- Flags of a transfer.
    is_linked  CONSTANT integer := 1;    -- Stands or falls with the next one.
    is_pending CONSTANT integer := 2;    -- Holds, moves nothing.
    is_post    CONSTANT integer := 4;    -- Moves what a hold holds.
    is_void    CONSTANT integer := 8;    -- Lets it go.
    is_sweep_debit  CONSTANT integer := 16;  -- At most what the debit account can give.
    is_sweep_credit CONSTANT integer := 32;  -- At most what the credit account can take.
    is_partial CONSTANT integer := 64;   -- A post that keeps the rest on hold.
    is_expiry  CONSTANT integer := 128;  -- A void because time is over.
    is_red     CONSTANT integer := 256;  -- Reverses by 红字: negative turnover, same sides.
    is_blue    CONSTANT integer := 512;  -- Reverses by 蓝字: the sides exchanged.
    reverses   CONSTANT integer := is_red | is_blue;
    -- 1024 is nothing to us: it marks entries without a voucher (ledger/store/transfer.py).

    amount_max CONSTANT bigint := 1000000000000000;
    -- Results that may pass later, and are remembered so that they do not.
    remembered CONSTANT smallint[] := '{20,21,22,23,30,40,41,50}';
    hold_open    CONSTANT smallint := 0;
    hold_posted  CONSTANT smallint := 1;
    hold_voided  CONSTANT smallint := 2;
    hold_expired CONSTANT smallint := 3;
    hold_none    CONSTANT smallint := 9;  -- A place for a hold this call has not made yet.

    n         integer := cardinality(p_id);
    any_flags integer := 0;
    hash      bytea;   -- Of the block before, then of ours.
    booking_time timestamptz;
    base      bigint;  -- seq of the transfer before the first one.
    id_min    uuid;
    id_max    uuid;
    id_floor  uuid;
    booked    integer := 0;
    touched   integer;

    -- By transfer.
    flags      smallint[] := p_flags;
    debit      bigint[] := p_debit;
    credit     bigint[] := p_credit;
    result     smallint[];
    debit_at   integer[];  -- Place of its account in the arrays below; 0: no such account.
    credit_at  integer[];
    amount     bigint[] := p_amount;  -- What is booked. These six only get their length here.
    held       bigint[] := p_amount;  -- Change of what is on hold.
    debit_after  bigint[] := p_amount;
    credit_after bigint[] := p_amount;
    debit_prev   bigint[] := p_amount;
    credit_prev  bigint[] := p_amount;
    twin       integer[];  -- The transfer before it in this call with the same id; 0: none.
    hold_at    integer[];  -- Place of its hold in the arrays below; 0: no such hold.
    left_before  bigint[];    -- Its hold as it was, for undoing.
    state_before smallint[];

    -- By account, sorted.
    accounts  integer;
    account   bigint[];
    address   tid[];
    balance   bigint[];  -- normal * (credit - debit)
    outgoing  bigint[];  -- On hold, will make the balance less.
    incoming  bigint[];  -- On hold, will make it more.
    lowest    bigint[];
    highest   bigint[];
    normal    smallint[];
    currency  text[];
    status    smallint[];
    last_seq  bigint[];
    more_debit  bigint[];
    more_credit bigint[];
    more_debit_pending  bigint[];
    more_credit_pending bigint[];

    -- By hold: first those that are stored, then one place for each transfer of this call.
    holds       integer := 0;
    hold        uuid[];
    hold_left   bigint[];
    hold_state  smallint[];
    hold_expiry timestamptz[];
    new_debit_at  integer[];  -- Accounts of a hold that this call makes.
    new_credit_at integer[];
    holds_changed boolean := false;

    -- By transfer: place of what it reverses, and of itself if it may be reversed here; 0: none.
    origin_at   integer[];
    own_at      integer[];
    -- By what is reversed: first what is stored, then one place for each transfer of this call.
    origins     integer := 0;
    origin        uuid[];
    origin_debit  bigint[];
    origin_credit bigint[];
    origin_left   bigint[];  -- What is not reversed yet.
    origin_state  smallint[];
    origin_none  CONSTANT smallint := 0;  -- A place for one this call has not booked yet.
    origin_moved CONSTANT smallint := 1;
    origin_other CONSTANT smallint := 2;  -- Cannot be reversed.

    -- Of the transfer in hand.
    f integer;  -- flags
    r smallint; -- result
    d integer;  -- place of the debit account
    c integer;  -- place of the credit account
    h integer;  -- place of the hold
    a bigint;   -- amount
    moves bigint;  -- What it moves now,
    holds_back bigint;  -- and what it sets aside, negative when it lets go.
    debit_left bigint;
    credit_left bigint;
    other integer;
    until integer;
    ends  integer;           -- Where the caller in hand ends.
    next_end integer := 1;   -- Its place in p_ends.

    chain_from   integer := 0;  -- First transfer of the open chain; 0: none is open.
    chain_failed boolean := false;
    chain_exists boolean := false;
    has_twins    boolean := false;
    any_remembered boolean := false;
BEGIN
    IF n IS NULL OR n = 0 OR n > 8190 THEN
        RAISE EXCEPTION '1 to 8190 transfers, not %', n;
    END IF;
    IF flags IS NULL THEN
        flags := array_fill(0::smallint, ARRAY[n]);
    END IF;

    -- 1. The book. Its row is the lock of all its accounts: nothing below waits or
    -- deadlocks, and every statement from here on sees what the batch before us wrote.
    SELECT b.head_block + 1, b.acct_date, b.head_hash, b.head_time,
           coalesce(p_floor, b.id_floor)
      INTO o_block, o_acct_date, hash, booking_time, id_floor
      FROM book b WHERE b.book_id = p_book FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no book %', p_book;
    END IF;
    -- Business time as of the lock, and always after the block before.
    SELECT greatest(clock_timestamp() + s.shift, booking_time + interval '1 microsecond')
      INTO booking_time FROM clock s;
    base := o_block * 8192;
    IF n = 1 THEN  -- A statement saved is a twentieth of a small call.
        any_flags := flags[1];
        id_min := p_id[1];
        id_max := p_id[1];
    ELSE
        SELECT bit_or(flags[g]) INTO any_flags FROM generate_series(1, n) g;
        SELECT id INTO id_min FROM unnest(p_id) id ORDER BY id LIMIT 1;
        SELECT id INTO id_max FROM unnest(p_id) id ORDER BY id DESC LIMIT 1;
    END IF;

    -- 2. Accounts of a post or void are its hold's: a stored one, or one made in this call.
    IF any_flags & (is_post | is_void) <> 0 THEN
        SELECT array_agg(z.debit_id), array_agg(z.credit_id) INTO debit, credit FROM (
            SELECT coalesce(stored.debit_id, made.debit_id, p_debit[g]) AS debit_id,
                   coalesce(stored.credit_id, made.credit_id, p_credit[g]) AS credit_id
            FROM generate_series(1, n) g
            LEFT JOIN LATERAL (
                SELECT t.debit_id, t.credit_id FROM hold t
                WHERE t.book_id = p_book AND t.id = p_ref[g]
                  AND flags[g] & (is_post | is_void) <> 0
                OFFSET 0
            ) stored ON true
            LEFT JOIN (
                SELECT DISTINCT ON (p_id[e]) p_id[e] AS id,
                       p_debit[e] AS debit_id, p_credit[e] AS credit_id
                FROM generate_series(1, n) e
                WHERE flags[e] & is_pending <> 0 ORDER BY p_id[e], e
            ) made ON made.id = p_ref[g] AND flags[g] & (is_post | is_void) <> 0
            ORDER BY g
        ) z;
    END IF;

    -- 3. Accounts, each once, as they are under the lock.
    SELECT array_agg(s.account_id), array_agg(s.ctid),
           array_agg(s.normal * (s.credit - s.debit)),
           array_agg(CASE WHEN s.normal > 0 THEN s.debit_pending ELSE s.credit_pending END),
           array_agg(CASE WHEN s.normal > 0 THEN s.credit_pending ELSE s.debit_pending END),
           array_agg(s.floor), array_agg(s.cap), array_agg(s.normal),
           array_agg(s.currency_code), array_agg(s.status), array_agg(s.last_seq),
           array_agg(0::bigint)
      INTO account, address, balance, outgoing, incoming, lowest, highest, normal,
           currency, status, last_seq, more_debit
      FROM (
        SELECT t.ctid, t.account_id, t.debit, t.credit, t.debit_pending, t.credit_pending,
               t.floor, t.cap, t.normal, t.currency_code, t.status, t.last_seq
        FROM balance t
        WHERE t.book_id = p_book AND t.account_id = ANY (ARRAY(
            SELECT debit[g] FROM generate_series(1, n) g
            UNION SELECT credit[g] FROM generate_series(1, n) g))
        ORDER BY t.account_id
      ) s;
    accounts := coalesce(cardinality(account), 0);
    IF accounts = 0 THEN
        account := '{}';
        last_seq := '{}';
        more_debit := '{}';
    END IF;
    more_credit := more_debit;
    more_debit_pending := more_debit;
    more_credit_pending := more_debit;

    -- 4. Places of accounts, and every check that does not depend on the order.
    SELECT array_agg(z.debit_at), array_agg(z.credit_at), array_agg(z.result)
      INTO debit_at, credit_at, result
      FROM (
        SELECT coalesce(x.place, 0) AS debit_at, coalesce(y.place, 0) AS credit_at, (CASE
            WHEN flags[g] & (is_post | is_void) <> 0 THEN CASE
                WHEN flags[g] & (is_post | is_void) = is_post | is_void
                  OR flags[g] & (is_pending | is_sweep_debit | is_sweep_credit | reverses) <> 0
                  OR flags[g] & (is_void | is_partial) = is_void | is_partial THEN 12
                WHEN p_amount[g] < -1
                  OR (p_amount[g] = 0 AND flags[g] & is_post <> 0) THEN 13
                ELSE 0 END
            WHEN flags[g] & (is_partial | is_expiry) <> 0
              OR flags[g] & reverses = reverses
              OR (flags[g] & reverses <> 0
                  AND flags[g] & (is_pending | is_sweep_debit | is_sweep_credit) <> 0) THEN 12
            WHEN p_amount[g] <= 0 OR p_amount[g] > amount_max THEN 13
            WHEN debit[g] = credit[g] THEN 14
            WHEN x.place IS NULL THEN 20
            WHEN y.place IS NULL THEN 21
            WHEN status[x.place] & (1 | 4) <> 0 THEN 22
            WHEN status[y.place] & (2 | 4) <> 0 THEN 23
            WHEN currency[x.place] <> currency[y.place] THEN 15
            ELSE 0 END)::smallint AS result
        FROM generate_series(1, n) g
        LEFT JOIN (SELECT account[e] AS id, e AS place FROM generate_series(1, accounts) e) x
            ON x.id = debit[g]
        LEFT JOIN (SELECT account[e] AS id, e AS place FROM generate_series(1, accounts) e) y
            ON y.id = credit[g]
        ORDER BY g
      ) z;

    -- 5. Repeats: of what is stored, of what was refused, of what this call has already.
    -- They come before every other result, also before those of step 4.
    -- `= ANY` reads no more of an index than was asked for, whatever the planner believes;
    -- the bounds say which partitions to open.
    FOR other, r IN
        SELECT g, CASE
            WHEN (t.debit_id, t.credit_id, t.code, t.flags) =
                 (debit[g], credit[g], p_code[g], flags[g])
             AND t.ref IS NOT DISTINCT FROM p_ref[g]
             AND t.txn IS NOT DISTINCT FROM p_txn[g]
             AND same_amount(t.flags, p_amount[g], t.amount) THEN 1 ELSE 2 END
        FROM transfer t JOIN generate_series(1, n) g ON p_id[g] = t.id
        WHERE t.book_id = p_book AND t.id = ANY (p_id) AND t.id BETWEEN id_min AND id_max
        UNION ALL
        SELECT g, 3 FROM reject t JOIN generate_series(1, n) g ON p_id[g] = t.id
        WHERE t.book_id = p_book AND t.id = ANY (p_id)
    LOOP
        result[other] := r;
    END LOOP;
    IF id_min < id_floor THEN
        SELECT array_agg(CASE WHEN p_id[g] < id_floor AND result[g] NOT IN (1, 2, 3) THEN 5
                              ELSE result[g] END::smallint ORDER BY g)
          INTO result FROM generate_series(1, n) g;
    END IF;
    IF n > 1 THEN
        SELECT count(*) < n INTO has_twins
          FROM (SELECT DISTINCT p_id[g] FROM generate_series(1, n) g) z;
    END IF;
    IF has_twins THEN
        SELECT array_agg(z.before) INTO twin FROM (
            SELECT coalesce(lag(g) OVER (PARTITION BY p_id[g] ORDER BY g), 0) AS before
            FROM generate_series(1, n) g ORDER BY g
        ) z;
    END IF;

    -- 6. Holds that are posted or voided here, and a place for each that is made here.
    IF any_flags & (is_post | is_void) <> 0 THEN
        SELECT array_agg(z.id), array_agg(z.remaining), array_agg(z.state),
               array_agg(z.expire_time)
          INTO hold, hold_left, hold_state, hold_expiry
          FROM (
            SELECT s.id, s.remaining, s.state, s.expire_time
            FROM (
                SELECT DISTINCT p_ref[g] AS id FROM generate_series(1, n) g
                WHERE flags[g] & (is_post | is_void) <> 0
            ) u
            CROSS JOIN LATERAL (
                SELECT t.id, t.remaining, t.state, t.expire_time FROM hold t
                WHERE t.book_id = p_book AND t.id = u.id OFFSET 0
            ) s
          ) z;
        holds := coalesce(cardinality(hold), 0);
        hold_left := coalesce(hold_left, '{}') || array_fill(0::bigint, ARRAY[n]);
        hold_state := coalesce(hold_state, '{}') || array_fill(hold_none, ARRAY[n]);
        hold_expiry := coalesce(hold_expiry, '{}')
                       || array_fill('infinity'::timestamptz, ARRAY[n]);
        SELECT array_agg(coalesce(z.stored, holds + z.made, 0)) INTO hold_at FROM (
            SELECT s.place AS stored, m.place AS made
            FROM generate_series(1, n) g
            LEFT JOIN (SELECT hold[e] AS id, e AS place FROM generate_series(1, holds) e) s
                ON s.id = p_ref[g] AND flags[g] & (is_post | is_void) <> 0
            LEFT JOIN (
                SELECT DISTINCT ON (p_id[e]) p_id[e] AS id, e AS place
                FROM generate_series(1, n) e
                WHERE flags[e] & is_pending <> 0 ORDER BY p_id[e], e
            ) m ON m.id = CASE WHEN flags[g] & (is_post | is_void) <> 0 THEN p_ref[g]
                               WHEN flags[g] & is_pending <> 0 THEN p_id[g] END
            ORDER BY g
        ) z;
        new_debit_at := hold_at;
        new_credit_at := hold_at;
        left_before := array_fill(0::bigint, ARRAY[n]);
        state_before := array_fill(0::smallint, ARRAY[n]);
    END IF;

    -- 7. What is reversed here, as far as it is stored, and a place for what this call makes.
    IF any_flags & reverses <> 0 THEN
        SELECT id INTO id_min FROM unnest(p_ref) id WHERE id IS NOT NULL ORDER BY id LIMIT 1;
        SELECT id INTO id_max FROM unnest(p_ref) id WHERE id IS NOT NULL
            ORDER BY id DESC LIMIT 1;
        IF id_min < id_floor THEN  -- Nobody can say what was moved.
            SELECT array_agg(CASE WHEN flags[g] & reverses <> 0 AND p_ref[g] < id_floor
                                   AND result[g] = 0 THEN 5 ELSE result[g] END::smallint
                             ORDER BY g)
              INTO result FROM generate_series(1, n) g;
        END IF;
        SELECT array_agg(z.id), array_agg(z.debit_id), array_agg(z.credit_id),
               array_agg(z.amount - z.reversed),
               array_agg(CASE WHEN z.flags & (is_pending | is_void | reverses) <> 0
                              THEN origin_other ELSE origin_moved END)
          INTO origin, origin_debit, origin_credit, origin_left, origin_state
          FROM (
            SELECT t.id, t.debit_id, t.credit_id, t.amount, t.flags,
                   coalesce(v.reversed, 0) AS reversed
            FROM transfer t
            LEFT JOIN LATERAL (
                SELECT s.reversed FROM reversal s
                WHERE s.book_id = p_book AND s.id = t.id OFFSET 0
            ) v ON true
            WHERE t.book_id = p_book AND t.id BETWEEN id_min AND id_max AND t.id = ANY (
                ARRAY(SELECT DISTINCT p_ref[g] FROM generate_series(1, n) g
                      WHERE flags[g] & reverses <> 0))
          ) z;
        origins := coalesce(cardinality(origin), 0);
        origin_debit := coalesce(origin_debit, '{}') || array_fill(0::bigint, ARRAY[n]);
        origin_credit := coalesce(origin_credit, '{}') || array_fill(0::bigint, ARRAY[n]);
        origin_left := coalesce(origin_left, '{}') || array_fill(0::bigint, ARRAY[n]);
        origin_state := coalesce(origin_state, '{}') || array_fill(origin_none, ARRAY[n]);
        SELECT array_agg(CASE WHEN flags[z.g] & reverses = 0 THEN 0
                              ELSE coalesce(z.stored, origins + z.made, 0) END),
               array_agg(origins + z.own)
          INTO origin_at, own_at
          FROM (
            SELECT g, s.place AS stored, m.place AS made, o.place AS own
            FROM generate_series(1, n) g
            LEFT JOIN (SELECT origin[e] AS id, e AS place FROM generate_series(1, origins) e) s
                ON s.id = p_ref[g]
            LEFT JOIN (SELECT p_id[e] AS id, min(e) AS place FROM generate_series(1, n) e
                       GROUP BY 1) m ON m.id = p_ref[g]
            JOIN (SELECT p_id[e] AS id, min(e) AS place FROM generate_series(1, n) e
                  GROUP BY 1) o ON o.id = p_id[g]
            ORDER BY g
          ) z;
    END IF;

    -- 8. One after the other.
    ends := coalesce(p_ends[1], n);
    FOR i IN 1..n LOOP
        f := flags[i];
        h := 0;
        IF i > ends THEN
            next_end := next_end + 1;
            ends := coalesce(p_ends[next_end], n);
        END IF;

        -- A transfer that repeats one before it in this call is told what became of that
        -- one. At the head of a chain we look ahead to its end, because a chain of nothing
        -- but repeats is no failure.
        IF has_twins THEN
            until := i;
            IF chain_from = 0 THEN
                WHILE until < ends AND flags[until] & is_linked <> 0 LOOP
                    until := until + 1;
                END LOOP;
            END IF;
            FOR k IN i..until LOOP
                CONTINUE WHEN twin[k] = 0 OR result[k] IN (1, 2, 3, 5);
                other := twin[k];
                WHILE other > 0 LOOP
                    IF other < i AND result[other] = 0 THEN
                        result[k] := CASE
                            WHEN (flags[k] & (is_post | is_void) <> 0
                                  OR (debit[other], credit[other]) = (debit[k], credit[k]))
                             AND (flags[other], p_code[other]) = (flags[k], p_code[k])
                             AND p_ref[other] IS NOT DISTINCT FROM p_ref[k]
                             AND p_txn[other] IS NOT DISTINCT FROM p_txn[k]
                             AND same_amount(flags[k], p_amount[k], amount[other])
                            THEN 1 ELSE 2 END;
                        EXIT;
                    ELSIF other < i AND result[other] = ANY (remembered) THEN
                        result[k] := 3;
                        EXIT;
                    END IF;
                    other := twin[other];
                END LOOP;
            END LOOP;
        END IF;
        r := result[i];

        IF f & is_linked <> 0 THEN
            IF chain_from = 0 THEN
                chain_from := i;
                chain_failed := false;
                other := i;
                WHILE other < ends AND result[other] = 1 AND flags[other] & is_linked <> 0 LOOP
                    other := other + 1;
                END LOOP;
                chain_exists := result[other] = 1 AND flags[other] & is_linked = 0;
            END IF;
            IF i = ends THEN
                r := 11;
            END IF;
        END IF;

        IF chain_from > 0 AND chain_failed THEN
            IF r <> 11 THEN
                r := 10;
            END IF;
        ELSIF r = 0 THEN
            d := debit_at[i];
            c := credit_at[i];
            a := p_amount[i];

            IF f & (is_post | is_void) <> 0 THEN
                -- 8a. What a hold allows.
                h := hold_at[i];
                IF h = 0 OR hold_state[h] = hold_none THEN
                    r := 30;
                ELSE
                    IF h > holds THEN
                        d := new_debit_at[h - holds];
                        c := new_credit_at[h - holds];
                        debit_at[i] := d;
                        credit_at[i] := c;
                        debit[i] := account[d];
                        credit[i] := account[c];
                    END IF;
                    IF (p_debit[i] <> 0 AND p_debit[i] <> debit[i])
                       OR (p_credit[i] <> 0 AND p_credit[i] <> credit[i]) THEN
                        r := 31;
                    ELSIF hold_state[h] = hold_posted THEN
                        r := 33;
                    ELSIF hold_state[h] = hold_voided THEN
                        r := 34;
                    ELSIF hold_state[h] = hold_expired
                          OR (f & is_expiry = 0 AND hold_expiry[h] <= booking_time) THEN
                        r := 35;
                    ELSIF f & is_void <> 0 THEN
                        IF a > 0 AND a <> hold_left[h] THEN
                            r := 31;
                        ELSE
                            a := hold_left[h];
                            moves := 0;
                            holds_back := -a;
                        END IF;
                    ELSE
                        IF a = -1 THEN
                            a := hold_left[h];
                        END IF;
                        IF a > hold_left[h] THEN
                            r := 32;
                        ELSE
                            moves := a;
                            holds_back := CASE WHEN f & is_partial <> 0 THEN -a
                                               ELSE -hold_left[h] END;
                        END IF;
                    END IF;
                END IF;
            ELSE
                -- 8b. What the accounts allow.
                IF f & is_sweep_debit <> 0 THEN
                    a := least(a, CASE WHEN normal[d] > 0
                                       THEN balance[d] - outgoing[d] - lowest[d]
                                       ELSE highest[d] - balance[d] - incoming[d] END);
                END IF;
                IF f & is_sweep_credit <> 0 THEN
                    a := least(a, CASE WHEN normal[c] < 0
                                       THEN balance[c] - outgoing[c] - lowest[c]
                                       ELSE highest[c] - balance[c] - incoming[c] END);
                END IF;
                IF f & is_pending <> 0 THEN
                    moves := 0;
                    holds_back := a;
                ELSE
                    IF f & is_red <> 0 THEN
                        a := -a;
                    END IF;
                    moves := a;
                    holds_back := 0;
                END IF;
                IF f & reverses <> 0 THEN
                    h := origin_at[i];
                    IF h = 0 OR origin_state[h] = origin_none THEN
                        r := 50;
                    ELSIF origin_state[h] = origin_other
                       OR (f & is_red <> 0 AND (debit[i], credit[i])
                                            <> (origin_debit[h], origin_credit[h]))
                       OR (f & is_blue <> 0 AND (credit[i], debit[i])
                                             <> (origin_debit[h], origin_credit[h])) THEN
                        r := 51;
                    ELSIF p_amount[i] > origin_left[h] THEN
                        r := 52;
                    END IF;
                    h := 0;
                END IF;
                IF r <> 0 THEN
                    NULL;
                ELSIF a <= 0 AND f & is_red = 0 THEN
                    r := 40;  -- Nothing to sweep.
                ELSE
                    -- Only what makes it worse is refused: an account beyond its limit can
                    -- always come back. Floors before caps.
                    debit_left := balance[d] - normal[d] * moves;
                    credit_left := balance[c] + normal[c] * moves;
                    IF (normal[d] > 0) = (a > 0)
                       AND debit_left - outgoing[d] - holds_back < lowest[d] THEN
                        r := 40;
                    ELSIF (normal[c] < 0) = (a > 0)
                       AND credit_left - outgoing[c] - holds_back < lowest[c] THEN
                        r := 40;
                    ELSIF (normal[d] < 0) = (a > 0)
                       AND debit_left + incoming[d] + holds_back > highest[d] THEN
                        r := 41;
                    ELSIF (normal[c] > 0) = (a > 0)
                       AND credit_left + incoming[c] + holds_back > highest[c] THEN
                        r := 41;
                    END IF;
                END IF;
            END IF;

            -- 8c. Done, until the chain says otherwise.
            IF r = 0 THEN
                booked := booked + 1;
                amount[i] := a;
                held[i] := holds_back;
                IF moves <> 0 THEN
                    balance[d] := balance[d] - normal[d] * moves;
                    balance[c] := balance[c] + normal[c] * moves;
                    more_debit[d] := more_debit[d] + moves;
                    more_credit[c] := more_credit[c] + moves;
                END IF;
                IF holds_back <> 0 THEN
                    more_debit_pending[d] := more_debit_pending[d] + holds_back;
                    more_credit_pending[c] := more_credit_pending[c] + holds_back;
                    IF normal[d] > 0 THEN
                        outgoing[d] := outgoing[d] + holds_back;
                    ELSE
                        incoming[d] := incoming[d] + holds_back;
                    END IF;
                    IF normal[c] < 0 THEN
                        outgoing[c] := outgoing[c] + holds_back;
                    ELSE
                        incoming[c] := incoming[c] + holds_back;
                    END IF;
                END IF;
                debit_after[i] := balance[d];
                credit_after[i] := balance[c];
                debit_prev[i] := last_seq[d];
                credit_prev[i] := last_seq[c];
                last_seq[d] := base + i;
                last_seq[c] := base + i;
                IF h > 0 THEN
                    left_before[i] := hold_left[h];
                    state_before[i] := hold_state[h];
                    holds_changed := true;
                    hold_left[h] := hold_left[h] + holds_back;
                    IF hold_left[h] = 0 THEN
                        hold_state[h] := CASE WHEN f & is_expiry <> 0 THEN hold_expired
                                              WHEN f & is_void <> 0 THEN hold_voided
                                              ELSE hold_posted END;
                    END IF;
                ELSIF f & is_pending <> 0 AND hold_at IS NOT NULL THEN
                    h := hold_at[i];
                    hold_left[h] := a;
                    hold_state[h] := hold_open;
                    new_debit_at[h - holds] := d;
                    new_credit_at[h - holds] := c;
                    IF coalesce(p_ttl[i], 0) > 0 THEN
                        hold_expiry[h] := booking_time + make_interval(secs => p_ttl[i]);
                    END IF;
                END IF;
                IF own_at IS NOT NULL THEN
                    IF f & reverses <> 0 THEN
                        h := origin_at[i];
                        origin_left[h] := origin_left[h] - p_amount[i];
                    END IF;
                    h := own_at[i];
                    origin_debit[h] := debit[i];
                    origin_credit[h] := credit[i];
                    origin_left[h] := a;
                    origin_state[h] := CASE WHEN f & (is_pending | is_void | reverses) <> 0
                                            THEN origin_other ELSE origin_moved END;
                END IF;
            END IF;
        END IF;
        result[i] := r;
        IF r >= 20 AND r = ANY (remembered) THEN
            any_remembered := true;
        END IF;

        -- 8d. A chain broke: undo what it did, the newest first.
        IF chain_from > 0 AND NOT chain_failed AND NOT chain_exists AND r <> 0 THEN
            chain_failed := true;
            FOR j IN REVERSE i - 1..chain_from LOOP
                IF result[j] = 0 THEN
                    booked := booked - 1;
                    d := debit_at[j];
                    c := credit_at[j];
                    holds_back := held[j];
                    last_seq[d] := debit_prev[j];
                    last_seq[c] := credit_prev[j];
                    IF flags[j] & (is_pending | is_void) = 0 THEN
                        moves := amount[j];
                        balance[d] := balance[d] + normal[d] * moves;
                        balance[c] := balance[c] - normal[c] * moves;
                        more_debit[d] := more_debit[d] - moves;
                        more_credit[c] := more_credit[c] - moves;
                    END IF;
                    IF holds_back <> 0 THEN
                        more_debit_pending[d] := more_debit_pending[d] - holds_back;
                        more_credit_pending[c] := more_credit_pending[c] - holds_back;
                        IF normal[d] > 0 THEN
                            outgoing[d] := outgoing[d] - holds_back;
                        ELSE
                            incoming[d] := incoming[d] - holds_back;
                        END IF;
                        IF normal[c] < 0 THEN
                            outgoing[c] := outgoing[c] - holds_back;
                        ELSE
                            incoming[c] := incoming[c] - holds_back;
                        END IF;
                    END IF;
                    IF flags[j] & (is_post | is_void) <> 0 THEN
                        hold_left[hold_at[j]] := left_before[j];
                        hold_state[hold_at[j]] := state_before[j];
                    ELSIF flags[j] & is_pending <> 0 AND hold_at IS NOT NULL THEN
                        hold_left[hold_at[j]] := 0;
                        hold_state[hold_at[j]] := hold_none;
                    END IF;
                    IF own_at IS NOT NULL THEN
                        origin_state[own_at[j]] := origin_none;
                        IF flags[j] & reverses <> 0 THEN
                            h := origin_at[j];
                            origin_left[h] := origin_left[h] + p_amount[j];
                        END IF;
                    END IF;
                END IF;
                result[j] := 10;
            END LOOP;
        END IF;
        IF chain_from > 0 AND (f & is_linked = 0 OR i = ends) THEN
            chain_from := 0;
        END IF;
    END LOOP;
    o_result := result;

    -- 9. What failed for a reason that may pass must not pass under the same id.
    IF any_remembered THEN
        INSERT INTO reject (id, book_id, result)
            SELECT p_id[g], p_book, result[g] FROM generate_series(1, n) g
            WHERE result[g] = ANY (remembered)
            ON CONFLICT DO NOTHING;
    END IF;
    IF booked = 0 THEN
        o_block := NULL;
        RETURN;
    END IF;

    -- 10. Journal, holds, reversals, balances.
    INSERT INTO transfer (seq, debit_id, credit_id, amount, debit_after, credit_after,
                          debit_prev, credit_prev, id, txn, ref, book_id, code, flags)
        SELECT base + g, debit[g], credit[g], amount[g], debit_after[g], credit_after[g],
               debit_prev[g], credit_prev[g], p_id[g], p_txn[g], p_ref[g], p_book,
               p_code[g], flags[g]
        FROM generate_series(1, n) g WHERE result[g] = 0;
    IF any_flags & is_pending <> 0 THEN
        -- One that was posted or voided in this very call is written as it ended.
        INSERT INTO hold (debit_id, credit_id, amount, remaining, expire_time, id, book_id,
                          code, state)
            SELECT debit[g], credit[g], amount[g],
                   CASE WHEN hold_at IS NULL THEN amount[g] ELSE hold_left[hold_at[g]] END,
                   CASE WHEN coalesce(p_ttl[g], 0) > 0
                        THEN booking_time + make_interval(secs => p_ttl[g]) ELSE 'infinity' END,
                   p_id[g], p_book, p_code[g],
                   CASE WHEN hold_at IS NULL THEN hold_open ELSE hold_state[hold_at[g]] END
            FROM generate_series(1, n) g
            WHERE result[g] = 0 AND flags[g] & is_pending <> 0;
    END IF;
    IF holds_changed AND holds > 0 THEN
        UPDATE hold t SET remaining = hold_left[g], state = hold_state[g]
        FROM generate_series(1, holds) g
        WHERE t.book_id = p_book AND t.id = ANY (hold) AND t.id = hold[g]
          AND (t.remaining, t.state) <> (hold_left[g], hold_state[g]);
    END IF;
    IF any_flags & reverses <> 0 THEN
        INSERT INTO reversal AS t (book_id, id, reversed)
            SELECT p_book, p_ref[g], sum(p_amount[g]) FROM generate_series(1, n) g
            WHERE result[g] = 0 AND flags[g] & reverses <> 0 GROUP BY p_ref[g]
            ON CONFLICT (book_id, id) DO UPDATE SET reversed = t.reversed + excluded.reversed;
    END IF;
    UPDATE balance t
    SET debit = t.debit + more_debit[g], credit = t.credit + more_credit[g],
        debit_pending = t.debit_pending + more_debit_pending[g],
        credit_pending = t.credit_pending + more_credit_pending[g],
        last_seq = last_seq[g]
    FROM generate_series(1, accounts) g
    WHERE t.ctid = address[g] AND last_seq[g] > base;
    GET DIAGNOSTICS touched = ROW_COUNT;
    FOREACH moves IN ARRAY last_seq LOOP
        IF moves > base THEN
            touched := touched - 1;
        END IF;
    END LOOP;
    IF touched <> 0 THEN
        -- Somebody changed a balance without the lock of the book: as a whole, once more.
        RAISE EXCEPTION 'a balance moved while it was posted to'
            USING ERRCODE = 'serialization_failure';
    END IF;

    -- 11. The block.
    IF booked < n THEN
        SELECT array_agg(p_id[g]), array_agg(debit[g]), array_agg(credit[g]),
               array_agg(amount[g]), array_agg(p_code[g]), array_agg(flags[g]),
               array_agg(p_ref[g]), array_agg(p_txn[g]), array_agg(p_voucher[g])
          INTO p_id, debit, credit, amount, p_code, flags, p_ref, p_txn, p_voucher
          FROM generate_series(1, n) g WHERE result[g] = 0;
    ELSE
        p_ref := coalesce(p_ref, array_fill(NULL::uuid, ARRAY[n]));
        p_txn := coalesce(p_txn, array_fill(NULL::uuid, ARRAY[n]));
        p_voucher := coalesce(p_voucher, array_fill(NULL::bytea, ARRAY[n]));
    END IF;
    hash := block_hash(
        hash, o_block, o_acct_date, booking_time,
        transfers_digest(p_id, debit, credit, amount, p_code, flags, p_ref, p_txn, p_voucher));
    WITH sealed AS (
        INSERT INTO block (block_no, book_id, acct_date, transfers, hash, create_time)
            VALUES (o_block, p_book, o_acct_date, booked, hash, booking_time)
    )
    UPDATE book b SET head_block = o_block, head_hash = hash, head_time = booking_time
        WHERE b.book_id = p_book;
END $post$;
