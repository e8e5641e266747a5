-- name: no_events
-- Events, when only purchases are known.
SELECT * FROM (
    SELECT '' AS user_id, CAST(0 AS BIGINT) AS time, '' AS event, '' AS channel, CAST(0 AS BIGINT) AS session_index
) AS nothing WHERE FALSE

-- name: purchases_of_events
-- Conversion events with a value are purchases where no transactions are given.
SELECT user_id AS customer_id, time, value_minor AS amount_minor
FROM events
WHERE $is_conversion AND value_minor IS NOT NULL

-- name: times
-- Every time at which anything is known.
SELECT time FROM $events UNION ALL SELECT time FROM transactions

-- name: seen
-- When each customer was first and last seen, by event or transaction.
SELECT customer_id, MIN(first_seen) AS first_seen, MAX(last_seen) AS last_seen, CAST(SUM(events) AS BIGINT) AS events
FROM (
    SELECT user_id AS customer_id, MIN(time) AS first_seen, MAX(time) AS last_seen, COUNT(*) AS events
    FROM $events
    WHERE time < $until
    GROUP BY user_id
    UNION ALL
    SELECT customer_id, MIN(time), MAX(time), 0
    FROM transactions
    WHERE time < $until
    GROUP BY customer_id
) AS both_kinds
GROUP BY customer_id

-- name: top_events
-- Each customer's most frequent event; ties go to the first in byte order.
SELECT user_id, event
FROM (
    SELECT
        user_id, event, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY COUNT(*) DESC, event) AS place
    FROM $events
    WHERE time < $until
    GROUP BY user_id, event
) AS placed
WHERE place = 1

-- name: visits
-- How many sessions, and the channels of the first and the last.
SELECT
    user_id, COUNT(*) AS sessions,
    MIN_BY(channel, session_index) AS first_channel,
    MAX_BY(channel, session_index) AS last_channel
FROM $sessions
GROUP BY user_id

-- name: money
-- Purchases, and what remains of them after refunds.
SELECT
    customer_id,
    COUNT(CASE WHEN amount_minor >= 0 THEN 1 END) AS orders,
    CAST(SUM(amount_minor) AS BIGINT) AS net_minor
FROM transactions
WHERE time < $until
GROUP BY customer_id

-- name: aliases
-- The ids that a customer was known under before, in byte order.
SELECT canonical AS customer_id, $joined AS aliases
FROM (
    SELECT canonical, id, ROW_NUMBER() OVER (PARTITION BY canonical ORDER BY id) AS place
    FROM identity_map
    WHERE id <> canonical
) AS placed
WHERE place <= $max_aliases
GROUP BY canonical

-- name: no_aliases
-- Nobody was known under another id.
SELECT * FROM (SELECT '' AS customer_id, '' AS aliases) AS nothing WHERE FALSE

-- name: profile
-- One row for each customer.
SELECT
    seen.customer_id,
    COALESCE(aliases.aliases, '') AS aliases,
    seen.first_seen,
    seen.last_seen,
    COALESCE(visits.sessions, 0) AS sessions,
    seen.events,
    COALESCE(money.orders, 0) AS orders,
    COALESCE(money.net_minor, 0) AS net_minor,
    CAST(money.net_minor AS DOUBLE) / NULLIF(money.orders, 0) AS aov_minor,
    visits.first_channel,
    visits.last_channel,
    CAST(rfm.r AS INTEGER) AS r,
    CAST(rfm.f AS INTEGER) AS f,
    CAST(rfm.m AS INTEGER) AS m,
    rfm.segment,
    clv.p_alive,
    clv.clv_minor AS clv_12m_minor,
    top_events.event AS top_event,
    $as_of_day - $last_day AS days_since_last
FROM profile_seen AS seen
LEFT JOIN profile_aliases AS aliases ON aliases.customer_id = seen.customer_id
LEFT JOIN profile_visits AS visits ON visits.user_id = seen.customer_id
LEFT JOIN profile_money AS money ON money.customer_id = seen.customer_id
LEFT JOIN rfm ON rfm.customer_id = seen.customer_id
LEFT JOIN clv ON clv.customer_id = seen.customer_id
LEFT JOIN profile_top_events AS top_events ON top_events.user_id = seen.customer_id
