#!/usr/bin/python3
"""The alert rules of deploy/prometheus: each fires for samples that ask for it, in Prometheus' own test tool, and a
real Prometheus that scrapes a server raises the alarm when something goes wrong with it."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.lone_runner import LoneRunner, execution
from harness.prometheus import Prometheus, program
from harness.tap import eventually, expect, expect_equal, expect_in, main, test

RULES = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
ECHO = Path(__file__).resolve().parents[1] / "guests" / "text" / "echo.wasm"


def judged(rules, tests):
    return subprocess.run([program("promtool"), "test", "rules", tests], cwd=rules, capture_output=True, text=True, timeout=120)


@test("every alert fires for samples that ask for it, and a changed rule would be seen")
def samples(folder):
    text, tests = (RULES / "alerts.yaml").read_text(), (RULES / "alerts_test.yaml").read_text()
    tested = set(re.findall(r'alertname="(\w+)", alertstate="firing"', tests))
    expect_equal(tested, set(re.findall(r"- alert: (\w+)", text)), "alerts that the samples make fire")
    done = judged(RULES, "alerts_test.yaml")
    expect_equal(done.returncode, 0, done.stdout + done.stderr)
    no_failures = 'outcome!~"ok|replayed|policy_denied|upstream_refusal"'
    changes = [(" > 0.05", " > 0.07"), ("for: 2m", "for: 9m"), (no_failures, 'outcome!="ok"'), ("|replayed", ""), ("|upstream_refusal", "")]
    for number, (was, becomes) in enumerate(changes):
        changed = folder / f"changed-{number}"
        changed.mkdir()
        expect_in(was, text, "what is changed")
        (changed / "alerts.yaml").write_text(text.replace(was, becomes, 1))
        (changed / "alerts_test.yaml").write_text(tests)
        expect(judged(changed, "alerts_test.yaml").returncode != 0, f"{becomes} goes unnoticed")


@test("a real Prometheus takes every rule, and raises the alarm when secrets cannot be opened and when the server is gone")
def alarm(folder):
    # As committed, but for the two minutes that a server may be silent before it is called down.
    text = (RULES / "alerts.yaml").read_text()
    expect_in("for: 2m\n", text, "the patience of AlgaDown")
    rules = folder / "alerts.yaml"
    rules.write_text(text.replace("for: 2m\n", "for: 2s\n"))
    with LoneRunner(folder / "server") as runner, Prometheus(folder / "prometheus", rules, [runner.port]) as prometheus:
        body = execution(runner.place(ECHO))
        expect_equal(runner.execute(body).json()["status"], 200, "an execution")
        eventually(lambda: prometheus.value("sum(alga_runner_executions_total)") == 1, 20, "what was counted")
        eventually(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), 20, "rules that were evaluated")
        expect_equal(len(prometheus.rules()), text.count("- alert:"), "rules")
        expect_equal(prometheus.firing(), {}, "alarms of a server that works")

        eventually(lambda: prometheus.value("alga_secret_open_failures_total") == 0, 20, "failures before")
        unprotected = {"ciphertext_b64": "e30=", "algorithm": "inline/base64", "version": "1"}
        refused = runner.execute({**body, "providers": ["cap:secrets.get"], "secret_envelope": unprotected})
        expect_in("secret.", refused.text(), f"the refusal of an envelope that nothing protects ({refused.status})")
        alert = eventually(lambda: prometheus.firing().get("AlgaSecretsUnreadable"), 20, "the alarm")
        expect_equal(alert["labels"]["severity"], "page", "its severity")
        page, section = alert["annotations"]["runbook"].split("#")
        titles = re.findall(r"^## (\w+)$", (RULES.parents[1] / page).read_text(), re.M)
        expect_in(section, [title.lower() for title in titles], "sections of the runbook")

        runner.stop()
        down = eventually(lambda: prometheus.firing().get("AlgaDown"), 30, "the alarm of a server that is gone")
        expect_in(str(runner.port), down["annotations"]["summary"], "whom it names")


def run():
    with tempfile.TemporaryDirectory(prefix="alga-e2e.") as folder:
        return main(Path(folder))


sys.exit(run())
