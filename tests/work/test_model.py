"""The engine against a model of it: several people do anything in any order, and after every step the books are right.

The suite tries the same examples every time. By hand it looks for new ones, as long as you like:

    pytest tests/work/test_model.py --hypothesis-profile long --hypothesis-seed $RANDOM

What the model knows of each rule is written here in plain Python over all rows, without a cursor, an index or a lock.
"""

import hashlib
from collections import defaultdict
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import pairwise
from uuid import uuid4

import pytest
from django.conf import settings as platform
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from annotate.accounts.models import Role, User
from annotate.demonstrations import actions as bench
from annotate.demonstrations.models import Demonstration
from annotate.pools.models import Prompt
from annotate.work import drafts as work_drafts
from annotate.work import filling, leases, queue, submitting
from annotate.work import refusals as work_refusals
from annotate.work import slots as work_slots
from annotate.work.campaigns import change_campaign, change_state, settle
from annotate.work.models import Assignment, Draft, Event, Hand, Order, Skip, SkipReason
from annotate.work.refusals import Moved
from annotate.work.review import accept, replace_sent_back, send_back
from annotate.work.rules import needs_review
from annotate.work.states import MOVES, CampaignState, Move, State
from annotate.work.stopped import drop_task, restart_task
from tests import factories as make
from tests.work.conftest import NOW

LANGUAGES = ["en", "pt", "pt-BR"]
PEOPLE = 3
MOST_WAITING = 50
# Without labeler, in nobody's hands.
FREE = (State.OPEN, State.STOPPED)

people = st.integers(0, PEOPLE - 1)
# Which of the things somebody has or had: the first ones are the interesting ones.
which = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
languages_spoken = st.sampled_from([[], [], [], [], ["en"], ["pt"], ["en", "pt-BR"]])
prompts = st.fixed_dictionaries(
    {
        "language": st.sampled_from(["en", "en", "en", *LANGUAGES]),
        "priority": st.integers(-1, 1),
        "authors": st.sampled_from([(), (), (), (), (), (0,), (0, 1)]),
    }
)


@contextmanager
def refusing(*refusals):
    """Is the verb refused in one of these ways, where some are given, and in no way where none is?"""
    if not refusals:
        yield
        return
    with pytest.raises(refusals):
        yield


class Engine(RuleBasedStateMachine):
    guideline = reviewer = manager = None

    @initialize(
        campaign=st.fixed_dictionaries(
            {
                "order": st.sampled_from(Order.values),
                "overlap": st.sampled_from([1, 2, 2, 3]),
                "skip_limit": st.sampled_from([0, 1, 2]),
                "review_percent": st.sampled_from([0, 50, 100]),
                "undo_minutes": st.sampled_from([0, 5, 60]),
            }
        ),
        first=st.lists(prompts, min_size=1, max_size=2),
        languages=st.lists(languages_spoken, min_size=PEOPLE, max_size=PEOPLE),
        caps=st.lists(st.sampled_from([None, None, None, 2]), min_size=PEOPLE, max_size=PEOPLE),
    )
    def begin(self, campaign, first, languages, caps):
        self.now = NOW
        spoken = zip(languages, caps, strict=True)
        self.people = [make.user(languages=tags, daily_cap=cap) for tags, cap in spoken]
        self.campaign = make.campaign(guideline=self.guideline, order_seed=7, **campaign)
        for person in self.people:
            make.acknowledge(person, self.campaign)
        # What the model remembers: by (task, labeler) or assignment id.
        self.drafts, self.answers, self.keys, self.skipped, self.dropped = {}, {}, {}, set(), set()
        self.had = [[] for _ in range(PEOPLE)]
        self.most_slots = self.campaign.overlap
        self.texts = 0
        self.add_prompts(first)

    def teardown(self):
        # The next example's sweep has nothing to do with this one's leases.
        if hasattr(self, "campaign"):
            mine = Assignment.objects.filter(campaign=self.campaign)
            mine.filter(state=State.LEASED).update(state=State.CANCELLED, leased_until=None, hand=Hand.ACTIVE)
            mine.filter(state__in=FREE).update(state=State.CANCELLED)

    # The people's verbs.

    @rule(who=people)
    def work_until_nothing_is_left(self, who):
        for _ in range(8):
            self.claim(who)
            held = self.held(who).get(Hand.ACTIVE)
            if held is None:
                return
            self.hand_in(who, held.id, uuid4())

    @rule(who=people)
    def claim_with_both_hands(self, who):
        self.claim(who)
        self.prefetch(who)

    @rule(who=people, other=people)
    def hand_over(self, who, other):
        self.release(who, 0)
        self.claim(other)

    @rule(who=people)
    def claim(self, who):
        self.look()
        labeler, held = self.people[who], self.held(who)
        fresh = not self.campaign.seats.filter(labeler=labeler).exists()
        choice = self.eligible(labeler)
        if Hand.ACTIVE in held:
            assert leases.claim(campaign_id=self.campaign.id, labeler=labeler, now=self.now).id == held[Hand.ACTIVE].id
            return
        refusal = self.refusal_of_new(labeler, choice, holds=Hand.PREFETCHED in held)
        with refusing(*refusal):
            claimed = leases.claim(campaign_id=self.campaign.id, labeler=labeler, now=self.now)
        if refusal:
            return
        if Hand.PREFETCHED in held:
            assert claimed.id == held[Hand.PREFETCHED].id
        else:
            self.took(who, claimed, choice, fresh=fresh)
        stored = Assignment.objects.get(id=claimed.id)
        assert (stored.hand, stored.labeler, stored.claimed_at) == (Hand.ACTIVE, labeler, self.now)
        assert stored.leased_until > self.now

    @rule(who=people)
    def prefetch(self, who):
        self.look()
        labeler, held = self.people[who], self.held(who)
        choice = self.eligible(labeler)
        if Hand.ACTIVE in held and Hand.PREFETCHED in held:
            again = leases.prefetch(campaign_id=self.campaign.id, labeler=labeler, now=self.now)
            assert (again.id, again.leased_until) == (held[Hand.PREFETCHED].id, held[Hand.PREFETCHED].leased_until)
            return
        refusal = (
            self.refusal_of_new(labeler, choice, holds=False) if Hand.ACTIVE in held else [work_refusals.LeaseLost]
        )
        with refusing(*refusal):
            claimed = leases.prefetch(campaign_id=self.campaign.id, labeler=labeler, now=self.now)
        if not refusal:
            self.took(who, claimed, choice, fresh=False)
            assert Assignment.objects.get(id=claimed.id).hand == Hand.PREFETCHED

    @rule(who=people)
    def release_prefetched(self, who):
        leases.release_prefetched(campaign_id=self.campaign.id, labeler=self.people[who], now=self.now)
        assert Hand.PREFETCHED not in self.held(who)

    @rule(who=people, nth=which)
    def renew(self, who, nth):
        if assignment := self.once_held(who, nth):
            before = self.fresh(assignment)
            mine = before.labeler == self.people[who] and before.state == State.LEASED
            with refusing(*([] if mine else [work_refusals.LeaseLost])):
                leases.renew(assignment_id=assignment, labeler=self.people[who], now=self.now)
            if mine and before.hand == Hand.PREFETCHED:
                assert self.fresh(assignment).leased_until == before.leased_until

    @rule(who=people, nth=which)
    def draft(self, who, nth):
        if assignment := self.once_held(who, nth):
            task, labeler = self.fresh(assignment).task_id, self.people[who]
            mine = Assignment.objects.filter(task=task, labeler=labeler).first()
            answered = mine is not None and mine.state in (State.SUBMITTED, State.ACCEPTED)
            text = self.text()
            with refusing(*([work_refusals.AlreadySubmitted] if answered else [])):
                work_drafts.save_draft(task_id=task, labeler=labeler, body={"text": [text]}, now=self.now)
            if not answered:
                self.drafts[task, labeler.id] = text

    @rule(who=people, nth=which, key=st.sampled_from(["new", "new", "new", "last", "another's"]))
    def submit(self, who, nth, key):
        if assignment := self.once_held(who, nth):
            used = [used for used, owner in self.keys.items() if (owner == self.people[who].id) == (key == "last")]
            self.hand_in(who, assignment, uuid4() if key == "new" or not used else used[-1])

    def hand_in(self, who, assignment, key):
        labeler, wanted = self.people[who], self.fresh(assignment)
        text, refusal = self.text(), self.refusal_of_submit(wanted, labeler, key)
        earlier = Assignment.objects.filter(submit_key=key).first()
        with refusing(*refusal):
            outcome = bench.submit(assignment_id=assignment, labeler=labeler, text=text, submit_key=key, now=self.now)
        if refusal:
            return
        assert outcome.repeated == (earlier is not None)
        if outcome.repeated:
            assert outcome.assignment.id == earlier.id
            return
        self.keys[key] = labeler.id
        self.answers[wanted.task_id, labeler.id] = text
        self.drafts.pop((wanted.task_id, labeler.id), None)
        row = self.fresh(outcome.assignment.id)
        reviewed = (
            needs_review(row.id, row.submitted_at, self.campaign.review_percent, platform.SECRET_KEY) or row.rounds
        )
        assert row.state == (State.SUBMITTED if reviewed else State.ACCEPTED)
        self.now += timedelta(seconds=1)

    @rule(who=people, nth=which)
    def skip(self, who, nth):
        if assignment := self.once_held(who, nth):
            row, labeler = self.fresh(assignment), self.people[who]
            held = row.labeler == labeler and row.state == State.LEASED
            with refusing(*([] if held else [work_refusals.LeaseLost])):
                leases.skip(assignment_id=assignment, labeler=labeler, reason=SkipReason.OTHER, note="", now=self.now)
            if held:
                self.skipped.add((row.task_id, labeler.id))

    @rule(who=people, nth=which)
    def release(self, who, nth):
        if assignment := self.once_held(who, nth):
            row, labeler = self.fresh(assignment), self.people[who]
            held = row.labeler == labeler and row.state == State.LEASED
            with refusing(*([] if held else [work_refusals.LeaseLost])):
                leases.release(assignment_id=assignment, labeler=labeler, now=self.now)
            if held:
                after = self.fresh(assignment)
                assert after.state == State.SENT_BACK if row.rounds else after.labeler is None

    @rule(who=people, nth=which)
    def undo(self, who, nth):
        assignment = self.once_held(who, nth)
        if not assignment:
            return
        row, labeler, held = self.fresh(assignment), self.people[who], self.held(who)
        possible = self.may_undo(row, labeler)
        with refusing(*([] if possible else [work_refusals.UndoOver])):
            bench.undo(assignment_id=assignment, labeler=labeler, now=self.now)
        if possible:
            self.drafts[row.task_id, labeler.id] = self.answers[row.task_id, labeler.id]
            if not row.rounds:
                del self.answers[row.task_id, labeler.id]
            now_held = self.held(who)
            assert now_held[Hand.ACTIVE].id == assignment
            assert now_held.get(Hand.PREFETCHED, None) == (held.get(Hand.ACTIVE) or held.get(Hand.PREFETCHED))

    @rule(who=people)
    def resume(self, who):
        labeler, held = self.people[who], self.held(who)
        back = self.rows().filter(labeler=labeler, state=State.SENT_BACK).order_by("id").first()
        if back is None:
            return
        closed = self.campaign.state == CampaignState.CLOSED
        with refusing(*([work_refusals.CampaignClosed] if closed else [])):
            submitting.resume(assignment_id=back.id, labeler=labeler, now=self.now)
        if not closed:
            now_held = self.held(who)
            assert now_held[Hand.ACTIVE] == back
            assert now_held.get(Hand.PREFETCHED) == held.get(Hand.PREFETCHED)

    @rule(who=people, tags=languages_spoken)
    def learn(self, who, tags):
        User.objects.filter(id=self.people[who].id).update(languages=tags)
        self.people[who].refresh_from_db()

    # What the others do.

    @rule(minutes=st.sampled_from([1, 6, 31, 31, 24 * 60]), sweep=st.booleans())
    def pass_time(self, minutes, sweep):
        self.now += timedelta(minutes=minutes)
        if sweep:
            ended = self.rows().filter(state=State.LEASED, leased_until__lt=self.now).count()
            assert leases.sweep(now=self.now) == ended

    @rule(nth=which, back=st.booleans())
    def review(self, nth, back):
        waiting = self.rows().filter(state=State.SUBMITTED).order_by("-id")
        if found := nth_of(waiting, nth):
            verb = send_back if back else accept
            with transaction.atomic():
                verb(assignment_id=found.id, reviewer=self.reviewer, comment="Shorter.", now=self.now)
            for verb in (send_back, accept):
                with pytest.raises(Moved), transaction.atomic():
                    verb(assignment_id=found.id, reviewer=self.reviewer, comment="Again.", now=self.now)

    @rule(
        verb=st.sampled_from(
            [
                *["add", "overlap", "stopped"] * 2,
                *["match", "prioritise", "replace", "settle", "pause", "close"],
            ]
        ),
        nth=which,
        number=st.integers(0, 3),
        drawn=st.lists(prompts, min_size=1, max_size=2),
    )
    def manage(self, verb, nth, number, drawn):
        """All that a manager does, in one rule: a labeler does more of it all."""
        open_or_paused = self.campaign.state != CampaignState.CLOSED
        if verb == "add" and open_or_paused:
            self.add_prompts(drawn)
        elif verb == "overlap" and open_or_paused:
            self.campaign = change_campaign(campaign=self.campaign, overlap=number + 1)
            self.most_slots = max(self.most_slots, number + 1)
            if nth % 2:
                self.match_overlap()
        elif verb == "match":
            self.match_overlap()
        elif verb == "stopped":
            self.decide_stopped(nth, drop=number > 1)
        elif verb == "prioritise":
            if prompt := nth_of(self.campaign.pool.prompts.order_by("id"), nth):
                filling.prioritise(prompts=Prompt.objects.filter(id=prompt.id), priority=number - 1)
        elif verb == "replace":
            if found := nth_of(self.rows().filter(state=State.SENT_BACK).order_by("-id"), nth):
                replace_sent_back(assignment_id=found.id, by=self.manager, now=self.now)
        elif verb == "settle":
            settle(campaigns=[self.campaign.id], now=self.now)
            self.campaign.refresh_from_db()
            self.now += timedelta(seconds=1)
        elif verb == "pause" and open_or_paused:
            to = CampaignState.PAUSED if number == 0 else CampaignState.OPEN
            if to != self.campaign.state:
                self.campaign = change_state(campaign=self.campaign, to=to, now=self.now)
        elif verb == "close" and open_or_paused and self.texts > 8 and number == 0:
            self.campaign = change_state(campaign=self.campaign, to=CampaignState.CLOSED, now=self.now)
            assert work_slots.cancel_left_open(now=self.now) == 0

    def add_prompts(self, drawn):
        for fields in drawn:
            authors = [self.people[who].id for who in fields["authors"]]
            make.prompt(self.campaign.pool, **(fields | {"authors": authors}))
        filling.add_tasks(campaign=self.campaign, prompts=self.campaign.pool.prompts.order_by("id"), now=self.now)
        self.campaign.refresh_from_db()

    def match_overlap(self):
        while filling.match_overlap(campaign=self.campaign, now=self.now):
            pass
        self.campaign.refresh_from_db()
        self.look()
        for task, slots in self.tasks_now.items():
            wanted = [row for row in slots if row.state != State.CANCELLED]
            dropped = task in self.dropped or self.campaign.state == CampaignState.CLOSED
            assert dropped or len(wanted) >= self.campaign.overlap

    def decide_stopped(self, nth, *, drop):
        if task := nth_of(self.campaign.tasks.filter(stopped_at__isnull=False).order_by("id"), nth):
            if drop:
                drop_task(task_id=task.id, now=self.now)
                self.dropped.add(task.id)
            else:
                restart_task(task_id=task.id, now=self.now, by=self.manager)
            with pytest.raises(work_refusals.NotStopped):
                drop_task(task_id=task.id, now=self.now)

    # After every step.

    @invariant()
    def the_books_are_right(self):
        if not hasattr(self, "campaign"):
            return
        self.look()
        self.every_row_agrees_with_itself_and_with_what_was_told()
        self.no_task_wants_too_many()
        self.events_tell_every_state()
        self.everybody_is_told_what_is_left()

    def look(self):
        """Read everything, once a step."""
        self.rows_now = list(self.rows().select_related("task__prompt"))
        self.tasks_now = defaultdict(list)
        for row in self.rows_now:
            self.tasks_now[row.task_id].append(row)

    def every_row_agrees_with_itself_and_with_what_was_told(self):
        texts = dict(Demonstration.objects.filter(assignment__campaign=self.campaign).values_list("assignment", "text"))
        for row in self.rows_now:
            assert (row.state in FREE) == (row.labeler_id is None and row.state != State.CANCELLED)
            assert (row.state == State.LEASED) == (row.leased_until is not None)
            if row.labeler_id is None:
                assert (row.submit_key, row.submitted_at, row.rounds, row.id in texts) == (None, None, 0, False)
            if row.state in (State.SUBMITTED, State.ACCEPTED):
                assert (row.task_id, row.labeler_id) in self.answers
            if row.state == State.LEASED:
                assert (row.task_id, row.labeler_id) not in self.skipped, "a skipped task came back"
        hands = [(row.labeler_id, row.hand) for row in self.rows_now if row.state == State.LEASED]
        assert len(hands) == len(set(hands))
        whose = [(row.task_id, row.labeler_id) for row in self.rows_now if row.labeler_id]
        assert len(whose) == len(set(whose)), "somebody has two slots of one task"
        stored = {(row.task_id, row.labeler_id): texts[row.id] for row in self.rows_now if row.id in texts}
        assert stored == self.answers, "an acknowledged answer is lost, or stands twice"
        drafts = Draft.objects.filter(task__campaign=self.campaign).values_list("task", "labeler", "body")
        assert {(task, labeler): body["text"][0] for task, labeler, body in drafts} == self.drafts
        skips = Skip.objects.filter(task__campaign=self.campaign).values_list("task", "labeler")
        assert set(skips) == self.skipped

    def no_task_wants_too_many(self):
        for task, slots in self.tasks_now.items():
            wanted = [row for row in slots if row.state != State.CANCELLED]
            free = [row for row in wanted if row.state in FREE]
            assert len(wanted) <= self.most_slots
            if self.campaign.matched_to is None:
                assert len(wanted) <= self.campaign.overlap or not free, "surplus slots are handed out"
            assert not free or (task not in self.dropped and self.campaign.state != CampaignState.CLOSED)
            assert {row.state for row in free} <= {State.STOPPED if slots[0].task.stopped_at else State.OPEN}

    def events_tell_every_state(self):
        told = defaultdict(list)
        events = Event.objects.filter(assignment__campaign=self.campaign).order_by("id")
        for assignment, step in events.values_list("assignment", "move"):
            told[assignment].append(MOVES[Move(step)])
        for row in self.rows_now:
            chain = told[row.id]
            # A slot that is made while its task is stopped begins like that.
            assert chain or row.state in FREE
            assert not chain or (chain[0][0] in FREE and chain[-1][1] == row.state)
            assert all(before[1] == after[0] for before, after in pairwise(chain))

    def everybody_is_told_what_is_left(self):
        for labeler in self.people:
            tasks = {row.task_id for row in self.eligible(labeler) if self.speaks(labeler, row.language)}
            waiting = queue.waiting([self.campaign], labeler, MOST_WAITING)[self.campaign.id]
            assert bool(waiting) == bool(tasks), f"{waiting} said to be left of {len(tasks)}"

    # What the model knows.

    def rows(self):
        return Assignment.objects.filter(campaign=self.campaign)

    def fresh(self, assignment):
        return Assignment.objects.select_related("task").get(id=assignment)

    def held(self, who):
        return {row.hand: row for row in self.rows().filter(labeler=self.people[who], state=State.LEASED)}

    def once_held(self, who, nth):
        """The id of something this person has or had, what they hold first; for somebody else's see test_lease.py."""
        held = [row.id for _hand, row in sorted(self.held(who).items())]
        known = held + [row for row in reversed(self.had[who]) if row not in held]
        return known[nth % len(known)] if known else None

    def text(self):
        self.texts += 1
        return f"text {self.texts}"

    def speaks(self, labeler, language):
        tags = labeler.languages
        same = language in tags or language.split("-")[0] in tags
        return not tags or same or any(tag.split("-")[0] == language for tag in tags)

    def eligible(self, labeler):
        """Every open slot that the labeler may take, in any order and by any right."""
        mine = {row.task_id for row in self.rows_now if row.labeler_id == labeler.id}
        skipped = {task for task, who in self.skipped if who == labeler.id}
        begun = {task for task, who in self.drafts if who == labeler.id}
        return [
            row
            for row in self.rows_now
            if row.state == State.OPEN
            and row.task_id not in mine | skipped
            and labeler.id not in row.task.prompt.authors
            and (self.speaks(labeler, row.language) or row.task_id in begun)
        ]

    def refusal_of_new(self, labeler, choice, *, holds):
        """How a labeler who asks for a task is refused; nothing where they get one."""
        if self.campaign.state != CampaignState.OPEN:
            return [work_refusals.CampaignNotOpen]
        if holds:
            return []
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        mine = Assignment.objects.filter(labeler=labeler)
        today = set(mine.filter(submitted_at__gte=midnight)) | set(mine.filter(state=State.LEASED))
        if labeler.daily_cap is not None and len(today) >= labeler.daily_cap:
            return [work_refusals.DailyCap]
        return [] if choice else [work_refusals.NothingLeft]

    def took(self, who, claimed, choice, *, fresh):
        assert claimed.id in {row.id for row in choice}
        if fresh:
            assert claimed.id == min(choice, key=partial(place, self.campaign)).id, "not the first in order"
        assert self.fresh(claimed.id).task.stopped_at is None
        self.had[who].append(claimed.id)

    def refusal_of_submit(self, wanted, labeler, key):
        mine = Assignment.objects.filter(task=wanted.task_id, labeler=labeler).first()
        bearer = Assignment.objects.filter(submit_key=key).first()
        if bearer is not None:
            same = (bearer.labeler_id, bearer.task_id) == (labeler.id, wanted.task_id)
            return [] if same and bearer.state in (State.SUBMITTED, State.ACCEPTED) else [work_refusals.KeyTaken]
        if mine is not None and mine.state == State.LEASED:
            return []
        if mine is not None and mine.state == State.SENT_BACK:
            last = Event.objects.filter(assignment=mine).order_by("id").last().move
            return [] if last == Move.SET_ASIDE else [work_refusals.AlreadySubmitted]
        if mine is not None:
            return [work_refusals.AlreadySubmitted]
        free = Assignment.objects.filter(task=wanted.task_id, state=State.OPEN).exists()
        return [] if free and (wanted.task_id, labeler.id) not in self.skipped else [work_refusals.LeaseLost]

    def may_undo(self, row, labeler):
        campaign = self.campaign
        return (
            row.labeler_id == labeler.id
            and (row.state == State.SUBMITTED or (row.state == State.ACCEPTED and row.decided_by_id is None))
            and campaign.state != CampaignState.CLOSED
            and campaign.undo_minutes > 0
            and row.submitted_at + timedelta(minutes=campaign.undo_minutes) >= self.now
            and (campaign.settled_at is None or row.submitted_at > campaign.settled_at)
            and not self.rows().filter(labeler=labeler, submitted_at__gt=row.submitted_at).exists()
        )


def place(campaign, row):
    """Where the slot stands in the campaign's order: what came back first, in the order in which it came back."""
    prompt, task, slot = row.task.prompt, row.task_id, row.slot
    if row.position < 0:
        return (0, row.position)
    if campaign.order == Order.RANDOM:
        drawn = hashlib.md5(f"{campaign.order_seed}:{prompt.id}".encode()).hexdigest()[:11]
        return (1, int(drawn, 16), slot)
    places = {
        Order.DEPTH: (task, slot),
        Order.BREADTH: (slot, task),
        Order.PRIORITY: (-prompt.priority, task, slot),
    }
    return (1, *places[campaign.order])


def nth_of(rows, nth):
    found = list(rows)
    return found[nth % len(found)] if found else None


SUITE = settings(
    max_examples=45,
    stateful_step_count=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.django_db(transaction=True)
def test_people_in_any_order_never_break_the_books():
    Engine.guideline = make.guideline()
    Engine.reviewer, Engine.manager = make.user(Role.REVIEWER), make.user(Role.MANAGER)
    by_hand = settings.get_current_profile_name() == "long"
    run_state_machine_as_test(Engine, settings=settings.get_profile("long") if by_hand else SUITE)
