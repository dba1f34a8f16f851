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
select id, workspace_id, model_id, number, state, reason, hint, config -> 'runtime' as runtime
from model_versions
"""

ALIASES: LiteralString = "select model_id, name, version_id from model_aliases"

DEPLOYMENTS: LiteralString = """
select id, workspace_id, kind, version_id, environment_id, desired_replicas, failures, unhealthy_reason,
       extract(epoch from retry_at)::float8 as retry_at
from deployments
"""

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
