"""The gateway's SQL, by name. Everything else in this package speaks of snapshots and records."""

from __future__ import annotations

from typing import LiteralString

LISTEN: LiteralString = "listen tenfold_changed"

WORKSPACES: LiteralString = "select id, name from workspaces"

MEMBERS: LiteralString = """
select m.workspace_id, m.user_id, m.role, u.email, u.name
from memberships m join users u on u.id = m.user_id
where u.disabled_at is null
"""

KEYS: LiteralString = """
select id, workspace_id, key_id, secret_hash, name, scopes, extract(epoch from expires_at)::float8 as expires_at
from keys
where revoked_at is null and (expires_at is null or expires_at > now())
"""

MODELS: LiteralString = "select id, workspace_id, name from models"

VERSIONS: LiteralString = """
select id, workspace_id, model_id, number, state, reason, hint, config -> 'runtime' as runtime,
       case when schema ->> 'form' = 'table'
            then jsonb_path_query_array(schema, '$.fields[*] ? (@.type == "str").name') end as text_columns
from model_versions
"""

ALIASES: LiteralString = "select model_id, name, version_id, canary_version_id, canary_percent from model_aliases"

SHADOWS: LiteralString = "select id, model_id, alias, version_id, percent, tolerance from model_shadows"

DEPLOYMENTS: LiteralString = """
select id, workspace_id, kind, version_id, environment_id, desired_replicas, min_replicas, max_replicas,
       asleep_since is not null as is_asleep, failures, unhealthy_reason,
       extract(epoch from retry_at)::float8 as retry_at
from deployments
"""

# Only what sleeps is woken: it may have been stopped meanwhile. The controller that leases it hears of it at once.
WAKE_DEPLOYMENTS: LiteralString = """
with woken as (
    update deployments set desired_replicas = greatest(1, min_replicas), asleep_since = null, failures = 0,
           retry_at = null, unhealthy_reason = ''
    where id = any(%s) and asleep_since is not null
    returning id)
select pg_notify('tenfold_wake', id::text) from woken
"""

# Times are PostgreSQL's, told by their age. Deployments that were deleted meanwhile are passed over.
NOTE_DEMAND: LiteralString = """
insert into deployment_demand as known (deployment_id, gateway, at, used_at, load, queued_since)
select d.deployment_id, %(gateway)s, now(), now() - make_interval(secs => d.used_ago), d.load,
       now() - make_interval(secs => d.queued_for)
from jsonb_to_recordset(%(demand)s::jsonb) as d(deployment_id uuid, used_ago float8, load float8, queued_for float8)
join deployments e on e.id = d.deployment_id
for key share of e
on conflict (deployment_id, gateway) do update set
    at = excluded.at, used_at = greatest(known.used_at, excluded.used_at), load = excluded.load,
    queued_since = excluded.queued_since
"""

# Deployments that were deleted meanwhile are passed over; rows of gateways that are gone go.
NOTE_LOADS: LiteralString = """
with forgotten as (delete from deployment_load where at < now() - interval '1 day')
insert into deployment_load as known (deployment_id, gateway, at, waiting, in_flight)
select l.deployment_id, %(gateway)s, now(), l.waiting, l.in_flight
from jsonb_to_recordset(%(loads)s::jsonb) as l(deployment_id uuid, waiting bigint, in_flight bigint)
join deployments d on d.id = l.deployment_id
for key share of d
on conflict (deployment_id, gateway) do update set
    at = excluded.at, waiting = excluded.waiting, in_flight = excluded.in_flight
"""

# For metrics: what is, and what has been, of each version that ever had a replica; the latest to start one first.
# Why a replica `r` that has ended did.
END_REASON: LiteralString = (
    "coalesce(r.exit ->> 'reason', case r.state when 'failed' then 'not_ready' else 'stopped' end)"
)

# Of the newest versions that should run, run, sleep, or ended lately.
MODEL_STATES: LiteralString = f"""
with told as materialized (
    select d.id as deployment_id, d.version_id
    from deployments d
    where d.version_id is not null and (
        d.desired_replicas > 0 or d.asleep_since is not null
        or d.id in (select deployment_id from replicas
                    where state in ('pending', 'starting', 'loading', 'ready', 'draining')
                    union all select deployment_id from replicas where ended_at > now() - interval '1 hour'))
    order by d.version_id desc limit %s),
live as (
    select deployment_id, sum(memory_bytes)::float8 as memory_bytes, max(memory_bytes) as replica_memory_bytes,
           max(peak_memory_bytes) as replica_memory_peak_bytes
    from replicas where state in ('pending', 'starting', 'loading', 'ready', 'draining') group by deployment_id),
states as (
    select deployment_id, jsonb_object_agg(state, replicas) as states
    from (select deployment_id, state, count(*) as replicas from replicas
          where state in ('pending', 'starting', 'loading', 'ready', 'draining') group by 1, 2) as by_state group by 1),
started as (
    select deployment_id, sum(cold_starts)::bigint as cold_starts, sum(seconds)::float8 as cold_start_seconds
    from (select r.deployment_id, count(r.ready_at - r.started_at) as cold_starts,
                 extract(epoch from sum(r.ready_at - r.started_at)) as seconds
          from replicas r join told using (deployment_id) group by 1
          union all
          select deployment_id, e.cold_starts, e.cold_start_seconds
          from replica_ends e join told using (deployment_id)) as all_starts group by 1),
ended as (
    select deployment_id, jsonb_object_agg(reason, replicas) as ends
    from (select deployment_id, reason, sum(replicas)::bigint as replicas
          from (select r.deployment_id, {END_REASON} as reason, 1 as replicas
                from replicas r join told using (deployment_id) where r.state in ('stopped', 'failed')
                union all
                select deployment_id, e.reason, e.replicas
                from replica_ends e join told using (deployment_id)) as all_ends group by 1, 2) as by_reason group by 1)
select w.name as workspace, m.name as model, v.number as version, d.desired_replicas,
       v.memory_bytes as replica_memory_limit_bytes, d.failures as failures_in_a_row,
       (d.unhealthy_reason <> '' and d.failures >= 3
        and not coalesce(states.states, '{{}}') ? 'ready')::int as crash_loop,
       coalesce(started.cold_starts, 0) as cold_starts,
       coalesce(started.cold_start_seconds, 0) as cold_start_seconds,
       live.memory_bytes, live.replica_memory_bytes, live.replica_memory_peak_bytes,
       coalesce(states.states, '{{}}') as states, coalesce(ended.ends, '{{}}') as ends
from told
join deployments d on d.id = told.deployment_id
join model_versions v on v.id = d.version_id
join models m on m.id = v.model_id
join workspaces w on w.id = v.workspace_id
left join live on live.deployment_id = d.id
left join states on states.deployment_id = d.id
left join started on started.deployment_id = d.id
left join ended on ended.deployment_id = d.id
order by v.id desc
"""  # noqa: S608 (of constants)

REPLICAS: LiteralString = """
select id, deployment_id, state, reason, address
from replicas
where state in ('pending', 'starting', 'loading', 'ready')
order by id
"""

APPS: LiteralString = """
select a.id, a.workspace_id, a.name, a.title, a.access, a.link_generation,
       r.id as release_id, r.number as release_number
from apps a left join app_releases r on r.id = a.live_release_id and r.app_id = a.id
"""

BUNDLES: LiteralString = "select id, bundle from app_releases where id = any(%s)"

TOUCH_KEYS: LiteralString = """
update keys set last_used_at = greatest(keys.last_used_at, to_timestamp(used.at))
from unnest(%s::uuid[], %s::float8[]) as used(id, at)
where keys.id = used.id
"""

# A run outlives neither its app nor its release: what was deleted meanwhile is passed over, not an error.
INSERT_RUNS: LiteralString = """
insert into runs (id, workspace_id, app_id, release_id, worklet, state, trigger, caller, request_id,
                  input, output, error, started_at, finished_at, duration_ms)
select r.id, r.workspace_id, r.app_id, r.release_id, r.worklet, r.state, r.trigger, r.caller, r.request_id,
       r.input, r.output, r.error, to_timestamp(r.started_at), to_timestamp(r.finished_at), r.duration_ms
from jsonb_to_recordset(%s::jsonb) as r(
    id uuid, workspace_id uuid, app_id uuid, release_id uuid, worklet text, state text, trigger text, caller text,
    request_id text, input jsonb, output jsonb, error jsonb, started_at float8, finished_at float8, duration_ms float8)
join app_releases l on l.id = r.release_id and l.app_id = r.app_id and l.workspace_id = r.workspace_id
on conflict do nothing
"""

INSERT_STEPS: LiteralString = """
insert into run_steps (run_id, path, attempt, kind, state, input, output, error, logs, started_at, duration_ms)
select s.run_id, s.path, s.attempt, s.kind, s.state, s.input, s.output, s.error, s.logs, to_timestamp(s.started_at),
       s.duration_ms
from jsonb_to_recordset(%s::jsonb) as s(
    run_id uuid, path text, attempt bigint, kind text, state text, input jsonb, output jsonb, error jsonb, logs text,
    started_at float8, duration_ms float8)
join runs r on r.id = s.run_id
on conflict do nothing
"""

# Gateways count alike, and each adds its own. Versions that were deleted meanwhile are passed over.
ADD_TRAFFIC: LiteralString = """
insert into model_traffic as total (version_id, minute, requests, refused, failed, seconds, buckets)
select t.version_id, t.minute, t.requests, t.refused, t.failed, t.seconds, t.buckets
from jsonb_to_recordset(%s::jsonb) as t(
    version_id uuid, minute timestamptz, requests bigint, refused bigint, failed bigint, seconds float8,
    buckets bigint[])
join model_versions v on v.id = t.version_id
for key share of v
on conflict (version_id, minute) do update set
    requests = total.requests + excluded.requests,
    refused = total.refused + excluded.refused,
    failed = total.failed + excluded.failed,
    seconds = total.seconds + excluded.seconds,
    buckets = (
        select array_agg(coalesce(mine, 0) + coalesce(theirs, 0) order by place)
        from unnest(total.buckets, excluded.buckets) with ordinality as both_of(mine, theirs, place))
"""

# Shadows and versions that are gone are passed over.
ADD_SHADOW_TALLIES: LiteralString = """
insert into shadow_tallies as total (shadow_id, version_id, equal, different, primary_failed, shadow_failed, dropped,
                                     primary_seconds, primary_buckets, shadow_seconds, shadow_buckets)
select t.shadow_id, t.version_id, t.equal, t.different, t.primary_failed, t.shadow_failed, t.dropped,
       t.primary_seconds, t.primary_buckets, t.shadow_seconds, t.shadow_buckets
from jsonb_to_recordset(%s::jsonb) as t(
    shadow_id uuid, version_id uuid, equal bigint, different bigint, primary_failed bigint, shadow_failed bigint,
    dropped bigint, primary_seconds float8, primary_buckets bigint[], shadow_seconds float8, shadow_buckets bigint[])
join model_shadows s on s.id = t.shadow_id
join model_versions v on v.id = t.version_id
for key share of s, v
on conflict (shadow_id, version_id) do update set
    equal = total.equal + excluded.equal,
    different = total.different + excluded.different,
    primary_failed = total.primary_failed + excluded.primary_failed,
    shadow_failed = total.shadow_failed + excluded.shadow_failed,
    dropped = total.dropped + excluded.dropped,
    primary_seconds = total.primary_seconds + excluded.primary_seconds,
    primary_buckets = (
        select array_agg(coalesce(mine, 0) + coalesce(theirs, 0) order by place)
        from unnest(total.primary_buckets, excluded.primary_buckets) with ordinality as both_of(mine, theirs, place)),
    shadow_seconds = total.shadow_seconds + excluded.shadow_seconds,
    shadow_buckets = (
        select array_agg(coalesce(mine, 0) + coalesce(theirs, 0) order by place)
        from unnest(total.shadow_buckets, excluded.shadow_buckets) with ordinality as both_of(mine, theirs, place))
"""

KEEP_SHADOW_DIFFERENCES: LiteralString = """
insert into shadow_differences (id, shadow_id, version_id, at, outcome, request_id, path, request, primary_status,
                                primary_answer, shadow_status, shadow_answer)
select d.id, d.shadow_id, d.version_id, to_timestamp(d.at), d.outcome, d.request_id, d.path, d.request,
       d.primary_status, d.primary_answer, d.shadow_status, d.shadow_answer
from jsonb_to_recordset(%s::jsonb) as d(
    id uuid, shadow_id uuid, version_id uuid, at float8, outcome text, request_id text, path text, request text,
    primary_status bigint, primary_answer text, shadow_status bigint, shadow_answer text)
join model_shadows s on s.id = d.shadow_id
join model_versions v on v.id = d.version_id
for key share of s, v
on conflict do nothing
"""

# Of each shadow, all but the newest. What another gateway is deleting is its to delete.
TRIM_SHADOW_DIFFERENCES: LiteralString = """
delete from shadow_differences where id in (
    select id from shadow_differences where id in (
        select id from (
            select id, row_number() over (partition by shadow_id order by at desc, id desc) as place
            from shadow_differences where shadow_id = any(%(shadows)s)) as placed
        where place > %(kept)s)
    for update skip locked)
"""


# Predictions that are answered later. Times are PostgreSQL's alone: gateways' clocks differ.

LISTEN_PREDICTIONS: LiteralString = "listen tenfold_predictions"

ACCEPT_PREDICTION: LiteralString = """
with accepted as (
    insert into predictions (id, workspace_id, version_id, state, content_type, body, accept, request_id, caller,
                             attempts, fence)
    select %(id)s, %(workspace_id)s, %(version_id)s, 'queued', %(content_type)s, %(body)s, %(accept)s,
           %(request_id)s, %(caller)s, 0, 0
    where (select count(*) from (
        select from predictions where workspace_id = %(workspace_id)s and state = 'queued' limit %(limit)s
    ) as queued) < %(limit)s
    returning id, created_at)
select created_at, pg_notify('tenfold_predictions', 'new') from accepted
"""

# Answers may be large: without `with_answer` they stay where they are.
FIND_PREDICTION: LiteralString = """
select p.id, p.state, p.status, case when %(with_answer)s then p.answer end as answer, p.answer_type, p.error,
       p.created_at, p.started_at, p.finished_at, p.attempts, v.number as version
from predictions p join model_versions v on v.id = p.version_id
where p.id = %(id)s and v.model_id = %(model_id)s
"""

# A cancelled one is nobody's: whoever works on it finds at the next heartbeat, or the notification, that it is over.
CANCEL_PREDICTION: LiteralString = """
with cancelled as (
    update predictions p set state = 'cancelled', finished_at = now(), body = '', lease_owner = null,
           lease_until = null, fence = fence + 1
    from model_versions v
    where p.id = %(id)s and p.state in ('queued', 'running') and v.id = p.version_id and v.model_id = %(model_id)s
    returning p.id)
select pg_notify('tenfold_predictions', 'cancelled') from cancelled
"""

# The oldest one whose version has a place free: one that waits, or one whose gateway is gone. What the asker works on
# (`mine`) is not gone, although its lease may have run out while PostgreSQL was away.
CLAIM_PREDICTION: LiteralString = """
update predictions set state = 'running', lease_owner = %(owner)s,
       lease_until = now() + make_interval(secs => %(lease_seconds)s), fence = fence + 1, attempts = attempts + 1,
       started_at = coalesce(started_at, now())
where id = (
    select id from predictions
    where version_id = any(%(versions)s) and id <> all(%(mine)s) and attempts < %(max_attempts)s
      and (state = 'queued' or (state = 'running' and lease_until < now()))
    order by id limit 1 for update skip locked)
returning id, version_id, content_type, body, accept, request_id, attempts, fence
"""

RENEW_PREDICTIONS: LiteralString = """
update predictions p set lease_until = now() + make_interval(secs => %(lease_seconds)s)
from unnest(%(ids)s::uuid[], %(fences)s::bigint[]) as mine(id, fence)
where p.id = mine.id and p.fence = mine.fence and p.state = 'running'
returning p.id
"""

# What calls itself JSON is shown inside of other JSON, and is a text unless it reads as JSON. PostgreSQL reads it: the
# gateway would answer nobody meanwhile.
FINISH_PREDICTION: LiteralString = """
update predictions set state = %(state)s, status = %(status)s, answer = %(answer)s,
       answer_type = case when %(is_json)s and (%(answer)s::bytea is json) is not true then 'text/plain'
                          else %(answer_type)s end,
       error = %(error)s::jsonb, finished_at = now(), body = '', lease_owner = null, lease_until = null
where id = %(id)s and fence = %(fence)s and state = 'running'
"""

RETURN_PREDICTION: LiteralString = """
update predictions set state = 'queued', lease_owner = null, lease_until = null, attempts = %(attempts)s
where id = %(id)s and fence = %(fence)s and state = 'running'
"""

# What nobody will ever carry out, with the reason; and what is old enough to be forgotten.
FAIL_HOPELESS_PREDICTIONS: LiteralString = """
update predictions p set state = 'failed', status = 503, finished_at = now(), body = '', lease_owner = null,
       lease_until = null, fence = fence + 1, error = jsonb_build_object('code', reason.code, 'message', reason.message,
                                                                        'hint', reason.hint, 'details', '[]'::jsonb)
from (
    select p.id, case when v.state = 'failed' then 'failed' else 'gave_up' end as code,
           case when v.state = 'failed' then 'The version could not be prepared.'
                else 'It was begun ' || p.attempts || ' times, and whoever worked on it was gone each time.' end
               as message,
           case when v.state = 'failed' then 'Its page shows the build log.'
                else 'The log of the model says whether it takes its process down.' end as hint
    from predictions p join model_versions v on v.id = p.version_id
    where (p.state = 'queued' and v.state = 'failed')
       or (p.state = 'running' and p.lease_until < now() and p.attempts >= %(max_attempts)s and p.id <> all(%(mine)s))
    order by p.id limit 100 for update of p skip locked
) as reason
where p.id = reason.id
"""

# Ids are in the order of time: those before one of a week ago are older than a week.
FORGET_PREDICTIONS: LiteralString = """
delete from predictions where id in (
    select id from predictions where id < %s and state <> 'running' order by id limit 1000 for update skip locked)
"""
