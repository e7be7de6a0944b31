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
    events      bytea       NOT NULL,
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
