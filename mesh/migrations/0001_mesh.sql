-- Present in the schema of every service.

-- How far business time is ahead of real time. One row; forward only.
CREATE TABLE clock (
    one   boolean  PRIMARY KEY DEFAULT true CHECK (one),
    shift interval NOT NULL DEFAULT '0' CHECK (shift >= '0')
);
INSERT INTO clock DEFAULT VALUES;

CREATE FUNCTION clock_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.shift < OLD.shift THEN
        RAISE EXCEPTION 'business time never goes back: % -> %', OLD.shift, NEW.shift;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER clock_forward BEFORE UPDATE ON clock
    FOR EACH ROW EXECUTE FUNCTION clock_forward();

CREATE FUNCTION business_now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT now() + shift FROM clock';

-- Nodes for order numbers: who starts takes the one unused for longest.
CREATE TABLE node (
    node       integer     PRIMARY KEY CHECK (node BETWEEN 0 AND 32767),
    lease      bigint      NOT NULL DEFAULT 0,
    lease_time timestamptz NOT NULL DEFAULT '-infinity',
    holder     text        NOT NULL DEFAULT ''
);
INSERT INTO node (node) SELECT generate_series(0, 255);

-- What this service has yet to publish. One row per statement: `events` is a
-- tongbao.common.v1.EventBatch without its batch_id. `sequence` is where JetStream has it;
-- null means publish it (again).
CREATE TABLE outbox (
    outbox_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    events      bytea       STORAGE EXTERNAL NOT NULL,  -- Read once, soon: not worth compressing.
    sequence    bigint,
    create_time timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX outbox_unpublished ON outbox (outbox_id) WHERE sequence IS NULL;
CREATE INDEX outbox_sequence ON outbox (sequence) WHERE sequence IS NOT NULL;

-- What the relay believes of its stream: which incarnation, and how far it was published.
CREATE TABLE relay_state (
    stream      text   PRIMARY KEY,
    incarnation text   NOT NULL,
    sequence    bigint NOT NULL
);

-- Batches of other services whose effects are all in this schema.
CREATE TABLE inbox (
    consumer    text        NOT NULL,
    batch_id    text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, batch_id)
);

-- Events that cannot be applied. Kept until a person redrives or drops them.
CREATE TABLE dead_letter (
    consumer    text        NOT NULL,
    batch_id    text        NOT NULL,
    place       integer     NOT NULL,
    event       bytea       NOT NULL,
    problem     text        NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, batch_id, place)
);

-- Wide tables are partitioned by their own number, which begins with the date: one partition a
-- year from `first_year`, and one for whatever fits none, which should stay empty. A statement
-- opens every partition and its indexes each time it runs, so there are few of them.
CREATE FUNCTION make_partitions(parent text, first_year integer, years integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    FOR year IN first_year .. first_year + years - 1 LOOP
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
            parent || '_' || year, parent, year::text, (year + 1)::text);
    END LOOP;
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF %I DEFAULT', parent || '_default', parent);
END $$;

-- Makes what is missing for this business year and `months_ahead` months from now, and returns
-- how many partitions it made. A schema with weekly partitions has make_week_partitions(weeks) for
-- them, which is called too: five weeks, because each statement opens them all.
CREATE FUNCTION keep_partitions(months_ahead integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    this_year integer := extract(year FROM business_now());
    last_year integer := extract(year FROM business_now() + make_interval(months => months_ahead));
    own       integer := 0;
    made      integer := 0;
    parent    text;
BEGIN
    FOR parent IN
        SELECT c.relname FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE c.relnamespace = current_schema()::regnamespace AND a.atttypid = 'text'::regtype
        ORDER BY c.relname
    LOOP
        FOR year IN this_year .. last_year LOOP
            CONTINUE WHEN to_regclass(format('%I', parent || '_' || year)) IS NOT NULL;
            PERFORM make_partitions(parent, year, 1);
            made := made + 1;
        END LOOP;
    END LOOP;
    IF to_regprocedure('make_week_partitions(integer)') IS NOT NULL THEN
        EXECUTE 'SELECT make_week_partitions(5)' INTO own;
    END IF;
    RETURN made + own;
END $$;

-- The moment at which the range of a partition begins or ends: `2026`, `202601`, a UUIDv7.
CREATE FUNCTION partition_moment(bound text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN bound LIKE '________-%'
        THEN to_timestamp(('x' || lpad(left(replace(bound, '-', ''), 12), 16, '0'))::bit(64)::bigint
                          / 1000.0)
        ELSE to_date(left(bound, 8) || right('0101', 8 - length(left(bound, 8))), 'YYYYMMDD') END
$$;

-- Until when each partitioned table has partitions without a gap, and whether any row lies in
-- the default one. Where none covers this moment, `ends` is this moment.
CREATE FUNCTION partition_horizon() RETURNS TABLE (name text, ends timestamptz, strays boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    parent record;
    part   record;
BEGIN
    FOR parent IN
        SELECT c.oid, c.relname, p.partdefid::regclass AS rest FROM pg_partitioned_table p
            JOIN pg_class c ON c.oid = p.partrelid
        WHERE c.relnamespace = current_schema()::regnamespace ORDER BY c.relname
    LOOP
        name := parent.relname;
        ends := business_now();
        strays := false;
        FOR part IN
            SELECT partition_moment(b[1]) AS begins, partition_moment(b[2]) AS ends
            FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
                regexp_match(pg_get_expr(c.relpartbound, c.oid),
                             $re$FROM \('([^']+)'\) TO \('([^']+)'\)$re$) AS b
            WHERE i.inhparent = parent.oid AND b IS NOT NULL ORDER BY 1
        LOOP
            IF part.begins <= partition_horizon.ends THEN
                ends := greatest(partition_horizon.ends, part.ends);
            END IF;
        END LOOP;
        IF parent.rest::oid <> 0 THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', parent.rest) INTO strays;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- What is old enough to be forgotten, found without reading all of it.
CREATE INDEX outbox_create_time ON outbox USING brin (create_time);
CREATE INDEX inbox_create_time ON inbox USING brin (create_time);
