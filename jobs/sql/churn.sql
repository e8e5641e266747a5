-- name: purchases
-- Purchases as activity; refunds are none.
SELECT customer_id AS user_id, time FROM transactions WHERE amount_minor >= 0

-- name: active
-- Each user's active periods, once each, with the ones before and after.
SELECT
    period,
    LAG(period) OVER (PARTITION BY user_id ORDER BY period) AS previous,
    LEAD(period) OVER (PARTITION BY user_id ORDER BY period) AS following
FROM (
    SELECT DISTINCT user_id, $period AS period FROM $relation WHERE $is_active AND time <= $data_through
) AS periods

-- name: flows
-- Who came, stayed, came back; and who left, counted in the period in which they are missing.
SELECT
    period,
    CAST(SUM(active) AS BIGINT) AS active,
    CAST(SUM(fresh) AS BIGINT) AS fresh,
    CAST(SUM(staying) AS BIGINT) AS staying,
    CAST(SUM(back) AS BIGINT) AS back,
    CAST(SUM(lost) AS BIGINT) AS lost,
    CAST(SUM(before) AS BIGINT) AS before
FROM (
    SELECT
        period, COUNT(*) AS active,
        COUNT(CASE WHEN previous IS NULL THEN 1 END) AS fresh,
        COUNT(CASE WHEN previous = period - 1 THEN 1 END) AS staying,
        COUNT(CASE WHEN previous < period - 1 THEN 1 END) AS back,
        0 AS lost, 0 AS before
    FROM churn_active
    GROUP BY period
    UNION ALL
    SELECT
        period + 1, 0, 0, 0, 0,
        COUNT(CASE WHEN following IS NULL OR following > period + 1 THEN 1 END), COUNT(*)
    FROM churn_active
    GROUP BY period
) AS counted
GROUP BY period

-- name: grid
-- Every period from the first to the last of the report, also those in which nobody was active.
SELECT $periods AS period

-- name: churn
-- One row for each period; a period that is still running has lost nobody for good.
SELECT
    $period_start AS period_start,
    $unit AS period_unit,
    COALESCE(active, 0) AS active,
    COALESCE(fresh, 0) AS $new,
    COALESCE(staying, 0) AS $returning,
    COALESCE(back, 0) AS resurrected,
    COALESCE(lost, 0) AS churned,
    COALESCE(before, 0) AS previous_active,
    CAST(lost AS DOUBLE) / NULLIF(CAST(before AS DOUBLE), 0e0) AS churn_rate,
    grid.period < $mature_before AS mature
FROM churn_grid AS grid
LEFT JOIN churn_flows AS flows ON flows.period = grid.period
