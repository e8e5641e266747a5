-- name: starts
-- The period starts that there are.
SELECT DISTINCT period_start AS start FROM items WHERE period_start IS NOT NULL ORDER BY start

-- name: times
-- What the periods are found from.
SELECT $column AS time FROM items

-- name: unusable
-- Rows that cannot be ranked, by the first reason.
SELECT reason, COUNT(*) AS n
FROM (SELECT CASE $cases END AS reason FROM items WHERE $segments) AS judged
WHERE reason IS NOT NULL
GROUP BY reason

-- name: placed
-- Every row with its period number and its segment.
SELECT
    item, COALESCE(segment, '(all)') AS segment, $period AS period, value, user_id, time, ups, downs, created
FROM items
WHERE $segments

-- name: placed_last
-- Only the latest rows of each item and period: what the metric `last` looks at.
SELECT item, segment, period, value, user_id, time, ups, downs, created
FROM (
    SELECT *, RANK() OVER (PARTITION BY item, segment, period ORDER BY time DESC) AS age FROM ranking_placed
) AS aged
WHERE age = 1

-- name: decay
-- Each row counts less by half for each half-life that it is older than as_of.
ROUND(SUM(COALESCE(CAST(value AS DOUBLE), 1e0) * POWER(2e0, -LEAST(($as_of - time) / $half_life, 1074e0))), 9)

-- name: hn
-- Votes but the author's own, pulled down by the age in hours.
ROUND(
    GREATEST(CAST(SUM(ups) AS DOUBLE) - 1e0, 0e0) / POWER(($as_of - MIN(created)) / 3600e0 + 2e0, $gravity), 9
)

-- name: reddit_hot
-- Ten times the votes weigh as much as 12.5 hours.
ROUND(
    SIGN(CAST(SUM(ups) - SUM(downs) AS DOUBLE)) * LOG10(GREATEST(ABS(CAST(SUM(ups) - SUM(downs) AS DOUBLE)), 1e0))
    + (MIN(created) - 1134028003) / 45000e0, 7
)

-- name: wilson_low
-- The lower end of Wilson's interval of the share of ups; 0 without votes.
ROUND(
    CASE
        WHEN SUM(ups) + SUM(downs) = 0 THEN 0e0
        ELSE (
            CAST(SUM(ups) AS DOUBLE) / NULLIF(SUM(ups) + SUM(downs), 0)
            + $z * $z / (2e0 * NULLIF(SUM(ups) + SUM(downs), 0))
            - $z * SQRT(
                CAST(SUM(ups) AS DOUBLE) * CAST(SUM(downs) AS DOUBLE)
                / POWER(CAST(NULLIF(SUM(ups) + SUM(downs), 0) AS DOUBLE), 3e0)
                + $z * $z / (4e0 * POWER(CAST(NULLIF(SUM(ups) + SUM(downs), 0) AS DOUBLE), 2e0))
            )
        ) / (1e0 + $z * $z / NULLIF(SUM(ups) + SUM(downs), 0))
    END, 9
)

-- name: bayes
-- The mean, drawn towards the mean of all rows of the segment and period as if it had been seen that often before.
ROUND(
    (
        CAST(SUM(value) AS DOUBLE)
        + $prior * CAST(SUM(SUM(value)) OVER (PARTITION BY segment, period) AS DOUBLE)
        / SUM(COUNT(value)) OVER (PARTITION BY segment, period)
    ) / (COUNT(value) + $prior), 9
)

-- name: metrics
-- One number for each item; items without one, or below the minimum, are not ranked.
SELECT
    item, segment, period, metric, CAST(NULL AS DOUBLE) AS lower_bound, CAST(NULL AS DOUBLE) AS upper_bound,
    CAST(NULL AS DOUBLE) AS exact_total
FROM ($measured) AS measured
WHERE metric IS NOT NULL AND $minimum

-- name: measured
-- The metric of each item, segment and period.
SELECT item, segment, period, $metric AS metric FROM $relation GROUP BY item, segment, period

-- name: trending
-- How many deviations a period is above the mean of the $periods before it; a period without a row counts 0. The
-- deviation is taken from the mean in a second step, so that large numbers do not swallow small differences.
SELECT
    item, segment, period,
    ROUND((now_value - mean) / SQRT((SUM(off) + ($periods - COUNT(before_value)) * mean * mean) / $periods + 1e0), 9)
    AS metric
FROM (
    SELECT *, COALESCE((before_value - mean) * (before_value - mean), 0e0) AS off
    FROM (
        SELECT
            latest.item, latest.segment, latest.period, latest.metric AS now_value, earlier.metric AS before_value,
            COALESCE(SUM(earlier.metric) OVER (PARTITION BY latest.item, latest.segment, latest.period), 0e0)
            / $periods AS mean
        FROM ranking_measured AS latest
        LEFT JOIN (
            SELECT item, segment, period + distance AS period, metric
            FROM ranking_measured
            CROSS JOIN (VALUES $distances) AS listed(distance)
        ) AS earlier
            ON earlier.item = latest.item AND earlier.segment = latest.segment AND earlier.period = latest.period
    ) AS compared
) AS deviating
GROUP BY item, segment, period, now_value, mean

-- name: negative_values
-- Rows that a summary of counters cannot take.
SELECT COUNT(*) AS n FROM $relation WHERE value < 0

-- name: approx_parts
-- Exact sums of each part of the rows; a part is what shares a minute, modulo their number.
SELECT segment, period, part, item, ROUND(CAST(SUM(weight) AS DOUBLE), 9) AS counted
FROM (
    SELECT
        segment, period, item, $weight AS weight,
        CAST(FLOOR(COALESCE(time, 0) / 60) AS BIGINT) % $parts AS part
    FROM $relation
) AS cut
GROUP BY segment, period, part, item

-- name: approx_part_summaries
-- At most $slots items of each part, less what the next one counted, and that beside them.
SELECT segment, period, part, item, counted - taken AS counted, taken
FROM (
    SELECT
        *, COALESCE(MAX(CASE WHEN place = $slots + 1 THEN counted END) OVER (PARTITION BY segment, period, part), 0e0)
        AS taken
    FROM (
        SELECT
            *, ROW_NUMBER() OVER (PARTITION BY segment, period, part ORDER BY counted DESC, item ASC) AS place
        FROM ranking_parts
    ) AS placed
) AS compared
WHERE place <= $slots + 1

-- name: approx_summary
-- The summaries of all parts added up, and cut in the same way.
SELECT segment, period, item, counted - taken AS counted, taken
FROM (
    SELECT
        *, COALESCE(MAX(CASE WHEN place = $slots + 1 THEN counted END) OVER (PARTITION BY segment, period), 0e0)
        AS taken
    FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY segment, period ORDER BY counted DESC, item ASC) AS place
        FROM (
            SELECT segment, period, item, ROUND(SUM(counted), 9) AS counted
            FROM ranking_part_summaries
            GROUP BY segment, period, item
        ) AS added
    ) AS placed
) AS compared
WHERE place <= $slots + 1 AND counted > taken

-- name: approx_metrics
-- What an item counted for sure, and at most.
SELECT
    summary.item, summary.segment, summary.period, summary.counted AS metric, summary.counted AS lower_bound,
    ROUND(summary.counted + summary.taken + lost.taken, 9) AS upper_bound, totals.total AS exact_total
FROM ranking_summary AS summary
INNER JOIN (
    SELECT segment, period, SUM(taken) AS taken
    FROM (SELECT segment, period, part, MAX(taken) AS taken FROM ranking_part_summaries GROUP BY segment, period, part)
    AS by_part
    GROUP BY segment, period
) AS lost ON lost.segment = summary.segment AND lost.period = summary.period
INNER JOIN (
    SELECT segment, period, ROUND(SUM(counted), 9) AS total FROM ranking_parts GROUP BY segment, period
) AS totals ON totals.segment = summary.segment AND totals.period = summary.period

-- name: bounds
-- A listed item is certainly in the top when none of those below the cut can have counted more. An item that the
-- summary has lost counted at most what it took off, which is less than the upper bound of any item in it.
SELECT $period_start AS period_start, segment, item, lower_bound, upper_bound, lower_bound >= bar AS guaranteed
FROM (
    SELECT
        listed.period, listed.segment, listed.item, listed.lower_bound, listed.upper_bound,
        COALESCE(below.upper_bound, listed.upper_bound - listed.lower_bound) AS bar
    FROM ranking_cut AS listed
    LEFT JOIN (
        SELECT segment, period, MAX(upper_bound) AS upper_bound
        FROM ranking_cut
        WHERE ordinal > $top
        GROUP BY segment, period
    ) AS below ON below.segment = listed.segment AND below.period = listed.period
    WHERE listed.is_inside = 1
) AS compared

-- name: ranked
-- All the ways to number ties, over every item of a segment and period.
SELECT
    *,
    CAST(rank_min + rank_max AS DOUBLE) / 2 AS avg_rank
FROM (
    SELECT
        item, segment, period, metric, lower_bound, upper_bound,
        RANK() OVER (PARTITION BY segment, period ORDER BY metric $direction) AS rank_min,
        COUNT(*) OVER (
            PARTITION BY segment, period ORDER BY metric $direction RANGE UNBOUNDED PRECEDING
        ) AS rank_max,
        DENSE_RANK() OVER (PARTITION BY segment, period ORDER BY metric $direction) AS dense_rank,
        ROW_NUMBER() OVER (PARTITION BY segment, period ORDER BY metric $direction, item ASC) AS ordinal,
        COUNT(*) OVER (PARTITION BY segment, period) AS ranked_items,
        $total AS total,
        ROUND(SUM(metric) OVER (
            PARTITION BY segment, period ORDER BY metric $direction, item ASC ROWS UNBOUNDED PRECEDING
        ), 9) AS running
    FROM ranking_metrics
) AS numbered

-- name: moved
-- Each period beside the one before it; an item that is gone has a row without a rank.
SELECT
    COALESCE(latest.period, earlier.period + 1) AS period,
    COALESCE(latest.segment, earlier.segment) AS segment,
    COALESCE(latest.item, earlier.item) AS item,
    latest.metric, latest.rank_min, latest.rank_max, latest.dense_rank, latest.avg_rank, latest.ordinal,
    latest.$shown AS shown_rank, earlier.$shown AS previous_shown_rank,
    earlier.rank_min AS previous_rank_min, earlier.ordinal AS previous_ordinal,
    earlier.metric AS previous_metric,
    CAST(earlier.$moving AS DOUBLE) - CAST(latest.$moving AS DOUBLE) AS moved_by,
    latest.ranked_items, latest.total, latest.running, latest.lower_bound, latest.upper_bound
FROM ranking_ranked AS latest
$join JOIN ranking_ranked AS earlier
    ON earlier.period + 1 = latest.period AND earlier.segment = latest.segment AND earlier.item = latest.item

-- name: cut
-- The rows of the reported periods, each marked as inside or outside the top n.
SELECT moved.*, CASE WHEN $inside THEN 1 ELSE 0 END AS is_inside
FROM ranking_moved AS moved
WHERE $reported

-- name: ranking
-- The result in its columns.
SELECT
    $period_start AS period_start,
    segment,
    CAST(shown_rank AS INTEGER) AS rank,
    CAST(rank_max AS INTEGER) AS rank_max,
    CAST(dense_rank AS INTEGER) AS dense_rank,
    avg_rank,
    CAST(ordinal AS INTEGER) AS ordinal,
    item,
    metric,
    metric / NULLIF(total, 0e0) AS share,
    running / NULLIF(total, 0e0) AS cumulative_share,
    CASE
        WHEN rank_min IS NULL OR NOT $is_exact THEN NULL
        ELSE COALESCE(CAST(rank_min - 1 AS DOUBLE) / NULLIF(ranked_items - 1, 0), 0e0)
    END AS percent_rank,
    CASE WHEN $is_exact THEN CAST(rank_max AS DOUBLE) / NULLIF(ranked_items, 0) END AS cume_dist,
    CAST(previous_shown_rank AS INTEGER) AS previous_rank,
    CAST(CASE WHEN moved_by >= 0 THEN FLOOR(moved_by) ELSE CEIL(moved_by) END AS INTEGER) AS movement,
    CASE
        WHEN NOT $is_exact THEN NULL
        WHEN shown_rank IS NULL THEN 'dropped'
        WHEN previous_shown_rank IS NULL THEN 'new'
        WHEN moved_by > 0 THEN 'up'
        WHEN moved_by < 0 THEN 'down'
        ELSE 'same'
    END AS status,
    previous_metric,
    metric - previous_metric AS change,
    lower_bound,
    upper_bound
FROM ranking_cut
WHERE is_inside = 1

-- name: other
-- What the cut left out, added up in one row for each segment and period.
SELECT
    $period_start AS period_start,
    segment,
    CAST(NULL AS INTEGER), CAST(NULL AS INTEGER), CAST(NULL AS INTEGER), CAST(NULL AS DOUBLE), CAST(NULL AS INTEGER),
    '(other)' AS item,
    metric,
    metric / NULLIF(total, 0e0) AS share,
    CASE WHEN total <> 0e0 THEN 1e0 END AS cumulative_share,
    CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS INTEGER), CAST(NULL AS INTEGER),
    CAST(NULL AS STRING), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE)
FROM (
    SELECT
        period, segment, MAX(total) AS total,
        CASE
            WHEN $is_exact THEN SUM(CASE WHEN is_inside = 0 THEN metric END)
            ELSE NULLIF(ROUND(MAX(total) - SUM(CASE WHEN is_inside = 1 THEN metric END), 9), 0e0)
        END AS metric
    FROM ranking_cut
    WHERE rank_min IS NOT NULL
    GROUP BY period, segment
) AS left_out
WHERE metric IS NOT NULL
