-- name: collapsed_rows
-- Runs of one channel as one touch, numbered anew.
SELECT
    path_id, weight, nulls, value_minor, channel,
    ROW_NUMBER() OVER (PARTITION BY path_id ORDER BY position) AS position,
    COUNT(*) OVER (PARTITION BY path_id) AS touches
FROM (
    SELECT *, LAG(channel) OVER (PARTITION BY path_id ORDER BY position) AS previous_channel
    FROM attribution_touch_rows
) AS following
WHERE previous_channel IS NULL OR previous_channel <> channel

-- name: grams
-- Each touch with the $order channels before it: g0 is its own, g1 the one before. A path's first state ends at
-- the touch number $order, or at its last when it is shorter.
SELECT
    path_id, weight, nulls, value_minor, $grams,
    position = LEAST(touches, $order) AS is_first, position = touches AS is_last
FROM (SELECT *, $lags FROM $relation) AS looking_back
WHERE position >= LEAST(touches, $order)

-- name: listed_grams
-- The same from lists, for states of one channel: a channel beside the one before it.
SELECT
    path_id, weight, nulls, value_minor, g0, g1, position = 1 AS is_first, position = touches AS is_last
FROM (
    SELECT
        path_id, weight, nulls, value_minor, UNNEST(channels) AS g0,
        UNNEST(list_prepend(NULL, channels[:-2])) AS g1, generate_subscripts(channels, 1) AS position,
        LEN(channels) AS touches
    FROM attribution_lists
    WHERE LEN(channels) > 0
) AS pairs

-- name: moves
-- How often each move was made: what a path carries, added up.
SELECT
    $keys, is_first, is_last,
    CAST(SUM(weight) AS DOUBLE) AS conversions, CAST(SUM(nulls) AS DOUBLE) AS nulls,
    CAST(SUM(value_minor) AS DOUBLE) AS value_minor
FROM attribution_grams
GROUP BY $keys, is_first, is_last

-- name: journey_units
-- What is drawn again: each conversion, and each user without one.
SELECT path_id, label AS unit, weight, nulls FROM attribution_journeys

-- name: path_units
-- What is drawn again: each row of the aggregated input. Rows alike in all but their value are told apart by a
-- number, which of them has which does not matter.
SELECT
    journey.path_id, row_of.weight, row_of.nulls,
    row_of.label || '|' || CAST(row_of.weight AS STRING) || '|' || CAST(row_of.nulls AS STRING) || '|'
    || CAST(row_of.copy_number AS STRING) AS unit
FROM (
    SELECT
        label, weight, nulls,
        ROW_NUMBER() OVER (PARTITION BY label, weight, nulls ORDER BY label) AS copy_number
    FROM (
        SELECT COALESCE(NULLIF(path, '(unattributed)'), '') AS label, conversions AS weight, COALESCE(nulls, 0) AS nulls FROM paths
    ) AS named
) AS row_of
INNER JOIN (SELECT DISTINCT label, path_id FROM attribution_journeys) AS journey ON journey.label = row_of.label

-- name: hashed_units
-- Two numbers below 2^28 for each unit, the same on every engine.
SELECT path_id, weight, nulls, $first AS h1, $second AS h2
FROM (SELECT path_id, weight, nulls, MD5(unit) AS digest FROM ($units) AS named_units) AS digests

-- name: resampled_moves
-- The moves of several replicates: each unit counts as often as it was drawn.
SELECT $keys, is_first, is_last, $sums
FROM (
    SELECT $keys, is_first, is_last, unit_weight, unit_nulls, $drawn
    FROM (
        SELECT
            $keys, is_first, is_last, hashed.weight AS unit_weight, hashed.nulls AS unit_nulls, $uniforms
        FROM attribution_grams AS grams
        INNER JOIN attribution_units AS hashed ON hashed.path_id = grams.path_id
    ) AS thrown
) AS drawn
GROUP BY $keys, is_first, is_last
