-- name: purchase_periods
-- One row for each customer and purchase period up to the last day; refunds are no purchases.
SELECT customer_id, period, CAST(SUM(amount_minor) AS BIGINT) AS amount_minor
FROM (
    SELECT customer_id, $period AS period, amount_minor
    FROM transactions
    WHERE amount_minor >= 0 AND $until
) AS purchases
GROUP BY customer_id, period

-- name: purchases
-- The columns that the compiled kernel merges into what `known` finds.
SELECT customer_id, CAST($period AS INTEGER) AS period, amount_minor
FROM transactions
WHERE amount_minor >= 0 AND $until

-- name: known
-- Every customer's purchase periods, and what was spent in all but the first.
SELECT
    customer_id,
    COUNT(*) AS purchases,
    MIN(period) AS first_period,
    MAX(period) AS last_period,
    CAST(SUM(amount_minor) - MIN_BY(amount_minor, period) AS DOUBLE) AS repeat_minor
FROM $periods
GROUP BY customer_id

-- name: summary
-- What the lifetime value models read: the first period is not counted in frequency, nor in the mean.
SELECT
    customer_id,
    purchases - 1 AS frequency,
    CAST(last_period - first_period AS DOUBLE) / $multiplier AS recency,
    CAST($last_period - first_period AS DOUBLE) / $multiplier AS T,
    COALESCE(repeat_minor / NULLIF(purchases - 1, 0), 0e0) AS monetary_minor,
    $unit AS unit
FROM $known

-- name: held_out
-- Purchase periods after the calibration, and what was spent in them.
SELECT customer_id, COUNT(*) AS purchases, CAST(SUM(amount_minor) AS BIGINT) AS amount_minor
FROM (
    SELECT customer_id, period, SUM(amount_minor) AS amount_minor
    FROM (
        SELECT customer_id, $period AS period, amount_minor
        FROM transactions
        WHERE amount_minor >= 0 AND $day > $after_day AND $day <= $last_day
    ) AS later
    GROUP BY customer_id, period
) AS by_period
GROUP BY customer_id

-- name: holdout
-- The customers known at the end of the calibration, with what they did after it.
SELECT
    known.customer_id,
    known.frequency AS frequency_cal,
    known.recency AS recency_cal,
    known.T AS T_cal,
    known.monetary_minor AS monetary_minor_cal,
    COALESCE(held.purchases, 0) AS frequency_holdout,
    COALESCE(CAST(held.amount_minor AS DOUBLE) / held.purchases, 0e0) AS monetary_holdout,
    $duration AS duration,
    $unit AS unit
FROM customer_calibration AS known
LEFT JOIN customer_held_out AS held ON held.customer_id = known.customer_id

-- name: rfm_values
-- Days since the last purchase day, number of purchase days, net money with refunds taken off.
SELECT
    customer_id,
    CAST($last_day - MAX(CASE WHEN amount_minor >= 0 THEN day END) AS BIGINT) AS recency_days,
    COUNT(DISTINCT CASE WHEN amount_minor >= 0 THEN day END) AS frequency,
    CAST(SUM(amount_minor) AS BIGINT) AS monetary_minor
FROM (SELECT customer_id, amount_minor, $day AS day FROM transactions) AS dated
WHERE day <= $last_day
GROUP BY customer_id
HAVING COUNT(CASE WHEN amount_minor >= 0 THEN 1 END) > 0

-- name: rfm_ntile
-- Scores by equal-sized groups; the customer id breaks ties, so the same input gives the same scores.
SELECT
    *,
    $buckets + 1 - NTILE($buckets) OVER (ORDER BY recency_days ASC, customer_id ASC) AS r,
    NTILE($buckets) OVER (ORDER BY frequency ASC, customer_id ASC) AS f,
    NTILE($buckets) OVER (ORDER BY monetary_minor ASC, customer_id ASC) AS m
FROM rfm_values

-- name: rfm_thresholds
-- Scores by the user's cut points; customers with equal values share a score.
SELECT *, 1 + $r_steps AS r, 1 + $f_steps AS f, 1 + $m_steps AS m
FROM rfm_values

-- name: rfm_segmented
-- The segment whose box holds (r, f).
SELECT
    customer_id, recency_days, frequency, monetary_minor, r, f, m, rfm, COALESCE(name, 'other') AS segment
FROM (
    SELECT
        scored.*,
        CAST(r AS STRING) || CAST(f AS STRING) || CAST(m AS STRING) AS rfm,
        boxes.name,
        ROW_NUMBER() OVER (
            PARTITION BY customer_id
            ORDER BY boxes.r_lo DESC NULLS LAST, boxes.f_lo DESC NULLS LAST, boxes.name ASC NULLS LAST
        ) AS choice
    FROM rfm_scored AS scored
    LEFT JOIN rfm_segments AS boxes
        ON scored.r BETWEEN boxes.r_lo AND boxes.r_hi AND scored.f BETWEEN boxes.f_lo AND boxes.f_hi
) AS chosen
WHERE choice = 1
