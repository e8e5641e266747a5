-- name: impossible
-- Rows of a given summary that no customer can have.
SELECT COUNT(*) AS n, MIN(customer_id) AS example
FROM customer_summary
WHERE frequency < 0 OR recency < 0 OR recency > T OR (frequency = 0) <> (recency = 0) OR monetary_minor < 0
    OR isnan(recency) OR isnan(T) OR isnan(monetary_minor) OR T > 1e12

-- name: customers
-- What the models know of a customer.
SELECT customer_id, frequency, recency, T, COALESCE(monetary_minor, 0e0) AS monetary_minor
FROM customer_summary

-- name: groups
-- Customers who look the same to a model of purchases, counted.
SELECT frequency, recency, T, COUNT(*) AS customers
FROM clv_customers
GROUP BY frequency, recency, T
ORDER BY frequency, recency, T

-- name: spending
-- Customers who came back for money.
SELECT frequency, monetary_minor
FROM clv_customers
WHERE frequency > 0 AND monetary_minor > 0
ORDER BY frequency, monetary_minor

-- name: clv
-- Every customer with the prediction for their group, and their own mean value.
SELECT
    customer_id, frequency, recency, T, monetary_minor, p_alive, expected_purchases,
    expected_value_minor,
    discounted * expected_value_minor AS clv_minor,
    $unit AS unit
FROM (
    SELECT customers.*, p_alive, expected_purchases, discounted, $value AS expected_value_minor
    FROM clv_customers AS customers
    INNER JOIN clv_predicted AS predicted
        ON predicted.frequency = customers.frequency
        AND predicted.recency = customers.recency AND predicted.T = customers.T
) AS valued
