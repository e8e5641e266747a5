-- name: journeys_from_conversions
-- One journey for each conversion, with the user's conversion before it (by time, then id).
SELECT
    $number AS path_id, conversion_id AS label, user_id, time, CAST(1 AS BIGINT) AS weight,
    CAST(0 AS BIGINT) AS nulls, value_minor, previous_time
FROM (
    SELECT
        conversion_id, user_id, time, COALESCE(value_minor, 0) AS value_minor,
        LAG(time) OVER (PARTITION BY user_id ORDER BY time, conversion_id) AS previous_time
    FROM conversions
) AS ordered
WHERE $range

-- name: journeys_with_users
-- Besides, one journey without a conversion for each user who has touches in the range and no conversion at all. It
-- ends with the user's last touch, which always belongs to it. The letters keep the two kinds of names apart.
SELECT $number AS path_id, label, user_id, time, weight, nulls, value_minor, previous_time
FROM (
    SELECT 'c' || label AS label, user_id, time, weight, nulls, value_minor, previous_time
    FROM ($conversions) AS converted
    UNION ALL
    SELECT
        'u' || user_id, user_id, MAX(time) + $after, CAST(0 AS BIGINT), CAST(1 AS BIGINT), CAST(0 AS BIGINT),
        CAST(NULL AS BIGINT)
    FROM touches
    WHERE $range AND TRIM(COALESCE(channel, '')) <> '' AND user_id NOT IN (SELECT user_id FROM conversions)
    GROUP BY user_id
) AS both_kinds

-- name: eligible_touches
-- The touches that a conversion may credit.
SELECT
    journey.path_id, journey.weight, journey.nulls, journey.value_minor,
    touch.channel, touch.time AS touch_time, touch.seq, journey.time - touch.time AS lag_s
FROM attribution_journeys AS journey
INNER JOIN (
    SELECT user_id, time, seq, TRIM(channel) AS channel FROM touches WHERE TRIM(COALESCE(channel, '')) <> ''
) AS touch
    ON touch.user_id = journey.user_id
    AND touch.time >= journey.time - $lookback AND touch.time $not_after journey.time
WHERE $reuse

-- name: journeys_from_paths
-- One journey for each distinct path of the aggregated input; what `paths` calls one without a touch is one.
SELECT $number AS path_id, label, weight, nulls, value_minor
FROM (
    SELECT
        label,
        CAST(SUM(conversions) AS BIGINT) AS weight,
        CAST(SUM(nulls) AS BIGINT) AS nulls,
        CAST(SUM(COALESCE(value_minor, 0)) AS $value_type) AS value_minor
    FROM (
        SELECT COALESCE(NULLIF(path, '(unattributed)'), '') AS label, conversions, COALESCE(nulls, 0) AS nulls, value_minor FROM paths
    ) AS named
    GROUP BY label
    HAVING SUM(conversions) > 0 OR SUM(nulls) > 0 OR SUM(COALESCE(value_minor, 0)) <> 0
) AS grouped

-- name: touches_from_paths
-- The channels of each path in order; empty parts are no touches.
SELECT
    path_id, weight, nulls, value_minor, channel, CAST(NULL AS BIGINT) AS touch_time, place AS seq,
    CAST(NULL AS BIGINT) AS lag_s
FROM (
    SELECT path_id, weight, nulls, value_minor, TRIM(part) AS channel, place FROM ($parts) AS split_paths
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
    path_id, weight, nulls, value_minor, channel, touch_time, lag_s, position, touches,
    CASE
        WHEN others = 0 THEN position = touches
        ELSE channel <> $direct AND others_so_far = others
    END AS is_last_other
FROM (
    SELECT
        path_id, weight, nulls, value_minor, channel, touch_time, lag_s,
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
    WHEN 'linear' THEN 1e0 / touches$more
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

-- name: path_channels
-- Each channel of a path once: how often it is there, and beside how many others.
SELECT path_id, channel, weight, value_minor, times, $distinct AS distinct_channels
FROM (
    SELECT
        path_id, channel, COUNT(*) AS times, MIN(weight) AS weight, MIN(value_minor) AS value_minor
    FROM attribution_touch_rows
    GROUP BY path_id, channel
) AS once

-- name: visits
-- The paths that hold a channel, by the number of distinct channels in them.
SELECT
    channel, distinct_channels,
    CAST(SUM(weight) AS BIGINT) AS weight, CAST(SUM(value_minor) AS $value_type) AS value_minor
FROM attribution_path_channels
GROUP BY channel, distinct_channels

-- name: spend
-- What each channel cost.
SELECT TRIM(channel) AS channel, CAST(SUM(spend_minor) AS BIGINT) AS spend_minor
FROM spend
GROUP BY TRIM(channel)

-- name: no_spend
-- No cost is known.
SELECT CAST(NULL AS STRING) AS channel, CAST(NULL AS BIGINT) AS spend_minor WHERE FALSE

-- name: bad_spend
-- Rows of spend that cost less than nothing or name no channel.
SELECT
    COUNT(CASE WHEN spend_minor < 0 THEN 1 END) AS negative,
    COUNT(CASE WHEN TRIM(channel) = '' THEN 1 END) AS nameless
FROM spend

-- name: channels
-- Every channel that was touched or paid for.
SELECT
    COALESCE(touched.channel, paid.channel) AS channel,
    COALESCE(touched.touches, 0) AS touches,
    COALESCE(reach.conversions_touched, 0) AS conversions_touched,
    paid.spend_minor
FROM (SELECT channel, SUM(weight) AS touches FROM attribution_cells GROUP BY channel) AS touched
FULL OUTER JOIN attribution_spend AS paid ON paid.channel = touched.channel
LEFT JOIN (
    SELECT channel, SUM(weight) AS conversions_touched FROM attribution_visits GROUP BY channel
) AS reach ON reach.channel = touched.channel

-- name: cell_credits
-- Models that look at a touch's place alone.
SELECT
    model, channel, SUM(weight * credit) AS conversions, SUM(value_minor * credit) AS value_minor,
    CAST(NULL AS DOUBLE) AS removal_effect, CAST(NULL AS DOUBLE) AS ci_low, CAST(NULL AS DOUBLE) AS ci_high
FROM (
    SELECT model, channel, weight, value_minor, $credit AS credit
    FROM attribution_cells
    CROSS JOIN attribution_models
    WHERE model NOT IN ('time_decay', 'shapley', 'markov')
) AS rated
GROUP BY model, channel

-- name: decayed
-- Each touch with its weight 2^-age, where the last touch of the path has the age 0: a factor that all touches
-- of a path share falls out of the credits, and so none of the sums is 0 however old the touches are.
SELECT
    path_id, channel, position, weight, value_minor, decay,
    decay / SUM(decay) OVER (PARTITION BY path_id) AS decay_credit
FROM (
    SELECT *, POWER(2e0, -LEAST($age - $least, 1074e0)) AS decay
    FROM (
        SELECT
            path_id, channel, position, weight, value_minor, lag_s,
            MIN(lag_s) OVER (PARTITION BY path_id) AS least_lag_s
        FROM attribution_touch_rows
    ) AS compared
) AS weighed

-- name: decay_credits
-- Time decay, from single touches.
SELECT
    'time_decay' AS model, channel, SUM(weight * decay_credit) AS conversions,
    SUM(value_minor * decay_credit) AS value_minor, CAST(NULL AS DOUBLE) AS removal_effect,
    CAST(NULL AS DOUBLE) AS ci_low, CAST(NULL AS DOUBLE) AS ci_high
FROM attribution_decayed
GROUP BY channel

-- name: shapley_credits
-- Every distinct channel of a path earns the same.
SELECT
    'shapley' AS model, channel, SUM(weight * (1e0 / distinct_channels)) AS conversions,
    SUM(value_minor * (1e0 / distinct_channels)) AS value_minor, CAST(NULL AS DOUBLE) AS removal_effect,
    CAST(NULL AS DOUBLE) AS ci_low, CAST(NULL AS DOUBLE) AS ci_high
FROM attribution_visits
GROUP BY channel

-- name: markov_credits
-- What the chain's solution gives.
SELECT 'markov' AS model, channel, conversions, value_minor, removal_effect, ci_low, ci_high FROM attribution_markov

-- name: attribution
-- Every channel under every model, 0 where it earns nothing, with the conversions that nothing could be credited
-- with in a row of their own.
SELECT
    credited.model, credited.channel, credited.conversions, credited.value_minor,
    credited.conversions / NULLIF(CAST(totals.weight AS DOUBLE), 0e0) AS share,
    CAST(credited.touches AS BIGINT) AS touches,
    CAST(credited.conversions_touched AS BIGINT) AS conversions_touched,
    credited.removal_effect, credited.ci_low, credited.ci_high, credited.spend_minor,
    credited.value_minor / NULLIF(CAST(credited.spend_minor AS DOUBLE), 0e0) AS roas
FROM (
    SELECT
        listed.model, listed.channel,
        CASE WHEN credits.channel IS NULL THEN 0e0 ELSE credits.conversions END AS conversions,
        CASE WHEN credits.channel IS NULL THEN 0e0 ELSE CAST(credits.value_minor AS DOUBLE) END AS value_minor,
        listed.touches, listed.conversions_touched, credits.removal_effect, credits.ci_low, credits.ci_high,
        listed.spend_minor
    FROM (
        SELECT model, channel, touches, conversions_touched, spend_minor
        FROM attribution_channels
        CROSS JOIN attribution_models
    ) AS listed
    LEFT JOIN attribution_credits AS credits ON credits.model = listed.model AND credits.channel = listed.channel
    UNION ALL
    SELECT
        model, '(unattributed)', CAST(free_weight AS DOUBLE), CAST(free_value_minor AS DOUBLE), CAST(0 AS BIGINT),
        CAST(0 AS BIGINT), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS BIGINT)
    FROM attribution_totals
    CROSS JOIN attribution_models
    WHERE free_weight > 0
) AS credited
CROSS JOIN attribution_totals AS totals

-- name: attribution_touches
-- The credit of every single touch, for those who sum it up another way. A channel's Shapley credit is shared
-- by its touches; Markov credits belong to no touch.
SELECT label AS conversion_id, position, channel, touch_time, model, $credit AS credit
FROM (
    SELECT
        $label AS label, touch.channel, touch.position, touch.touches, touch.touch_time, touch.is_last_other,
        $decay_credit AS decay_credit,
        1e0 / (path_channel.distinct_channels * path_channel.times) AS shapley_credit,
        CASE
            WHEN touch.touches = 1 THEN 'only' WHEN touch.position = 1 THEN 'first'
            WHEN touch.position = touch.touches THEN 'last' ELSE 'middle'
        END AS role
    FROM attribution_touch_rows AS touch
    INNER JOIN attribution_journeys AS journey ON journey.path_id = touch.path_id AND journey.weight > 0
    INNER JOIN attribution_path_channels AS path_channel
        ON path_channel.path_id = touch.path_id AND path_channel.channel = touch.channel
    $decay_join
) AS classified
CROSS JOIN attribution_models
WHERE model <> 'markov'

-- name: decay_join
-- A touch beside its decayed credit.
INNER JOIN attribution_decayed AS decayed ON decayed.path_id = touch.path_id AND decayed.position = touch.position

-- name: lists
-- DuckDB's text of an aggregated path: its channels as a list. Most labels are written `a > b`, and need not
-- be trimmed part by part.
SELECT
    path_id, weight, nulls, value_minor,
    CASE
        WHEN label <> '' AND label NOT LIKE '%  %' AND label NOT LIKE ' %' AND label NOT LIKE '% '
            AND REPLACE(label, ' > ', '') NOT LIKE '%>%' THEN string_split(label, ' > ')
        ELSE list_filter(list_transform(string_split(label, '>'), lambda part: TRIM(part)), lambda part: part <> '')
    END AS channels
FROM attribution_journeys

-- name: list_last_touches
-- The last max_touches of each list.
SELECT * REPLACE (channels[-$max_touches:] AS channels) FROM $relation

-- name: list_other_channels
-- Lists without the excluded channels.
SELECT * REPLACE (list_filter(channels, lambda channel: channel NOT IN ($excluded)) AS channels) FROM $relation

-- name: list_collapsed_touches
-- One touch for each run of the same channel.
SELECT
    * REPLACE (list_filter(channels, lambda channel, i: i = 1 OR channel <> channels[i - 1]) AS channels)
FROM $relation

-- name: listed_touches
-- `numbered_touches` from lists: every place is known without a sort.
SELECT
    path_id, weight, nulls, value_minor, channel, CAST(NULL AS BIGINT) AS touch_time, CAST(NULL AS BIGINT) AS lag_s,
    position, touches, position = last_other AS is_last_other
FROM (
    SELECT
        path_id, weight, nulls, value_minor, UNNEST(channels) AS channel,
        generate_subscripts(channels, 1) AS position, LEN(channels) AS touches, $last_other AS last_other
    FROM attribution_lists
) AS opened

-- name: last_other
-- The place of the last channel that is not direct, or the last place of all.
CASE
    WHEN channels[-1] <> $direct THEN LEN(channels)
    ELSE LEN(channels) + 1 - COALESCE(
        NULLIF(list_position(list_transform(list_reverse(channels), lambda channel: channel <> $direct), TRUE), 0), 1
    )
END

-- name: listed_path_channels
-- `path_channels` from lists: a channel counts where it is met first.
SELECT path_id, channel, weight, value_minor, $distinct AS distinct_channels
FROM (
    SELECT
        path_id, weight, value_minor, channels, UNNEST(channels) AS channel,
        generate_subscripts(channels, 1) AS position
    FROM attribution_lists
) AS opened
WHERE list_position(channels, channel) = position

-- name: placed
-- Where no model asks for single paths: touches summed by all that a credit depends on, in one pass over the paths, none
-- of which is kept. A touch between the ends has the position 2; a path without any is one of no channel.
SELECT
    channel, touches, position, is_last_other, is_new, distinct_channels,
    CAST(SUM(weight) AS BIGINT) AS weight, CAST(SUM(value_minor) AS $value_type) AS value_minor
FROM (
    SELECT
        channel, touches, weight, value_minor, distinct_channels,
        position = last_other AS is_last_other, list_position(channels, channel) = position AS is_new,
        CASE WHEN position = 1 THEN 1 WHEN position = touches THEN touches ELSE 2 END AS position
    FROM (
        SELECT
            weight, value_minor, channels, LEN(channels) AS touches, $last_other AS last_other,
            $distinct AS distinct_channels,
            UNNEST(CASE WHEN LEN(channels) = 0 THEN [NULL] ELSE channels END) AS channel,
            generate_subscripts(CASE WHEN LEN(channels) = 0 THEN [NULL] ELSE channels END, 1) AS position
        FROM attribution_lists
    ) AS opened
) AS classified
GROUP BY channel, touches, position, is_last_other, is_new, distinct_channels

-- name: placed_touches
-- What `cells` reads of them.
SELECT channel, touches, position, is_last_other, weight, value_minor FROM attribution_placed WHERE touches > 0

-- name: placed_path_channels
-- What `visits` reads of them.
SELECT channel, distinct_channels, weight, value_minor FROM attribution_placed WHERE touches > 0 AND is_new

-- name: placed_journeys
-- What `totals` reads of them: each path at its first touch, or as one without any.
SELECT weight, value_minor FROM attribution_placed WHERE position = 1
