"""Replicas that ended long ago are forgotten, but for how many there were, why they ended, and how long they took to
start. A model that sleeps and wakes leaves one each time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import LiteralString

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenfold_platform.gateway.queries import END_REASON

KEPT_FOR = timedelta(days=7)
KEPT_OF_EACH = 20  # of a deployment, however long ago they ended

_FORGET: LiteralString = f"""
with ended as (
    select id, row_number() over (partition by deployment_id order by ended_at desc nulls last, id desc) as age
    from replicas where state in ('stopped', 'failed')),
gone as (
    delete from replicas r using ended
    where r.id = ended.id and ended.age > :kept and coalesce(r.ended_at, r.created_at) < :before
    returning r.deployment_id, {END_REASON} as reason, r.ready_at - r.started_at as cold_start),
added as (
    insert into replica_ends as known (deployment_id, reason, replicas, cold_starts, cold_start_seconds)
    select deployment_id, reason, count(*), count(cold_start), coalesce(extract(epoch from sum(cold_start)), 0)
    from gone group by deployment_id, reason
    on conflict (deployment_id, reason) do update set
        replicas = known.replicas + excluded.replicas,
        cold_starts = known.cold_starts + excluded.cold_starts,
        cold_start_seconds = known.cold_start_seconds + excluded.cold_start_seconds)
select count(*) from gone
"""  # noqa: S608 (of constants)


def forget_ended(session: Session, now: datetime) -> int:
    """How many replicas were forgotten."""
    return int(session.execute(text(_FORGET), {"kept": KEPT_OF_EACH, "before": now - KEPT_FOR}).scalar_one())
