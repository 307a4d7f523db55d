import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction
from django.utils.translation import gettext as _

from annotate.accounts.models import User
from annotate.lib import private
from annotate.lib.refusals import Refusal
from annotate.lib.streaming import streaming
from annotate.lib.wake import wake
from annotate.work.models import Campaign
from exports import manifest, queries
from exports.formats import card
from exports.formats.jsonl import Writer
from exports.manifest import Manifest
from exports.models import Export
from exports.rows import ppo
from exports.rows.about import Names
from exports.schema import Row
from exports.table import EXPORTS

# Called often, with the number of finished answers and prompts.
Progress = Callable[[int], None]


class FolderInUse(Refusal):
    """The path is not free for an export."""


def write(
    *,
    campaigns: Sequence[Campaign],
    out: Path,
    now: datetime,
    on_progress: Progress = lambda done: None,
    force: bool = False,
) -> Manifest:
    """Write training files, card and manifest into `out`, which appears complete or not at all.

    Equal data gives equal bytes, except for the manifest's time. Raises FolderInUse or splits.Leak.
    """
    check_folder(out, force=force)
    # Committed before the snapshot: no answer is undone after it was read.
    settle(campaigns=campaigns, now=now)
    private.make_missing(out.parent)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
        partial = Path(temporary) / "export"
        partial.mkdir(mode=private.FOLDER)
        with snapshot():
            done = _write_rows(campaigns, partial, on_progress)
            scope = queries.scope(campaigns)
        survey = manifest.survey(partial, on_line=lambda: on_progress(done))
        card_path = partial / card.FILE_NAME
        card_path.write_text(card.card(survey.names), encoding="utf-8")
        described = manifest.describe(survey=survey, scope=scope, card=manifest.facts(card_path), now=now)
        (partial / manifest.FILE_NAME).write_bytes(manifest.to_bytes(described))
        private.close_to_others(partial)
        if out.exists():
            out.rename(Path(temporary) / "earlier")
        partial.rename(out)
    return described


def check_folder(out: Path, *, force: bool) -> None:
    """Raises FolderInUse unless `out` is missing, empty or, with `force`, an export."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FolderInUse(_("%(folder)s is not a folder. Choose another path.") % {"folder": out})
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / manifest.FILE_NAME).exists():
        raise FolderInUse(_("%(folder)s has files that no export wrote. Choose another folder.") % {"folder": out})
    if not force:
        raise FolderInUse(
            _("%(folder)s has an export. Choose another folder, or replace the export with --force.") % {"folder": out}
        )


@contextmanager
def snapshot() -> Iterator[None]:
    """A transaction that sees the database as of its start. Inside another transaction: that one."""
    outermost = not connection.in_atomic_block
    with streaming():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def settle(*, campaigns: Sequence[Campaign], now: datetime) -> None:
    """Fix the answers that were submitted by `now`."""
    for export in EXPORTS:
        if ids := [campaign.id for campaign in campaigns if campaign.workflow == export.key]:
            export.settle(campaigns=ids, now=now)


def rows(campaigns: Sequence[Campaign]) -> Iterator[Sequence[Row]]:
    names, exported = Names(), queries.training_answers(campaigns)
    for export in EXPORTS:
        yield from export.rows(exported=exported, names=names)
    yield from ppo.rows(queries.customer_prompts(campaigns))


def _write_rows(campaigns: Sequence[Campaign], folder: Path, on_progress: Progress) -> int:
    done = 0
    with Writer(folder) as files:
        for done, together in enumerate(rows(campaigns), start=1):
            for row in together:
                files.write(row)
            on_progress(done)
    return done


def request_export(*, campaigns: Sequence[Campaign], by: User, now: datetime) -> Export:
    with transaction.atomic():
        export = Export.objects.create(created_by=by, created_at=now)
        export.campaigns.set(campaigns)
        wake("exports.run_export", export.id)
    return export
