-- A tick is one change of one row: any number of workers tick once an interval. None waits for a lock.
\set SHOW_CONTEXT never
SET search_path = fixture;
SELECT renew();
SELECT register('a', 1) AS a \gset
SELECT streamhouse.tick_interval_ms() AS interval_ms \gset
SELECT streamhouse.monotonic_ms() > 0 AS it_runs;

-- The first one ticks; a second one in the same interval does not, nor does one whose time is from before it.
SELECT streamhouse.worker_tick(1000000) IS NOT NULL AS ticked;
SELECT streamhouse.worker_tick(1000000), streamhouse.worker_tick(1000000 + :interval_ms - 1),
       streamhouse.worker_tick(1000000 - :interval_ms + 1);
SELECT number, ticked_ms FROM streamhouse.lease_clock;
SELECT ticks_left, silent_ms = :interval_ms AS counted FROM streamhouse.lease;
SELECT streamhouse.worker_tick(1000000 + :interval_ms) IS NOT NULL AS ticked;
SELECT number, ticked_ms = 1000000 + :interval_ms AS then FROM streamhouse.lease_clock;
SELECT ticks_left FROM streamhouse.lease;

-- After a pause one interval counts, and so after a start of the machine, where the clock begins anew.
SELECT streamhouse.worker_tick(90000000) IS NOT NULL AS ticked;
SELECT streamhouse.worker_tick(5) IS NOT NULL AS ticked;
SELECT number, ticked_ms FROM streamhouse.lease_clock;
SELECT ticks_left, silent_ms = 4 * :interval_ms AS counted FROM streamhouse.lease;

-- True when agents are to be placed anew, which it does only when nobody changes anything.
SELECT streamhouse.worker_tick(5 + n * :interval_ms) AS due FROM generate_series(1, 6) AS n;
SELECT state FROM streamhouse.agents;
SELECT streamhouse.rebalance_if_free();
SELECT placed_agents FROM streamhouse.cluster;


-- Whatever the time since the tick before, one interval counts.
SELECT register('late', 2) AS late \gset
SELECT streamhouse.lease_tick(90000000) IS NOT NULL AS ticked;
SELECT silent_ms = :interval_ms AS counted FROM streamhouse.lease WHERE incarnation_id = :late;
