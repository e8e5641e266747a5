-- name: source
-- Events of the report range under the entity whose chain they may make.
SELECT user_id AS entity_id, events.* FROM events WHERE $range

-- name: session_source
-- The same with a session as the entity, under the id that `sessions` gives it.
SELECT numbered.entity_id, events.*
FROM events
INNER JOIN (
    SELECT
        user_id, time, seq,
        user_id || ':' || CAST(MIN(time) OVER (PARTITION BY user_id, session_index) AS STRING)
            || ':' || CAST(CAST(session_index AS BIGINT) AS STRING) AS entity_id
    FROM session_events
) AS numbered ON numbered.user_id = events.user_id AND numbered.time = events.time AND numbered.seq = events.seq

-- name: placed
-- Events that fill a step or void a chain, with their place among all events of the entity.
SELECT entity_id, part, value, time, pos, $flags $passed
FROM (
    SELECT *
    FROM (
        SELECT
            *, $part AS part, $value AS value,
            ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY time, seq) AS pos
        FROM funnel_source
    ) AS numbered
    WHERE $matters
) AS matched

-- name: rows
-- Every event that matches a step, once for each step that it matches.
SELECT entity_id, part, time, pos, CAST(steps.step AS BIGINT) AS step $more
FROM funnel_placed
CROSS JOIN (SELECT * FROM (VALUES $steps) AS listed(step)) AS steps
WHERE CASE steps.step $matches END

-- name: reversed
-- The same rows backwards in time, for chains of this many steps: what they reach is where they come from.
SELECT entity_id, part, -time AS time, -pos AS pos, $length + 1 - step AS step $more
FROM funnel_rows
WHERE step <= $length

-- name: first_level
-- A chain may start at any row of step 1: `start` is the latest possible start of a chain that ends at the row.
SELECT
    entity_id, part, time, pos, step $more, CASE WHEN step = 1 THEN time END AS start $members
FROM $relation

-- name: next_level
-- A row of this step extends the chain that ends latest before it; it has the latest start of all of them.
SELECT
    entity_id, part, time, pos, step $more,
    CASE WHEN step = $step THEN CASE WHEN $follows THEN before_start END ELSE start END AS start $members
FROM (
    SELECT
        *,
        MAX(CASE WHEN $candidate THEN start END) OVER chains AS before_start,
        MAX(CASE WHEN $candidate THEN pos END) OVER chains AS before_pos $before
    FROM ($previous) AS level_below
    WINDOW chains AS (PARTITION BY entity_id, part ORDER BY $order ROWS UNBOUNDED PRECEDING)
) AS looked_back

-- name: forward_chains
-- Rows that complete a chain.
SELECT
    entity_id, CAST(0 AS BIGINT) AS entry, part, step, start AS started_at, time AS reached_at,
    pos AS last_pos $places
FROM ($levels) AS matched
WHERE start IS NOT NULL

-- name: backward_chains
-- Every event of step 1 from which a chain of this many steps starts: the one that ends first.
SELECT
    entity_id, -pos AS entry, part, CAST($length AS BIGINT) AS step, -time AS started_at, -start AS reached_at,
    $last AS last_pos $places
FROM ($levels) AS matched
WHERE start IS NOT NULL AND step = $length

-- name: strict_chains
-- Steps on consecutive events: their places differ from their steps by the same number.
SELECT
    entity_id, $entry AS entry, part, step, start AS started_at, time AS reached_at, pos AS last_pos $places
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (PARTITION BY entity_id, part, pos - step ORDER BY step) AS run,
        MIN(time) OVER (PARTITION BY entity_id, part, pos - step ORDER BY step ROWS UNBOUNDED PRECEDING) AS start
        $voids
    FROM funnel_rows
) AS runs
WHERE run = step AND $in_window $not_void

-- name: unordered_nexts
-- For every second with a step event: the next event of each step from then on.
SELECT DISTINCT entity_id, part, time AS start, $nexts
FROM funnel_placed
WINDOW ahead AS (PARTITION BY entity_id, part ORDER BY time RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)

-- name: unordered_next
-- One step of them.
SELECT entity_id, part, start, CAST($step AS BIGINT) AS which, next_pos_$step AS pos, next_time_$step AS time
FROM funnel_nexts
WHERE next_pos_$step IS NOT NULL AND $in_window

-- name: unordered_chains
-- How many distinct steps are seen from each second on, in the order in which they come.
SELECT
    entity_id, CAST(0 AS BIGINT) AS entry, part, step, start AS started_at, time AS reached_at,
    pos AS last_pos $places
FROM (
    SELECT
        *, ROW_NUMBER() OVER (PARTITION BY entity_id, part, start ORDER BY pos, which) AS step
    FROM ($nexts) AS seen
) AS counted

-- name: earliest
-- Of all chains to a step the one that is complete first, and of these the one that starts last.
SELECT *
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY entity_id, entry, part, step ORDER BY last_pos, started_at DESC
        ) AS place
    FROM ($chains) AS complete
) AS ranked
WHERE place = 1

-- name: unbroken
-- Chains counted together, or by the one value that they hold.
SELECT entity_id, entry, step, started_at, reached_at, part AS value FROM funnel_chains

-- name: broken_down
-- Chains under a value of the chain that reaches the level.
SELECT chains.entity_id, chains.entry, chains.step, chains.started_at, chains.reached_at, placed.value
FROM funnel_chains AS chains
INNER JOIN (
    SELECT
        *, ROW_NUMBER() OVER (PARTITION BY entity_id, entry, part ORDER BY step DESC) AS from_top
    FROM funnel_chains
) AS used
    ON used.entity_id = chains.entity_id AND used.entry = chains.entry AND used.part = chains.part
    AND used.from_top = 1
INNER JOIN (SELECT DISTINCT entity_id, pos, value FROM funnel_placed) AS placed
    ON placed.entity_id = chains.entity_id AND placed.pos = $position

-- name: counts
-- Entities and time to convert by value and step.
SELECT
    value, step,
    COUNT(*) AS entities,
    percentile_cont(0.25) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p25_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p50_s,
    percentile_cont(0.75) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p75_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p90_s,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p95_s,
    CAST(SUM(reached_at - started_at) AS DOUBLE) / COUNT(*) AS ttc_mean_s
FROM funnel_reached
GROUP BY value, step

-- name: values
-- What the result is broken down by.
SELECT DISTINCT value FROM funnel_reached

-- name: one_value
-- Nothing: one row for all, also when nobody takes a step.
SELECT '(all)' AS value

-- name: funnel
-- One row for each value and step, also for those that nobody reached.
SELECT
    value AS breakdown, CAST(step AS INTEGER) AS step, step_name, entities,
    CAST(entities AS DOUBLE) / NULLIF(first_entities, 0) AS conversion_from_start,
    CASE WHEN step = 1 THEN CAST(entities AS DOUBLE) / NULLIF(entities, 0)
         ELSE CAST(entities AS DOUBLE) / NULLIF(previous_entities, 0) END AS conversion_from_previous,
    COALESCE(previous_entities - entities, 0) AS dropped,
    ttc_p25_s, ttc_p50_s, ttc_p75_s, ttc_p90_s, ttc_p95_s, ttc_mean_s
FROM (
    SELECT
        *,
        LAG(entities) OVER (PARTITION BY value ORDER BY step) AS previous_entities,
        MAX(CASE WHEN step = 1 THEN entities END) OVER (PARTITION BY value) AS first_entities
    FROM (
        SELECT
            named.value, named.step, named.step_name, COALESCE(counts.entities, 0) AS entities,
            ttc_p25_s, ttc_p50_s, ttc_p75_s, ttc_p90_s, ttc_p95_s, ttc_mean_s
        FROM (
            SELECT *
            FROM (SELECT * FROM (VALUES $names) AS listed(step, step_name)) AS steps
            CROSS JOIN funnel_values
        ) AS named
        LEFT JOIN funnel_counts AS counts ON counts.step = named.step AND counts.value = named.value
    ) AS complete
) AS compared

-- name: entities
-- How far each entity came: its highest step, reached first, from the latest start.
SELECT entity_id, CAST(step AS INTEGER) AS level, started_at, reached_at
FROM (
    SELECT
        *,
        ROW_NUMBER() OVER (
            PARTITION BY entity_id ORDER BY step DESC, reached_at, started_at DESC
        ) AS from_best
    FROM $relation
) AS ranked
WHERE from_best = 1

-- name: kernel_rows
-- DuckDB only: step events, with their steps as bits.
SELECT entity_id, time, CAST($steps AS UINTEGER) AS steps $seq
FROM funnel_source
WHERE $matters

-- name: kernel_named_rows
-- DuckDB only: the same of steps that are names: one look into a table is faster than comparing with each.
SELECT entity_id, time, CAST(named.steps AS UINTEGER) AS steps $seq
FROM funnel_source
INNER JOIN (VALUES $names) AS named(event, steps) ON named.event = funnel_source.event
