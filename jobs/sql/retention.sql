-- name: user_patterns
-- Each user's periods as the bits of one number: bit k is the period base + k.
SELECT
    user_id,
    MIN(CASE WHEN $is_start THEN time END) AS started_at,
    BIT_OR(CASE WHEN $is_return THEN $bit ELSE CAST(0 AS BIGINT) END) AS pattern,
    $breakdown AS breakdown
FROM events
WHERE ($is_start OR $is_return) AND time <= $data_through
GROUP BY user_id

-- name: patterns
-- Users who started in the same period and came back at the same ages, counted; bit k is age k.
SELECT cohort, breakdown, $ages AS pattern, COUNT(*) AS users
FROM (
    SELECT $period AS cohort, breakdown, pattern FROM retention_user_patterns WHERE started_at IS NOT NULL
) AS started
GROUP BY cohort, breakdown, $ages

-- name: pattern_sizes
-- Cohorts with their sizes.
SELECT cohort, breakdown, CAST(SUM(users) AS BIGINT) AS cohort_size
FROM retention_patterns
GROUP BY cohort, breakdown

-- name: pattern_users
-- Users whose pattern says that they came back, as the mode has it.
SELECT grid.cohort, grid.breakdown, grid.age, CAST(SUM(patterns.users) AS BIGINT) AS users
FROM retention_grid AS grid
INNER JOIN retention_patterns AS patterns
    ON patterns.cohort = grid.cohort AND patterns.breakdown = grid.breakdown
WHERE $is_retained
GROUP BY grid.cohort, grid.breakdown, grid.age

-- name: user_periods
-- Each user's periods, once each: whether they came back in it, and when they started in it, if they did.
SELECT
    user_id,
    $period AS period,
    MAX(CASE WHEN $is_return THEN 1 ELSE 0 END) AS returned,
    MIN(CASE WHEN $is_start THEN time END) AS started_at,
    $breakdown AS breakdown
FROM events
WHERE ($is_start OR $is_return) AND time <= $data_through
GROUP BY user_id, $period

-- name: starts
-- Each user's first start event ever, its period, and the property that the result is broken down by.
SELECT
    user_id,
    MIN(period) AS cohort,
    MIN(started_at) AS started_at,
    MIN_BY(breakdown, period) AS breakdown
FROM retention_user_periods
WHERE started_at IS NOT NULL
GROUP BY user_id

-- name: activity
-- The ages at which each user came back, once each.
SELECT starts.user_id, starts.cohort, starts.breakdown, active.period - starts.cohort AS age
FROM retention_user_periods AS active
INNER JOIN retention_starts AS starts ON starts.user_id = active.user_id AND active.period >= starts.cohort
WHERE active.returned = 1

-- name: rolling_activity
-- The full days of 24 hours after which each user came back, once each.
SELECT DISTINCT
    starts.user_id, starts.cohort, starts.breakdown,
    CAST(FLOOR((events.time - starts.started_at) / 86400) AS BIGINT) AS age
FROM retention_starts AS starts
INNER JOIN events ON events.user_id = starts.user_id AND events.time >= starts.started_at
WHERE $is_return AND events.time <= $data_through

-- name: sizes
-- Cohorts with their sizes.
SELECT cohort, breakdown, COUNT(*) AS cohort_size
FROM retention_starts
GROUP BY cohort, breakdown

-- name: series
-- The ages that a cohort has lived through; later ones have no row at all.
SELECT cohort, breakdown, cohort_size, age_row AS age, age_row AS age_last
FROM (SELECT cohort, breakdown, cohort_size, $ages AS age_row FROM retention_sizes) AS lived

-- name: brackets
-- The brackets that a cohort has lived through to their last age.
SELECT cohort, breakdown, cohort_size, brackets.low AS age, brackets.high AS age_last
FROM retention_sizes
INNER JOIN (SELECT * FROM (VALUES $brackets) AS listed(low, high)) AS brackets
    ON retention_sizes.cohort + brackets.high <= $last_period

-- name: users_at
-- Users active at exactly this age.
SELECT cohort, breakdown, age, COUNT(*) AS users
FROM retention_activity
GROUP BY cohort, breakdown, age

-- name: users_from
-- Users whose last activity is at this age or later; they are counted by that age before they are added up.
SELECT grid.cohort, grid.breakdown, grid.age, CAST(COALESCE(SUM(last_seen.users), 0) AS BIGINT) AS users
FROM retention_grid AS grid
LEFT JOIN (
    SELECT cohort, breakdown, age, COUNT(*) AS users
    FROM (
        SELECT user_id, cohort, breakdown, MAX(age) AS age
        FROM retention_activity
        GROUP BY user_id, cohort, breakdown
    ) AS by_user
    GROUP BY cohort, breakdown, age
) AS last_seen
    ON last_seen.cohort = grid.cohort AND last_seen.breakdown = grid.breakdown AND last_seen.age >= grid.age
GROUP BY grid.cohort, grid.breakdown, grid.age

-- name: users_within
-- Users active at any age of the bracket.
SELECT grid.cohort, grid.breakdown, grid.age, COUNT(DISTINCT active.user_id) AS users
FROM retention_grid AS grid
LEFT JOIN retention_activity AS active
    ON active.cohort = grid.cohort AND active.breakdown = grid.breakdown
    AND active.age >= grid.age AND active.age <= grid.age_last
GROUP BY grid.cohort, grid.breakdown, grid.age

-- name: cells
-- One row for each cohort and age; a cell of a period that is still running is not mature.
SELECT
    $cohort_start AS cohort_start,
    $unit AS period_unit,
    grid.cohort_size,
    CAST(grid.age AS INTEGER) AS age,
    COALESCE(counted.users, 0) AS users,
    CAST(COALESCE(counted.users, 0) AS DOUBLE) / NULLIF(grid.cohort_size, 0) AS rate,
    $mode AS mode,
    $mature AS mature,
    grid.breakdown
FROM retention_grid AS grid
LEFT JOIN retention_users AS counted
    ON counted.cohort = grid.cohort AND counted.breakdown = grid.breakdown AND counted.age = grid.age

-- name: pooled
-- All mature cohorts of an age together, weighted by their size.
SELECT
    period_unit, age, mode, breakdown,
    CAST(SUM(users) AS BIGINT) AS users,
    CAST(SUM(cohort_size) AS BIGINT) AS cohort_size,
    CAST(SUM(users) AS DOUBLE) / NULLIF(CAST(SUM(cohort_size) AS DOUBLE), 0e0) AS rate
FROM retention
WHERE mature
GROUP BY period_unit, age, mode, breakdown
