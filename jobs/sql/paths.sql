-- name: conversion_tokens
-- Touches as path tokens; the path's value and duration come from its conversion.
SELECT
    path_id AS entity_id, position AS place, REPLACE($token, '>', '›') AS token, touch_time AS token_time,
    weight AS conversions, value_minor, lag_s AS to_end_s
FROM attribution_touch_rows

-- name: conversion_empty
-- Conversions without a touch.
SELECT journey.path_id AS entity_id, journey.weight AS conversions, journey.value_minor
FROM attribution_journeys AS journey
LEFT JOIN (SELECT DISTINCT path_id FROM attribution_touch_rows) AS touched ON touched.path_id = journey.path_id
WHERE touched.path_id IS NULL

-- name: session_tokens
-- Events as path tokens; their place in the user's history orders those of a session, too.
SELECT
    $entity AS entity_id,
    event_index AS place,
    REPLACE($token, '>', '›') AS token, time AS token_time,
    CASE WHEN event IN ($conversion_events) THEN 1 ELSE 0 END AS conversions,
    CASE WHEN event IN ($conversion_events) THEN COALESCE(value_minor, 0) ELSE 0 END AS value_minor
FROM session_events

-- name: collapsed
-- One token for each run of the same token: its first.
SELECT *
FROM (
    SELECT *, LAG(token) OVER (PARTITION BY entity_id ORDER BY place) AS previous_token FROM $relation
) AS following
WHERE previous_token IS NULL OR previous_token <> token

-- name: distinct_tokens
-- The first occurrence of each token.
SELECT *
FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY entity_id, token ORDER BY place) AS occurrence FROM $relation
) AS counted
WHERE occurrence = 1

-- name: started
-- Paths from their first start token on; paths without one are left out.
SELECT *
FROM (
    SELECT
        *, MIN(CASE WHEN token IN ($tokens) THEN place END) OVER (PARTITION BY entity_id) AS start_place
    FROM $relation
) AS sought
WHERE place >= start_place

-- name: ended
-- Paths up to their first end token after the start; paths without one are left out.
SELECT *
FROM (
    SELECT
        *,
        MIN(CASE WHEN token IN ($tokens) AND place > $after THEN place END) OVER (PARTITION BY entity_id) AS end_place
    FROM $relation
) AS sought
WHERE place <= end_place

-- name: through
-- Only paths that hold one of the tokens.
SELECT *
FROM (
    SELECT
        *, MAX(CASE WHEN token IN ($tokens) THEN 1 ELSE 0 END) OVER (PARTITION BY entity_id) AS held
    FROM $relation
) AS sought
WHERE held = 1

-- name: numbered
-- Tokens counted from both ends.
SELECT
    entity_id, token, token_time, place, $bounds
    ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY place) AS position,
    ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY place DESC) AS position_from_end
FROM $relation

-- name: kept
-- The tokens that the cut at the greatest length leaves, counted from 1.
SELECT entity_id, token, position - $skipped AS position FROM path_numbered WHERE $limit

-- name: spans
-- Of every anchored path, where it begins and ends among its entity's tokens.
SELECT entity_id, $first AS first_place, $last AS last_place FROM path_numbered GROUP BY entity_id

-- name: conversion_paths
-- The path of every conversion; its duration runs from the first touch to the conversion.
SELECT
    tokens.entity_id, tokens.path, tokens.length, sums.conversions, sums.value_minor, sums.duration_s
FROM (
    SELECT entity_id, $concat AS path, COUNT(*) AS length FROM path_kept AS tokens GROUP BY entity_id
) AS tokens
INNER JOIN (
    SELECT
        tokens.entity_id, MAX(conversions) AS conversions, MAX(value_minor) AS value_minor,
        MAX(CASE WHEN $inside THEN to_end_s END) AS duration_s
    FROM path_tokens AS tokens
    $spans
    GROUP BY tokens.entity_id
) AS sums ON sums.entity_id = tokens.entity_id
$empty

-- name: conversion_empty_paths
-- What has no touch is a path of its own, unless paths must hold something.
UNION ALL
SELECT entity_id, '(unattributed)', CAST(0 AS BIGINT), conversions, value_minor, CAST(NULL AS BIGINT)
FROM path_empty

-- name: session_paths
-- The path of every entity; an entity converts at most once for the count, its value is the whole.
SELECT
    tokens.entity_id, tokens.path, tokens.length, sums.conversions, sums.value_minor, sums.duration_s
FROM (
    SELECT entity_id, $concat AS path, COUNT(*) AS length FROM path_kept AS tokens GROUP BY entity_id
) AS tokens
INNER JOIN (
    SELECT
        tokens.entity_id, MAX(conversions) AS conversions, CAST(SUM(value_minor) AS BIGINT) AS value_minor,
        MAX(CASE WHEN $inside THEN token_time END) - MIN(CASE WHEN $inside THEN token_time END) AS duration_s
    FROM path_tokens AS tokens
    $spans
    GROUP BY tokens.entity_id
) AS sums ON sums.entity_id = tokens.entity_id

-- name: paths
-- Equal paths together.
SELECT
    path, length, entities, conversions, value_minor,
    CAST(entities AS DOUBLE) / NULLIF(CAST(SUM(entities) OVER () AS DOUBLE), 0e0) AS share,
    p50_duration_s
FROM (
    SELECT
        path, CAST(MAX(length) AS INTEGER) AS length,
        CAST(SUM($entity_weight) AS BIGINT) AS entities,
        CAST(SUM(conversions) AS BIGINT) AS conversions,
        CAST(SUM(value_minor) AS BIGINT) AS value_minor,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(duration_s AS DOUBLE)) AS p50_duration_s
    FROM path_entities
    GROUP BY path
) AS grouped

-- name: frequent
-- Paths that enough entities took; the share stays that of all.
SELECT * FROM paths_all WHERE entities >= $min_count

-- name: steps
-- Every step of every path, the way in and the way out included.
SELECT entity_id, token AS source, LEAD(token) OVER (PARTITION BY entity_id ORDER BY position) AS target,
    LEAD(token_time) OVER (PARTITION BY entity_id ORDER BY position) - token_time AS gap_s, position
FROM path_numbered

-- name: transitions
-- How often each token follows each other.
SELECT
    source, target, count, entities,
    CAST(count AS DOUBLE) / NULLIF(CAST(SUM(count) OVER (PARTITION BY source) AS DOUBLE), 0e0) AS p_out,
    CAST(count AS DOUBLE) / NULLIF(CAST(SUM(count) OVER (PARTITION BY target) AS DOUBLE), 0e0) AS p_in,
    median_s, p95_s
FROM (
    SELECT
        source, target, COUNT(*) AS count, COUNT(DISTINCT entity_id) AS entities,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY CAST(gap_s AS DOUBLE)) AS median_s,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY CAST(gap_s AS DOUBLE)) AS p95_s
    FROM (
        SELECT entity_id, source, COALESCE(target, 'path_end') AS target, gap_s FROM path_steps
        UNION ALL
        SELECT entity_id, 'path_start', source, CAST(NULL AS BIGINT) FROM path_steps WHERE position = 1
    ) AS pairs
    GROUP BY source, target
) AS counted

-- name: step_matrix
-- Where the entities are at each step: all at the start in step 0, in path_end once their path is over.
SELECT CAST(step AS INTEGER) AS step, event, CAST(entities AS DOUBLE) / NULLIF(CAST(total AS DOUBLE), 0e0) AS share
FROM (
    SELECT CAST(0 AS BIGINT) AS step, 'path_start' AS event, total AS entities FROM path_total AS all_entities
    UNION ALL
    SELECT kept.position, kept.token, CAST(SUM(weights.weight) AS BIGINT)
    FROM path_kept AS kept
    INNER JOIN (SELECT entity_id, $entity_weight AS weight FROM path_entities) AS weights
        ON weights.entity_id = kept.entity_id
    GROUP BY kept.position, kept.token
    UNION ALL
    SELECT steps.step, 'path_end', CAST(SUM(lengths.entities) AS BIGINT)
    FROM (SELECT $series AS step) AS steps
    INNER JOIN (
        SELECT length, SUM($entity_weight) AS entities FROM path_entities GROUP BY length
    ) AS lengths ON lengths.length < steps.step
    GROUP BY steps.step
) AS counted
CROSS JOIN path_total
WHERE entities > 0

-- name: total
-- How many entities there are.
SELECT CAST(COALESCE(SUM($entity_weight), 0) AS BIGINT) AS total FROM path_entities

-- name: counted_paths
-- DuckDB only: the kernel's paths, with their share.
SELECT *, CAST(entities AS DOUBLE) / NULLIF(CAST(SUM(entities) OVER () AS DOUBLE), 0e0) AS share
FROM path_counts

-- name: counted_transitions
-- DuckDB only: the kernel's transitions, with their parts of the source's and of the target's.
SELECT
    *,
    CAST(count AS DOUBLE) / NULLIF(CAST(SUM(count) OVER (PARTITION BY source) AS DOUBLE), 0e0) AS p_out,
    CAST(count AS DOUBLE) / NULLIF(CAST(SUM(count) OVER (PARTITION BY target) AS DOUBLE), 0e0) AS p_in
FROM transition_counts

-- name: counted_steps
-- DuckDB only: the kernel's steps, with the share of all entities.
SELECT
    step, event,
    CAST(entities AS DOUBLE)
        / NULLIF(CAST(SUM(CASE WHEN step = 0 THEN entities END) OVER () AS DOUBLE), 0e0) AS share
FROM step_counts
WHERE entities > 0
