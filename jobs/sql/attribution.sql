-- name: journeys_from_conversions
-- One journey for each conversion, with the user's conversion before it (by time, then id).
SELECT
    $number AS path_id, conversion_id AS label, user_id, time, CAST(1 AS BIGINT) AS weight, value_minor, previous_time
FROM (
    SELECT
        conversion_id, user_id, time, COALESCE(value_minor, 0) AS value_minor,
        LAG(time) OVER (PARTITION BY user_id ORDER BY time, conversion_id) AS previous_time
    FROM conversions
) AS ordered
WHERE $range

-- name: eligible_touches
-- The touches that a conversion may credit.
SELECT
    journey.path_id, journey.weight, journey.value_minor, touch.channel, touch.time AS touch_time, touch.seq,
    journey.time - touch.time AS lag_s
FROM attribution_journeys AS journey
INNER JOIN (
    SELECT user_id, time, seq, TRIM(channel) AS channel FROM touches WHERE TRIM(COALESCE(channel, '')) <> ''
) AS touch
    ON touch.user_id = journey.user_id
    AND touch.time >= journey.time - $lookback AND touch.time $not_after journey.time
WHERE $reuse

-- name: journeys_from_paths
-- One journey for each distinct path of the aggregated input.
SELECT $number AS path_id, label, weight, value_minor
FROM (
    SELECT
        label,
        CAST(SUM(conversions) AS BIGINT) AS weight,
        CAST(SUM(COALESCE(value_minor, 0)) AS $value_type) AS value_minor
    FROM (SELECT COALESCE(path, '') AS label, conversions, value_minor FROM paths) AS named
    GROUP BY label
    HAVING SUM(conversions) > 0
) AS grouped

-- name: touches_from_paths
-- The channels of each path in order; empty parts are no touches.
SELECT
    path_id, weight, value_minor, channel, CAST(NULL AS BIGINT) AS touch_time, place AS seq,
    CAST(NULL AS BIGINT) AS lag_s
FROM (
    SELECT path_id, weight, value_minor, TRIM(part) AS channel, place FROM ($parts) AS split_paths
) AS cut
WHERE channel <> ''

-- name: last_touches
-- The last max_touches of each journey.
SELECT *
FROM (
    SELECT
        *, ROW_NUMBER() OVER (PARTITION BY path_id ORDER BY touch_time DESC, seq DESC) AS place_from_end
    FROM $relation
) AS counted
WHERE place_from_end <= $max_touches

-- name: other_channels
-- Without the excluded channels.
SELECT * FROM $relation WHERE channel NOT IN ($excluded)

-- name: collapsed_touches
-- One touch for each run of the same channel: its first.
SELECT *
FROM (
    SELECT *, LAG(channel) OVER (PARTITION BY path_id ORDER BY touch_time, seq) AS previous_channel FROM $relation
) AS following
WHERE previous_channel IS NULL OR previous_channel <> channel

-- name: numbered_touches
-- Every touch with what a credit rule needs: its position i, the path's length n, and whether it is the last one that is
-- not direct (or the last one of all, in a path of nothing else). One window order, so one sort.
SELECT
    path_id, weight, value_minor, channel, touch_time, lag_s, position, touches,
    CASE
        WHEN others = 0 THEN position = touches
        ELSE channel <> $direct AND others_so_far = others
    END AS is_last_other
FROM (
    SELECT
        path_id, weight, value_minor, channel, touch_time, lag_s,
        ROW_NUMBER() OVER (PARTITION BY path_id ORDER BY touch_time, seq) AS position,
        COUNT(*) OVER (
            PARTITION BY path_id ORDER BY touch_time, seq ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS touches,
        COUNT(CASE WHEN channel <> $direct THEN 1 END) OVER (
            PARTITION BY path_id ORDER BY touch_time, seq ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
        ) AS others,
        COUNT(CASE WHEN channel <> $direct THEN 1 END) OVER (
            PARTITION BY path_id ORDER BY touch_time, seq ROWS UNBOUNDED PRECEDING
        ) AS others_so_far
    FROM $relation
) AS counted

-- name: cells
-- Exact integer sums of everything that earns the same credit; doubles come in only after this.
SELECT
    channel, touches, role, is_last_other,
    CAST(SUM(weight) AS BIGINT) AS weight, CAST(SUM(value_minor) AS $value_type) AS value_minor
FROM (
    SELECT
        channel, touches, is_last_other, weight, value_minor,
        CASE
            WHEN touches = 1 THEN 'only' WHEN position = 1 THEN 'first' WHEN position = touches THEN 'last'
            ELSE 'middle'
        END AS role
    FROM attribution_touch_rows
) AS classified
GROUP BY channel, touches, role, is_last_other

-- name: credit
-- The credit of a touch under a model, for a conversion of weight 1.
CASE model
    WHEN 'first' THEN CASE WHEN role IN ('only', 'first') THEN 1e0 ELSE 0e0 END
    WHEN 'last' THEN CASE WHEN role IN ('only', 'last') THEN 1e0 ELSE 0e0 END
    WHEN 'last_non_direct' THEN CASE WHEN is_last_other THEN 1e0 ELSE 0e0 END
    WHEN 'linear' THEN 1e0 / touches
    WHEN 'position' THEN CASE role
        WHEN 'only' THEN 1e0
        WHEN 'middle' THEN $middle / NULLIF(touches - 2, 0)
        WHEN 'first' THEN $first + CASE WHEN touches = 2 THEN $middle / 2 ELSE 0e0 END
        ELSE $last + CASE WHEN touches = 2 THEN $middle / 2 ELSE 0e0 END
    END
END

-- name: models
-- The models asked for.
SELECT * FROM (VALUES $models) AS listed(model)

-- name: totals
-- What there is to credit, and what no touch can be credited with.
SELECT
    all_journeys.weight, all_journeys.value_minor,
    all_journeys.weight - COALESCE(credited.weight, 0) AS free_weight,
    all_journeys.value_minor - COALESCE(credited.value_minor, 0) AS free_value_minor
FROM (
    SELECT
        CAST(COALESCE(SUM(weight), 0) AS BIGINT) AS weight,
        CAST(COALESCE(SUM(value_minor), 0) AS $value_type) AS value_minor
    FROM attribution_journeys
) AS all_journeys
CROSS JOIN (
    SELECT SUM(weight) AS weight, SUM(value_minor) AS value_minor
    FROM attribution_cells
    WHERE role IN ('only', 'first')
) AS credited

-- name: reach
-- How many conversions each channel had a touch in.
SELECT channel, CAST(SUM(weight) AS BIGINT) AS conversions_touched
FROM (SELECT DISTINCT path_id, channel, weight FROM attribution_touch_rows) AS once
GROUP BY channel

-- name: attribution
-- Credits by model and channel, with the conversions that nothing could be credited with in a row of their own.
SELECT
    credited.model, credited.channel, credited.conversions, credited.value_minor,
    credited.conversions / NULLIF(CAST(totals.weight AS DOUBLE), 0e0) AS share,
    CAST(credited.touches AS BIGINT) AS touches,
    COALESCE(reach.conversions_touched, 0) AS conversions_touched,
    CAST(NULL AS DOUBLE) AS removal_effect,
    CAST(NULL AS DOUBLE) AS ci_low,
    CAST(NULL AS DOUBLE) AS ci_high,
    CAST(NULL AS BIGINT) AS spend_minor,
    CAST(NULL AS DOUBLE) AS roas
FROM (
    SELECT
        model, channel, SUM(weight * credit) AS conversions, SUM(value_minor * credit) AS value_minor,
        SUM(weight) AS touches
    FROM (
        SELECT model, channel, weight, value_minor, $credit AS credit
        FROM attribution_cells
        CROSS JOIN attribution_models
    ) AS rated
    GROUP BY model, channel
    UNION ALL
    SELECT
        model, '(unattributed)', CAST(free_weight AS DOUBLE), CAST(free_value_minor AS DOUBLE), CAST(0 AS BIGINT)
    FROM attribution_totals
    CROSS JOIN attribution_models
    WHERE free_weight > 0
) AS credited
CROSS JOIN attribution_totals AS totals
LEFT JOIN attribution_reach AS reach ON reach.channel = credited.channel

-- name: attribution_touches
-- The credit of every single touch, for those who sum it up another way.
SELECT label AS conversion_id, position, channel, touch_time, model, $credit AS credit
FROM (
    SELECT
        journey.label, touch.*,
        CASE
            WHEN touches = 1 THEN 'only' WHEN position = 1 THEN 'first' WHEN position = touches THEN 'last'
            ELSE 'middle'
        END AS role
    FROM attribution_touch_rows AS touch
    INNER JOIN attribution_journeys AS journey ON journey.path_id = touch.path_id
) AS classified
CROSS JOIN attribution_models
