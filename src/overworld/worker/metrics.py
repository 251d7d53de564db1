"""What a worker counts. docs/metrics.md has every one of them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)

JOBS_ENDED = Counter("overworld_jobs_total", "Jobs that ended.", ["kind", "outcome"])
JOBS_IN_WORK = Gauge("overworld_jobs_in_work", "Jobs that this worker works on.")
JOB_SECONDS = Histogram("overworld_job_seconds", "From the begin of an attempt to its end.", ["kind"], buckets=_SECONDS)
SCHEDULED = Counter(
    "overworld_jobs_scheduled_total", "Jobs that schedules opened, and skipped because nobody had played.", ["what"]
)
SAVE_BYTES = Counter("overworld_save_new_bytes_total", "Bytes that saves added to the store.")
SAVING_OFF_SECONDS = Histogram(
    "overworld_saving_off_seconds",
    "How long games were told not to write.",
    buckets=(0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60),
)
UNQUIETED = Counter("overworld_saves_unquieted_total", "Saves of running games whose proof did not come.")
OLDEST_SAVE_SECONDS = Gauge(
    "overworld_oldest_save_age_seconds", "Age of the newest save of that running server whose newest save is oldest."
)
OLDEST_PROOF_SECONDS = Gauge(
    "overworld_oldest_proof_age_seconds", "Age of the newest proof of that server with saves whose proof is oldest."
)
TROUBLED_SERVERS = Gauge("overworld_servers_with_save_problems", "Servers whose saves have an open problem.")
STORE_BYTES = Gauge("overworld_save_store_bytes", "What all kept saves added to the store.")
DUMPS = Counter("overworld_dumps_total", "Dumps of the database to the save store.", ["outcome"])
DUMP_AGE_SECONDS = Gauge("overworld_dump_age_seconds", "Age of the newest dump of the database; 0 if there is none.")
RECOVERABLE = Gauge(
    "overworld_recoverable", "1 if the installation could be brought back were its machine lost now, else 0."
)
