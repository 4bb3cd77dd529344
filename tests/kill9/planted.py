"""A harness that cannot fail proves nothing: known faults, planted into a copy of the gateway, to be caught.

`python -m tests.kill9 --plant sends-before-intent` must end with exit code 1.
"""

from dataclasses import dataclass

from tests.harness.planted import Fault, run_with
from tests.kill9.memory import Breach


@dataclass(frozen=True, kw_only=True)
class Plant(Fault):
    """A fault, under which deaths it shows, and as what it must be caught."""

    kinds: str
    caught_as: frozenset[Breach]
    cycles: int = 20
    brisk: bool = True


PLANTED = {
    "answers-before-commit": Plant(
        file="storage/group_commit.py",
        old="        if self._threaded:\n            self._jobs.put(partial(self._commit_and_tell",
        new="        for unit, result in zip(batch, results, strict=True):\n"
        "            if unit.is_awaited:\n"
        "                unit.future.set_result(result)\n"
        "        if self._threaded:\n            self._jobs.put(partial(self._commit_and_tell",
        kinds="checkpoint",  # which makes commits slow
        caught_as=frozenset({Breach.LOST}),
    ),
    "sends-before-intent": Plant(
        file="flows/pay.py",
        old='    await take_in(desk, order, wait_s=wait_s)\n    desk.crash("pay.after_intent")\n'
        "    async with desk.turns.of(order.key) as waited:\n"
        "        said = await send_start(desk, order, _operation(desk, order, request), look=waited)\n",
        new="    said = await call(desk, order, _operation(desk, order, request))\n"
        '    desk.crash("pay.after_intent")\n    await take_in(desk, order, wait_s=wait_s)\n'
        "    async with desk.turns.of(order.key):\n",
        kinds="point",
        caught_as=frozenset({Breach.LOST}),
    ),
    "forgets-its-work": Plant(
        file="flows/intent.py",
        old="due=(due,))):",
        new="due=())):",
        kinds="load,point",
        caught_as=frozenset({Breach.INDEFINITE}),
        cycles=6,
        brisk=False,  # whoever asks what became of his order has it settled: only who leaves sees the fault
    ),
    "changes-refund-numbers": Plant(
        file="flows/refund.py",
        old="    return Refund(\n        out_trade_no=order.sn,\n        refund_no=movement.tsn,",
        new="    return Refund(\n        out_trade_no=order.sn,\n        refund_no=desk.ids.sn(),",
        kinds="load,point",
        caught_as=frozenset({Breach.DOUBLED, Breach.LOST, Breach.UNBALANCED}),
    ),
    "migrates-piece-by-piece": Plant(
        file="storage/sqlite.py",
        old="            with _Transaction(connection):\n                for migration",
        new="            with suppress():\n                for migration",
        kinds="migration",
        caught_as=frozenset({Breach.UPSET}),
    ),
    "commits-in-halves": Plant(
        file="storage/sqlite.py",
        old="    for movement in change.transactions:\n",
        new='    execute("COMMIT")\n    execute("BEGIN IMMEDIATE")\n'
        "    for movement in change.transactions:\n",
        kinds="statement",
        caught_as=frozenset({Breach.UNTOLD, Breach.INDEFINITE, Breach.UPSET}),
    ),
    "numbers-again": Plant(
        file="kit/ids.py",
        old="        self._second = max(clock.now_ms(), after_ms) // 1000 - _EPOCH_S + 1\n",
        new="        self._second = clock.now_ms() // 60_000 * 60 - _EPOCH_S\n",
        kinds="load",
        caught_as=frozenset({Breach.UPSET, Breach.LOST, Breach.DOUBLED}),
    ),
    "logs-barcodes": Plant(
        file="flows/pay.py",
        old='    desk.crash("pay.after_intent")\n',
        new='    desk.crash("pay.after_intent")\n    desk.log.info("pay.begun", code=request.dynamic_id)\n',
        kinds="load",
        caught_as=frozenset({Breach.LEAKED}),
    ),
}
"""Name → fault."""


def run_planted(name: str, *, seed: str) -> int:
    """Run the harness against a copy of the gateway with this fault; return its exit code."""
    fault = PLANTED[name]
    how = ["--seed", seed, "--cycles", str(fault.cycles), "--kinds", fault.kinds]
    how += ["--glance", "1", "--rest", "55", "--folder", "{folder}", "--figures", ""]
    how += ["--brisk"] if fault.brisk else []
    return run_with(fault, "tests.kill9", *how)
