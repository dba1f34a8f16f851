"""The Celery application: JSON messages, no results, no beat, acknowledged late."""

from __future__ import annotations

from typing import Any

from celery import Celery

QUEUE = "tenfold"


def make_celery(redis_url: str) -> Any:
    """A Celery app on a Redis broker. Tasks take one row id; a lost or doubled message changes nothing."""
    app = Celery("tenfold", broker=redis_url)
    app.conf.update(
        task_default_queue=QUEUE,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        task_send_sent_event=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            # A killed worker's message comes back only when the transport looks for it often (default: every 10 polls).
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "max_retries": 1,
        },
    )
    return app
