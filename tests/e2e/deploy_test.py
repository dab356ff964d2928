#!/usr/bin/python3
"""What deploy/ ships fits the program: every sample configuration is good, and manifests and units only
name what is there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.server import run as algad
from harness.tap import Skip, expect, expect_equal, main, test

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SAMPLES = sorted((DEPLOY / "samples").glob("*.toml"))
MANIFESTS = sorted([*DEPLOY.glob("kubernetes/*.yaml"), *DEPLOY.glob("knative/*.yaml"), DEPLOY / "kustomization.yaml"])


def setting(text, table, name):
    """The text value of a setting in a sample; the samples write one setting a line."""
    part = re.search(rf"^\[{re.escape(table)}\]$(.*?)(?=^\[|\Z)", text, re.M | re.S)
    found = part and re.search(rf'^{name} = "([^"]*)"', part.group(1), re.M)
    return found.group(1) if found else None


FOLDER = tempfile.TemporaryDirectory(prefix="alga-e2e.")
#: Of a key that nobody has any more.
PUBLIC_KEY = "ga2aXqohjnN+UEdPWqzBeBjsYKNFiTSkJarlTtgV6iw="


def filled_in(sample):
    """The sample with what an operator must put into it, beside addresses: the key that the control plane makes first."""
    file = Path(tempfile.mkdtemp(prefix="alga-e2e.", dir=FOLDER.name)) / sample.name
    file.write_text(re.sub(r'^artefact_keys = .*', f'artefact_keys = ["{PUBLIC_KEY}"]', sample.read_text(), flags=re.M))
    return file


@test("every sample configuration is good, and a mistake in one would be seen")
def samples(_):
    expect(len(SAMPLES) >= 6, f"samples: {SAMPLES}")
    for sample in SAMPLES:
        status, out, errors = algad("check-config", "--config", filled_in(sample))
        expect_equal((status, errors), (0, ""), f"{sample.name}: {out}")
        if "artefact_keys" in sample.read_text():
            line = 1 + sample.read_text().split("\nartefact_keys")[0].count("\n") + 1
            status, _, errors = algad("check-config", "--config", sample)
            expect_equal(status, 2, f"{sample.name} without the key")
            expect(f"error: config.bad_key: {sample}:{line}: engine.artefact_keys item 1" in errors, f"{sample.name} says so: {errors}")
    status, _, errors = algad("check-config", "--config", SAMPLES[0], "--set", "server.no_such_setting=1")
    expect(status == 2 and "no_such_setting" in errors, "an unknown setting is found")


@test("every sample for one role starts nothing but that role")
def roles(_):
    for name in ("control-plane", "gateway", "runner"):
        status, out, _ = algad("print-config", "--redacted", "--config", filled_in(DEPLOY / "samples" / f"{name}.toml"))
        expect_equal(status, 0, name)
        expect(f'roles = ["{name}"]' in out, f"{name}: {out[:300]}")


@test("manifests mount the samples, and their ports and probes are those of the configuration")
def manifests(_):
    named = [manifest.parent / name for manifest in MANIFESTS for name in re.findall(r"algad\.toml=(\S+?)\]", manifest.read_text())]
    expect_equal(sorted(sample.name for sample in named), ["control-plane.toml", "gateway.toml", "runner-knative.toml", "runner.toml"], "samples that manifests name")
    for sample in named:
        expect(sample.is_file(), f"a manifest names {sample}")
    for name in ("control-plane", "gateway", "runner"):
        text = (DEPLOY / "kubernetes" / f"{name}.yaml").read_text()
        sample = (DEPLOY / "samples" / f"{name}.toml").read_text()
        listened = {setting(sample, "server", key) for key in ("listen", "internal_listen", "metrics_listen")} - {None}
        offered = set(re.findall(r"containerPort: (\d+)", text))
        expect_equal(offered, {address.rsplit(":", 1)[1] for address in listened}, f"ports of {name}")
        expect_equal(re.findall(r"httpGet: \{path: (\S+),", text), ["/readyz", "/healthz"], f"probes of {name}")
        mounts = re.findall(r"mountPath: (/[^,}]+)", text)
        files = re.findall(r'"(?:file:)?(/etc/alga/[^"]+)"', sample)
        expect(files, f"the sample of {name} names no file")
        for file in files:
            expect(any(file.startswith(mount) for mount in mounts), f"{name}: {file} is mounted")


@test("manifests are valid YAML with one document for each thing")
def yaml_documents(_):
    try:
        import yaml
    except ImportError:
        raise Skip("the Python package yaml is not on this machine") from None
    for manifest in MANIFESTS:
        for document in yaml.safe_load_all(manifest.read_text()):
            expect(document["apiVersion"] and document["kind"], manifest.name)


@test("every manifest is what Kubernetes' schemas ask for, without a member that they do not know")
def schemas(_):
    validate = os.environ.get("ALGA_KUBERNETES_VALIDATE") or shutil.which("kubernetes-validate")
    if not validate:
        raise Skip("no schemas: kubernetes-validate is neither on the PATH nor in ALGA_KUBERNETES_VALIDATE")
    manifests = sorted(DEPLOY.glob("kubernetes/*.yaml"))
    done = subprocess.run([validate, "--strict", *manifests], capture_output=True, text=True)
    expect_equal(done.returncode, 0, done.stdout + done.stderr)
    expect_equal(done.stderr.count("passed for resource") + done.stdout.count("passed for resource"), 12, "documents")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as wrong:
        wrong.write(manifests[0].read_text().replace("readinessProbe", "readynessProbe"))
        wrong.flush()
        expect(subprocess.run([validate, "--strict", wrong.name], capture_output=True).returncode != 0, "a misspelt member is found")


READ_ALERTS = """
import sys, promql_parser, yaml
rules = [rule for group in yaml.safe_load(open(sys.argv[1]))["groups"] for rule in group["rules"]]
for rule in rules:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
    promql_parser.parse(rule["expr"])
print(len(rules))
"""


@test("every alert rule is an expression that Prometheus' language knows")
def alerts(_):
    python = os.environ.get("ALGA_PROMQL_PYTHON")
    if not python:
        raise Skip("no parser: ALGA_PROMQL_PYTHON names no Python that has promql_parser")
    text = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        for wrong, content in ((False, text), (True, text.replace("sum(rate(", "sum(rat(", 1))):
            file.seek(0)
            file.truncate()
            file.write(content)
            file.flush()
            done = subprocess.run([python, "-c", READ_ALERTS, file.name], capture_output=True, text=True)
            expect_equal(done.returncode != 0, wrong, f"a refusal: {done.stderr}")
            if not wrong:
                expect_equal(int(done.stdout), len(re.findall(r"^\s*- alert:", text, re.M)), "rules")


def kustomize_command():
    """The program that puts manifests together, alone or within kubectl."""
    alone = os.environ.get("ALGA_KUSTOMIZE") or shutil.which("kustomize")
    if alone:
        return [alone, "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    raise Skip("neither kustomize nor kubectl is on the PATH, nor kustomize in ALGA_KUSTOMIZE")


@test("kustomize puts the manifests together, each with its sample configuration")
def kustomize(_):
    command = kustomize_command()
    for folder, extra in (("", []), ("knative", ["--load-restrictor=LoadRestrictionsNone"])):
        done = subprocess.run([*command, DEPLOY / folder, *extra], capture_output=True, text=True)
        expect_equal(done.returncode, 0, done.stderr)
        expect("algad.toml: |" in done.stdout, f"a configuration in what {folder or 'deploy'} makes")


@test("every kubectl command of the page and of the manifests exists, with the options that it names")
def kubectl(_):
    if not shutil.which("kubectl"):
        raise Skip("kubectl is not on the PATH")
    page = (DEPLOY.parent / "docs" / "operations" / "README.md").read_text()
    lines = re.findall(r"^ *(kubectl .+)$", page, re.M) + re.findall(r"`(kubectl [^`]+)`", page)
    for manifest in MANIFESTS:
        lines += re.findall(r"^# (kubectl .+)$", manifest.read_text(), re.M)
    commands = {part.strip() for line in lines for part in line.split(" | ") if part.strip().startswith("kubectl ")}
    expect(len(commands) >= 7, f"commands: {commands}")
    everywhere = subprocess.run(["kubectl", "options"], capture_output=True, text=True).stdout
    for command in sorted(commands):
        words = re.sub(r" -n \S+", "", command).split()[1:]
        names = [word for word in words if re.fullmatch(r"[a-z]+", word)]
        shown = subprocess.run(["kubectl", *names, "--help"], capture_output=True, text=True)
        expect_equal(shown.returncode, 0, f"{command}: {shown.stderr}")
        for option in [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]:
            said = f"{shown.stdout}\n{everywhere}"
            expect(re.search(rf"^ *(-., )?{re.escape(option)}[=,]", said, re.M), f"{command}: no option {option}")


@test("the unit for systemd is one, and starts the program with options that it has")
def unit(_):
    unit = DEPLOY / "systemd" / "algad@.service"
    start = re.search(r"^ExecStart=\S+ (.*)$", unit.read_text(), re.M).group(1).split()
    expect_equal(start[:2], ["serve", "--config"], "the command")
    status, out, _ = algad("serve", "--help")
    for option in [part for part in start if part.startswith("--")]:
        expect(option in out, f"{option} is none of {out}")
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not on this machine; the options were checked")
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    faults = [line for line in done.stderr.splitlines() if "algad" in line and "is not executable" not in line and "Command /usr/local/bin/algad" not in line]
    expect_equal(faults, [], "what systemd says of the unit")


@test("the image starts the program with options that it has")
def image(_):
    text = (DEPLOY / "Containerfile").read_text()
    command = re.findall(r'"([^"]+)"', re.search(r"^CMD (\[.*\])$", text, re.M).group(1))
    expect_equal(command[0], "serve", "the command")
    _, out, _ = algad("serve", "--help")
    for option in [part for part in command if part.startswith("--")]:
        expect(option in out, f"{option} is none of {out}")


sys.exit(main(None))
