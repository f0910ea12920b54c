"""Runs every query of the Grafana dashboard on a real Prometheus and demands data.

    python dashboards.py PROMETHEUS DEPLOY ADDRESS

PROMETHEUS is the program, DEPLOY the folder with the dashboard and the rules, ADDRESS the host and
port of a server (or several, by comma) whose /metrics is scraped. Needs nothing but Python.
"""

import json
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

SCRAPE_SECONDS = 1
# Long enough for a rate over several scrapes, short enough to be full soon.
RATE_SECONDS = 8
DEADLINE_SECONDS = 90
CONFIG = """
global: {{scrape_interval: {scrape}s, evaluation_interval: {scrape}s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: sardonyx
    static_configs: [{{targets: [{targets}]}}]
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Prometheus:
    """A Prometheus of its own, gone with the block."""

    def __init__(self, program: str, rules: pathlib.Path, addresses: str):
        self.folder = tempfile.TemporaryDirectory()
        place = pathlib.Path(self.folder.name)
        targets = ", ".join(json.dumps(address) for address in addresses.split(","))
        config = CONFIG.format(scrape=SCRAPE_SECONDS, rules=json.dumps(str(rules)), targets=targets)
        (place / "prometheus.yml").write_text(config)
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}/api/v1/"
        self.log = (place / "log").open("w+")
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={place / 'prometheus.yml'}",
                f"--storage.tsdb.path={place / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "Prometheus":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        if kind is not None:
            self.log.seek(0)
            sys.stderr.write(self.log.read()[-4000:])
        self.log.close()
        self.folder.cleanup()

    def get(self, path: str, **values: str) -> list | dict:
        query = urllib.parse.urlencode(values)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{values or path}: {error.read().decode()}") from None

    def has_data(self, expression: str) -> bool:
        """Whether a query gives at least one number; NaN is none."""
        series = self.get("query", query=expression)["result"]
        return any(sample["value"][1] != "NaN" for sample in series)

    def wait_for(self, expression: str) -> None:
        start = time.monotonic()
        while time.monotonic() < start + DEADLINE_SECONDS:
            if self.process.poll() is not None:
                raise SystemExit("prometheus has ended")
            try:
                if self.has_data(expression):
                    return
            except urllib.error.URLError:
                pass
            time.sleep(SCRAPE_SECONDS / 4)
        raise SystemExit(f"no data within {DEADLINE_SECONDS} s: {expression}")


def filled(expression: str, variables: list[str]) -> str:
    """A query as Grafana sends it when every variable is set to all."""
    expression = expression.replace("$__rate_interval", f"{RATE_SECONDS}s")
    for name in variables:
        expression = expression.replace(f'"${name}"', '".*"')
    return expression


def check_dashboard(prometheus: Prometheus, dashboard: dict) -> int:
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    variables.remove("datasource")
    empty = []
    queries = 0
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            queries += 1
            expression = filled(target["expr"], variables)
            if "$" in expression or not prometheus.has_data(expression):
                empty.append(f"{panel['title']}: {expression}")
    for annotation in dashboard["annotations"]["list"]:
        prometheus.get("query", query=filled(annotation["expr"], variables))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            inner = variable["definition"].removeprefix("label_values(").removesuffix(")")
            series, label = inner.rsplit(", ", 1)
            series = filled(series, variables)
            if not prometheus.get(f"label/{label}/values", **{"match[]": series}):
                empty.append(f"variable {variable['name']}: {series}")
    if empty:
        raise SystemExit("queries without data:\n  " + "\n  ".join(empty))
    return queries


def check_rules(prometheus: Prometheus) -> int:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    for rule in rules:
        if rule["health"] != "ok":
            raise SystemExit(f"{rule['name']}: {rule.get('lastError', rule['health'])}")
        if rule["type"] == "recording":
            prometheus.wait_for(rule["name"])
    return len(rules)


def main() -> None:
    program, deploy, addresses = sys.argv[1:]
    folder = pathlib.Path(deploy).resolve()
    dashboard = json.loads((folder / "grafana/sardonyx-serving.json").read_text())
    with Prometheus(program, folder / "prometheus/rules.yml", addresses) as prometheus:
        scrapes = RATE_SECONDS // SCRAPE_SECONDS
        prometheus.wait_for(f'count_over_time(up{{job="sardonyx"}}[5m]) > {scrapes} and up == 1')
        rules = check_rules(prometheus)
        queries = check_dashboard(prometheus, dashboard)
    print(f"{queries} queries of the dashboard have data, {rules} rules are well")
    if queries < 40 or rules < 20:
        raise SystemExit("too few were found to believe it")


if __name__ == "__main__":
    main()
