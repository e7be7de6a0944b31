"""Accounting days and the general ledger as operators meet them, on the command line."""

import asyncio
import json
from datetime import date, timedelta

import pytest

from mesh.cli import main
from tests.service.ledger.test_account_doors import furnished, said_to_run, tongbao

KEY = "-4-CNY"  # Recharges in yuan.


async def test_the_command_line_takes_a_day_into_the_general_ledger(ground, tmp_path):
    """Cut, closed, reported, exported, pushed, rejected, accepted; each refusal says what next."""
    async with ground.run("ledger") as ledger:
        await furnished(ledger)

        async def run(*arguments):
            return await asyncio.to_thread(tongbao, *arguments, home=ground.home)

        async def told(*arguments):
            done = await run(*arguments, "--json")
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        async def refused(*arguments):
            done = await run(*arguments)
            assert done.returncode == 1, done.stdout
            return done.stderr

        with said_to_run(ledger):
            [open_day] = (await told("days"))["days"]
            today = open_day["acctDate"]
            tomorrow = str(date.fromisoformat(today) + timedelta(days=1))
            assert "next: See which days there are" in await refused("trial", tomorrow)
            assert "next: Close the days up to it" in await refused("export", today)
            assert "next: Name the date behind" in await refused("cut", "2099-01-01")

            assert (await told("cut", tomorrow))["day"]["acctDate"] == tomorrow
            assert (await told("close-day", today))["day"]["state"] == "STATE_CLOSED"
            trial = await run("trial", today)
            assert "balanced" in trial.stdout
            assert "用户钱包余额" in trial.stdout
            [total] = (await told("sheet", today))["totals"]
            assert (total["assetsMinor"], total["balanced"]) == ("18", True)
            profits = [one["profitMinor"] for one in (await told("income", today))["totals"]]
            assert set(profits) <= {"0"}, "top-ups without a cost bring nothing and cost nothing"
            assert len((await told("subjects"))["subjects"]) > 30

            file = tmp_path / "day.txt"
            export = ("export", today, "--format", "yonyou-u8", "--into", str(file))
            [key] = (await told(*export))["external_keys"]
            assert key == f"1-{today.replace('-', '')}{KEY}"
            assert key in file.read_text("gb18030")
            assert "next: Name another file by --into" in await refused(*export)

            [pushed] = (await told("pushed", key))["pushes"]
            assert (pushed["state"], pushed["pushes"]) == ("PUSH_STATE_PUSHED", 1)
            assert "goes once more only with --again" in await refused("pushed", key)
            assert "cause is required" in await refused("pushed", key, "--rejected")
            await told("pushed", key, "--rejected", "--cause", "no such subject")
            listed = (await told("pushes", "--state", "rejected"))["pushes"]
            assert [one["externalKey"] for one in listed] == [key]
            await told("pushed", key)
            await told("pushed", key, "--accepted", "--voucher-no", "记-17")
            assert "记-17" in (await run("pushes")).stdout


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["export", "2026-11-22", "--rate", "7.1"], "must be such as USD=7.1025"),
        (["pushed", "k", "--accepted", "--again"], "one of them at most"),
    ],
)
def test_a_command_that_makes_no_sense_is_misuse(tmp_path, capsys, wrong, said):
    """Before anything is asked."""
    assert main(["ledger", *wrong, "--home", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
