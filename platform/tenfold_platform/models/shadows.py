"""What shadows have come to: what gateways counted and kept (gateway/shadows.py), for those who decide by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from tenfold_platform.errors import NotFound
from tenfold_platform.models import service
from tenfold_platform.models.schemas import Durations, ShadowDifference, ShadowLine, ShadowReport
from tenfold_platform.models.tables import (
    ModelTable,
    ShadowDifferenceTable,
    ShadowTable,
    ShadowTallyTable,
    VersionTable,
)
from tenfold_platform.models.traffic import percentile

DIFFERENCES_KEPT_FOR = timedelta(days=7)


def report(session: Session, model: ModelTable, alias: str) -> ShadowReport:
    """A line for each version that answered sampled calls, the newest first. Raises NotFound."""
    shadow = _get_shadow(session, model, alias)
    rows = session.execute(
        select(ShadowTallyTable, VersionTable.number)
        .join(VersionTable, VersionTable.id == ShadowTallyTable.version_id)
        .where(ShadowTallyTable.shadow_id == shadow.id)
        .order_by(VersionTable.number.desc())
    )
    return ShadowReport(
        alias=alias,
        version=session.get_one(VersionTable, shadow.version_id).number,
        percent=shadow.percent,
        tolerance=shadow.tolerance,
        since=shadow.created_at,
        versions=[_line(tally, number) for tally, number in rows],
    )


def list_differences(session: Session, model: ModelTable, alias: str) -> list[ShadowDifference]:
    """Those that are kept, the newest first. Raises NotFound."""
    shadow = _get_shadow(session, model, alias)
    rows = session.execute(
        select(ShadowDifferenceTable, VersionTable.number)
        .join(VersionTable, VersionTable.id == ShadowDifferenceTable.version_id)
        .where(ShadowDifferenceTable.shadow_id == shadow.id)
        .order_by(ShadowDifferenceTable.at.desc(), ShadowDifferenceTable.id.desc())
    )
    names = ShadowDifference.model_fields.keys() - {"version"}
    return [ShadowDifference(version=number, **{name: getattr(row, name) for name in names}) for row, number in rows]


def forget_old(session: Session, now: datetime) -> None:
    """Drops differences that are older than a week: they hold what callers sent."""
    session.execute(delete(ShadowDifferenceTable).where(ShadowDifferenceTable.at < now - DIFFERENCES_KEPT_FOR))


def _get_shadow(session: Session, model: ModelTable, alias: str) -> ShadowTable:
    shadow = service.find_shadow(session, model, alias)
    if shadow is None:
        raise NotFound("The alias has no shadow.")
    return shadow


def _line(tally: ShadowTallyTable, number: int) -> ShadowLine:
    return ShadowLine(
        version=number,
        compared=tally.equal + tally.different,
        equal=tally.equal,
        different=tally.different,
        primary_failed=tally.primary_failed,
        shadow_failed=tally.shadow_failed,
        dropped=tally.dropped,
        primary=_durations(tally.primary_seconds, tally.primary_buckets),
        shadow=_durations(tally.shadow_seconds, tally.shadow_buckets),
    )


def _durations(seconds: float, buckets: Sequence[int]) -> Durations:
    calls = sum(buckets)
    return Durations(
        mean_seconds=seconds / calls if calls else None,
        p50_seconds=percentile(buckets, 0.50),
        p95_seconds=percentile(buckets, 0.95),
        p99_seconds=percentile(buckets, 0.99),
    )
