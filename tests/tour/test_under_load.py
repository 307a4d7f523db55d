"""kill -9 under a crowd: everybody at the same queue over HTTP, while each part of the platform dies in turn."""

import asyncio

from bench import chaos, desk
from tests.tour.platform import Platform

CLIENTS = 24
TASKS = 10


def test_a_crowd_loses_and_doubles_nothing_while_each_part_is_killed(platform: Platform):
    site = desk.Platform(platform.var, platform.port)
    calm, rough, people = chaos.prepare(site, CLIENTS, tasks=TASKS, lease_minutes=30, endless=1000)

    labelers = [desk.Labeler(site.port, person, calm) for person in people]
    whole = asyncio.run(chaos.drain(site, calm, labelers, seconds=120))
    assert whole.acknowledged == TASKS * chaos.OVERLAP
    assert whole.sound, whole

    labelers = [desk.Labeler(site.port, person, rough) for person in people]
    parts = chaos.parts_of(site)
    outcome = asyncio.run(chaos.kill_in_turn(site, rough, labelers, parts, kills=len(parts), seconds=300, between=10))
    assert outcome.kills == len(parts)
    assert outcome.sound, outcome
