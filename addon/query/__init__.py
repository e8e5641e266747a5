"""SQL: the gate and the dialects, the job queue's runner, sandboxed workers, results, analyses."""
