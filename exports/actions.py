"""Writing training files into a folder, and asking a worker to."""

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

# Told again and again how many answers and prompts are done, also while the files are read back.
Progress = Callable[[int], None]


class FolderInUse(Refusal):
    """The folder of an export is there already, or is something else; the message says what to do."""


def write(
    *,
    campaigns: Sequence[Campaign],
    out: Path,
    now: datetime,
    on_progress: Progress = lambda done: None,
    force: bool = False,
) -> Manifest:
    """Write the training files of the campaigns, their card and their manifest into the folder `out`.

    All rows are read from one snapshot of the database, answers as far as they were submitted by `now`; no labeler
    takes one of these back any more. The same data gives the same bytes (but for the manifest's
    time). The folder appears complete or not at all. Raises FolderInUse if it is there with something in it (`force`
    replaces an earlier export), and splits.Leak if training and validation files share an owner of
    prompts or a prompt text.
    """
    check_folder(out, force=force)
    # Committed before the snapshot is taken: whatever is read stands, and whatever is undone was not read.
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
        # Whoever looks finds the earlier export, for a moment none, then the new one; never half of one.
        if out.exists():
            out.rename(Path(temporary) / "earlier")
        partial.rename(out)
    return described


def check_folder(out: Path, *, force: bool) -> None:
    """Raises FolderInUse unless an export may be put there."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise FolderInUse(_("%(folder)s is not a folder. Name another one.") % {"folder": out})
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / manifest.FILE_NAME).exists():
        raise FolderInUse(_("%(folder)s has files in it that are no export. Name another folder.") % {"folder": out})
    if not force:
        raise FolderInUse(
            _("%(folder)s has an export in it. Name another folder, or replace it with --force.") % {"folder": out}
        )


@contextmanager
def snapshot() -> Iterator[None]:
    """One transaction that sees the database as it is now, however long it takes; inside another one, as that does."""
    outermost = not connection.in_atomic_block
    with streaming():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def settle(*, campaigns: Sequence[Campaign], now: datetime) -> None:
    """Fix the answers of the campaigns that were submitted by `now`: none of them is undone after it was read."""
    for export in EXPORTS:
        if ids := [campaign.id for campaign in campaigns if campaign.workflow == export.key]:
            export.settle(campaigns=ids, now=now)


def rows(campaigns: Sequence[Campaign]) -> Iterator[Sequence[Row]]:
    """All rows in the order of the files, grouped by the answer or prompt that they come from."""
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
    """Ask a worker for the training files of the campaigns."""
    with transaction.atomic():
        export = Export.objects.create(created_by=by, created_at=now)
        export.campaigns.set(campaigns)
        wake("exports.run_export", export.id)
    return export
