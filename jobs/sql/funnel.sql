-- name: step_rows
-- Every event that matches a step, once for each step that it matches.
SELECT events.user_id AS entity_id, events.time, events.seq, steps.step
FROM events
INNER JOIN (SELECT * FROM (VALUES $steps) AS listed(step, event)) AS steps ON steps.event = events.event
WHERE $range

-- name: first_level
-- A chain may start at any row of step 1: `start` is the latest possible start of a chain that ends at the row.
SELECT entity_id, time, seq, step, CASE WHEN step = 1 THEN time END AS start
FROM funnel_rows

-- name: next_level
-- A row of this step extends the chain with the latest start before it; the latest start dominates all others.
SELECT
    entity_id, time, seq, step,
    CASE WHEN step = $step THEN CASE WHEN $in_window THEN earlier_start END ELSE start END AS start
FROM (
    SELECT
        entity_id, time, seq, step, start,
        MAX(CASE WHEN step = $step - 1 THEN start END) OVER (
            PARTITION BY entity_id ORDER BY $order ROWS UNBOUNDED PRECEDING
        ) AS earlier_start
    FROM ($previous) AS level_below
) AS looked_back

-- name: reached
-- When each entity first completed a chain to each step, and that chain's latest start.
SELECT entity_id, step, MIN(time) AS reached_at, MIN(start) AS started_at
FROM ($levels) AS matched
WHERE start IS NOT NULL
GROUP BY entity_id, step

-- name: counts
-- Entities and time to convert by step.
SELECT
    step,
    COUNT(*) AS entities,
    percentile_cont(0.25) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p25_s,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p50_s,
    percentile_cont(0.75) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p75_s,
    percentile_cont(0.9) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p90_s,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY CAST(reached_at - started_at AS DOUBLE)) AS ttc_p95_s,
    CAST(SUM(reached_at - started_at) AS DOUBLE) / COUNT(*) AS ttc_mean_s
FROM funnel_reached
GROUP BY step

-- name: funnel
-- One row for each step, also for those that nobody reached.
SELECT
    '(all)' AS breakdown, CAST(step AS INTEGER) AS step, step_name, entities,
    CAST(entities AS DOUBLE) / NULLIF(first_entities, 0) AS conversion_from_start,
    CASE WHEN step = 1 THEN CAST(entities AS DOUBLE) / NULLIF(entities, 0)
         ELSE CAST(entities AS DOUBLE) / NULLIF(previous_entities, 0) END AS conversion_from_previous,
    COALESCE(previous_entities - entities, 0) AS dropped,
    ttc_p25_s, ttc_p50_s, ttc_p75_s, ttc_p90_s, ttc_p95_s, ttc_mean_s
FROM (
    SELECT
        *,
        LAG(entities) OVER (ORDER BY step) AS previous_entities,
        MAX(CASE WHEN step = 1 THEN entities END) OVER () AS first_entities
    FROM (
        SELECT
            named.step, named.step_name, COALESCE(counts.entities, 0) AS entities,
            ttc_p25_s, ttc_p50_s, ttc_p75_s, ttc_p90_s, ttc_p95_s, ttc_mean_s
        FROM (SELECT * FROM (VALUES $names) AS listed(step, step_name)) AS named
        LEFT JOIN funnel_counts AS counts ON counts.step = named.step
    ) AS complete
) AS compared

-- name: entities
-- How far each entity came.
SELECT
    entity_id, CAST(MAX(step) AS INTEGER) AS level,
    MAX_BY(started_at, step) AS started_at, MAX_BY(reached_at, step) AS reached_at
FROM $relation
GROUP BY entity_id

-- name: asof_ids
-- DuckDB only: a number for each entity.
SELECT entity_id, $number AS id FROM (SELECT DISTINCT user_id AS entity_id FROM events) AS entities

-- name: asof_collisions
-- DuckDB only: how many numbers there are for how many entities.
SELECT COUNT(*) AS entities, COUNT(DISTINCT id) AS numbers FROM funnel_ids

-- name: asof_bounds
-- DuckDB only: what the integers of places must hold.
SELECT
    COALESCE(MIN(time), 0) AS first_time, COALESCE(MAX(time), 0) AS last_time,
    COALESCE(MIN(seq), 0) AS first_seq, COALESCE(MAX(seq), 0) AS last_seq
FROM events

-- name: asof_placed
-- DuckDB only: step rows with one number that orders them by entity, time and, where ties ask for it, seq.
SELECT CAST($place AS $number) AS place, step
FROM (
    SELECT CAST($entity AS $number) * $stride + (time - $first) AS moment, seq, step
    FROM funnel_rows $named
) AS numbered

-- name: asof_first
-- DuckDB only: a chain may start at any row of step 1.
SELECT place, $moment AS start FROM funnel_placed WHERE step = 1

-- name: asof_next
-- DuckDB only: the latest chain of the level below that ends before the row; it has the latest start of all of them.
-- Rows of one step at one place see the same chains, so which of them is joined makes no difference.
SELECT later.place, earlier.start
FROM (SELECT place, $moment AS moment FROM funnel_placed WHERE step = $step) AS later
ASOF INNER JOIN funnel_level_$below AS earlier ON later.place $after earlier.place
WHERE later.moment - earlier.start <= $window

-- name: asof_reached
-- DuckDB only: when each entity first completed a chain to each step, and that chain's latest start.
SELECT
    CAST(id AS BIGINT) AS id, step,
    CAST(MIN(moment) - id * $stride + $first AS BIGINT) AS reached_at,
    CAST(MIN(start) - id * $stride + $first AS BIGINT) AS started_at
FROM (
    SELECT moment, start, step, moment >> $shift AS id
    FROM (SELECT $moment AS moment, start, step FROM ($levels) AS matched) AS dated
) AS numbered
GROUP BY id, step

-- name: asof_level
-- DuckDB only: one level with its step.
SELECT place, start, $step AS step FROM funnel_level_$step
