-- name: starts
-- The period starts that there are.
SELECT DISTINCT period_start AS start FROM items WHERE period_start IS NOT NULL ORDER BY start

-- name: placed
-- Every row with its period number and its segment.
SELECT item, COALESCE(segment, '(all)') AS segment, $period AS period, value, user_id, time
FROM items
WHERE $segments

-- name: placed_last
-- Only the latest rows of each item and period: what the metric `last` looks at.
SELECT item, segment, period, value, user_id, time
FROM (
    SELECT *, RANK() OVER (PARTITION BY item, segment, period ORDER BY time DESC) AS age FROM ranking_placed
) AS aged
WHERE age = 1

-- name: metrics
-- One number for each item; items without one, or below the minimum, are not ranked.
SELECT item, segment, period, metric
FROM (
    SELECT item, segment, period, $metric AS metric FROM $relation GROUP BY item, segment, period
) AS measured
WHERE metric IS NOT NULL AND $minimum

-- name: ranked
-- All the ways to number ties, over every item of a segment and period.
SELECT
    *,
    CAST(rank_min + rank_max AS DOUBLE) / 2 AS avg_rank
FROM (
    SELECT
        item, segment, period, metric,
        RANK() OVER (PARTITION BY segment, period ORDER BY metric $direction) AS rank_min,
        COUNT(*) OVER (
            PARTITION BY segment, period ORDER BY metric $direction RANGE UNBOUNDED PRECEDING
        ) AS rank_max,
        DENSE_RANK() OVER (PARTITION BY segment, period ORDER BY metric $direction) AS dense_rank,
        ROW_NUMBER() OVER (PARTITION BY segment, period ORDER BY metric $direction, item ASC) AS ordinal,
        COUNT(*) OVER (PARTITION BY segment, period) AS ranked_items,
        ROUND(SUM(metric) OVER (PARTITION BY segment, period), 9) AS total,
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
    latest.ranked_items, latest.total, latest.running
FROM ranking_ranked AS latest
FULL OUTER JOIN ranking_ranked AS earlier
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
        WHEN rank_min IS NULL THEN NULL
        ELSE COALESCE(CAST(rank_min - 1 AS DOUBLE) / NULLIF(ranked_items - 1, 0), 0e0)
    END AS percent_rank,
    CAST(rank_max AS DOUBLE) / NULLIF(ranked_items, 0) AS cume_dist,
    CAST(previous_shown_rank AS INTEGER) AS previous_rank,
    CAST(CASE WHEN moved_by >= 0 THEN FLOOR(moved_by) ELSE CEIL(moved_by) END AS INTEGER) AS movement,
    CASE
        WHEN shown_rank IS NULL THEN 'dropped'
        WHEN previous_shown_rank IS NULL THEN 'new'
        WHEN moved_by > 0 THEN 'up'
        WHEN moved_by < 0 THEN 'down'
        ELSE 'same'
    END AS status,
    previous_metric,
    metric - previous_metric AS change,
    CAST(NULL AS DOUBLE) AS lower_bound,
    CAST(NULL AS DOUBLE) AS upper_bound
FROM ranking_cut
WHERE is_inside = 1

-- name: other
-- What the cut left out, added up in one row for each segment and period.
SELECT
    $period_start AS period_start,
    segment,
    CAST(NULL AS INTEGER), CAST(NULL AS INTEGER), CAST(NULL AS INTEGER), CAST(NULL AS DOUBLE), CAST(NULL AS INTEGER),
    '(other)' AS item,
    SUM(metric) AS metric,
    SUM(metric) / NULLIF(MAX(total), 0e0) AS share,
    CASE WHEN MAX(total) <> 0e0 THEN 1e0 END AS cumulative_share,
    CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS INTEGER), CAST(NULL AS INTEGER),
    CAST(NULL AS STRING), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE), CAST(NULL AS DOUBLE)
FROM ranking_cut
WHERE is_inside = 0 AND rank_min IS NOT NULL
GROUP BY period, segment
