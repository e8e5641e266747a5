-- name: conversion_tokens
-- Touches as path tokens; the path's value and duration come from its conversion.
SELECT
    path_id AS entity_id, position AS place, REPLACE(channel, '>', '›') AS token, touch_time AS token_time,
    weight AS conversions, value_minor, lag_s AS to_end_s
FROM attribution_touch_rows

-- name: conversion_empty
-- Conversions without a touch.
SELECT journey.path_id AS entity_id, journey.weight AS conversions, journey.value_minor
FROM attribution_journeys AS journey
LEFT JOIN (SELECT DISTINCT path_id FROM attribution_touch_rows) AS touched ON touched.path_id = journey.path_id
WHERE touched.path_id IS NULL

-- name: session_tokens
-- Events as path tokens, numbered inside their session or user.
SELECT
    $entity AS entity_id,
    ROW_NUMBER() OVER (PARTITION BY $entity ORDER BY time, seq) AS place,
    REPLACE(event, '>', '›') AS token, time AS token_time,
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

-- name: numbered
-- Tokens counted from both ends.
SELECT
    entity_id, token, token_time, place,
    ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY place) AS position,
    ROW_NUMBER() OVER (PARTITION BY entity_id ORDER BY place DESC) AS position_from_end
FROM $relation

-- name: conversion_paths
-- The path of every conversion; its duration runs from the first touch to the conversion.
SELECT
    tokens.entity_id, $concat AS path, COUNT(*) AS length, MAX(sums.conversions) AS conversions,
    MAX(sums.value_minor) AS value_minor, MAX(sums.duration_s) AS duration_s
FROM path_numbered AS tokens
INNER JOIN (
    SELECT entity_id, MAX(conversions) AS conversions, MAX(value_minor) AS value_minor, MAX(to_end_s) AS duration_s
    FROM path_tokens
    GROUP BY entity_id
) AS sums ON sums.entity_id = tokens.entity_id
WHERE position_from_end <= $max_length
GROUP BY tokens.entity_id
UNION ALL
SELECT entity_id, '(unattributed)', CAST(0 AS BIGINT), conversions, value_minor, CAST(NULL AS BIGINT)
FROM path_empty

-- name: session_paths
-- The path of every entity; an entity converts at most once for the count, its value is the whole.
SELECT
    tokens.entity_id, $concat AS path, COUNT(*) AS length, MAX(sums.conversions) AS conversions,
    MAX(sums.value_minor) AS value_minor, MAX(sums.duration_s) AS duration_s
FROM path_numbered AS tokens
INNER JOIN (
    SELECT
        entity_id, MAX(conversions) AS conversions, CAST(SUM(value_minor) AS BIGINT) AS value_minor,
        MAX(token_time) - MIN(token_time) AS duration_s
    FROM path_tokens
    GROUP BY entity_id
) AS sums ON sums.entity_id = tokens.entity_id
WHERE position <= $max_length
GROUP BY tokens.entity_id

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
