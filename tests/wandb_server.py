"""A stand-in for the server of Weights & Biases, on loopback: what train.py, `wandb sync`,
`wandb agent` and the dashboard ask of it, kept in memory as the real one keeps it.

Lines of a run are stored by their offset, so that what is sent twice is there once, and what is
sent under a wrong number is seen.
"""

import contextlib
import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

VIEWER = {
    "id": "user",
    "entity": "me",
    "username": "me",
    "name": "me",
    "email": "me@example.org",
    "flags": "{}",
    "admin": False,
    "teams": {"edges": []},
    "entities": [],
    "defaultEntity": {"name": "me"},
}


@dataclass
class StoredRun:
    """What the server has of one run."""

    about: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    complete: bool = False
    preempting: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [self.history[line] for line in sorted(self.history)]

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.about.get("config") or "{}")


class WandbServer(ThreadingHTTPServer):
    """The server, its store, and how it misbehaves.

    Attributes:
        runs: by id.
        requests: how many have arrived.
        operations: how often each GraphQL operation was asked for.
        views: workspaces that were saved.
        commands: what the next heartbeats of a sweep's agent are answered with.
        delay: seconds before each answer.
        refuse: the HTTP status that everything is answered with.
        failures: this many requests more are answered with status 500.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs: dict[str, StoredRun] = {}
        self.requests = 0
        self.operations: Counter[str] = Counter()
        self.views: list[dict[str, Any]] = []
        self.commands: list[dict[str, Any]] = []
        self.sweep_config = "{}"
        self.delay, self.refuse, self.failures, self.gone = 0.0, 0, 0, False
        self.unknown: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def run_of(self, name: str) -> StoredRun:
        return self.runs.setdefault(name, StoredRun())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of ours."""

    def vanish(self) -> None:
        """Be gone: open connections break off, new ones are refused."""
        self.gone = True
        self.shutdown()
        self.server_close()


@contextlib.contextmanager
def serving() -> Iterator[WandbServer]:
    server = WandbServer()
    try:
        yield server
    finally:
        server.vanish()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""

    def parse_request(self) -> bool:
        self.server.requests += 1
        return super().parse_request() and not self.server.gone

    def do_GET(self) -> None:
        self._answer({})

    def do_PUT(self) -> None:
        content = self._body()
        _, run, name = self.path.split("/", 2)
        self.server.run_of(run).files[name] = content
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        time.sleep(self.server.delay)
        if self.server.failures:
            self.server.failures -= 1
            return self._answer({"error": "an internal error"}, 500)
        if self.server.refuse:
            return self._answer({"error": "refused"}, self.server.refuse)
        asked = json.loads(body)
        if self.path.endswith("/file_stream"):
            self._store(self.path.split("/")[-2], asked)
            return self._answer({"exitcode": None, "limits": {}})
        return self._answer({"data": self._graphql(asked)})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _store(self, name: str, asked: dict[str, Any]) -> None:
        run = self.server.run_of(name)
        for file, chunk in (asked.get("files") or {}).items():
            lines = [json.loads(line) for line in chunk["content"] if file != "output.log"]
            if file == "wandb-history.jsonl":
                run.history.update(enumerate(lines, chunk["offset"]))
            elif file == "wandb-summary.json":
                run.summary = lines[-1]
        run.preempting = asked.get("preempting", run.preempting)
        if "exitcode" in asked:
            run.exit_code, run.complete = asked["exitcode"], asked.get("complete", False)

    def _graphql(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, given = asked["query"], asked.get("variables") or {}
        operation = asked.get("operationName") or query.split("(")[0].split("{")[0].split()[-1]
        self.server.operations[operation] += 1
        answer = getattr(self, f"_on_{operation}", None)
        if answer is None:
            self.server.unknown.append(operation)
            return {"viewer": VIEWER}
        return dict(answer(given))

    def _on_Viewer(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"viewer": VIEWER}

    def _on_ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _on_ServerInfo(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        versions = {"max_cli_version": "0.99.0"}
        return {
            "serverInfo": {"cliVersionInfo": versions, "latestLocalVersionInfo": None},
            "viewer": VIEWER,
        }

    def _on_RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        run = self.server.runs.get(given["name"])
        if run is None or not run.about:
            return {"model": None}
        last = [json.dumps(run.rows[-1])] if run.rows else []
        bucket = {
            "id": given["name"],
            "name": given["name"],
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.about.get("displayName"),
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(last),
            "eventsTail": "[]",
            "config": run.about.get("config") or "{}",
            "tags": run.about.get("tags") or [],
            "notes": None,
            # Without it W&B's library takes the run for one that was never started.
            "wandbConfig": json.dumps({"t": {}}),
        }
        project = given.get("project") or "uncategorized"
        entity = {"id": "me", "name": "me"}
        return {"model": {"id": "p", "name": project, "entity": entity, "bucket": bucket}}

    def _on_UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        name = given.get("name") or given["id"]
        run = self.server.run_of(name)
        run.about.update({key: value for key, value in given.items() if value is not None})
        project = {"id": "p", "name": run.about.get("project"), "entity": {"id": "e", "name": "me"}}
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.about.get("displayName") or name,
            "description": "",
            "config": run.about.get("config") or "{}",
            "sweepName": run.about.get("sweep"),
            "historyLineCount": len(run.history),
            "project": project,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _upload(self, name: str, run: str) -> dict[str, Any]:
        url = f"{self.server.address}/{run}/{name}"
        return {"name": name, "displayName": name, "uploadUrl": url, "uploadHeaders": []}

    def _on_CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = [self._upload(name, given["run"]) for name in given["files"]]
        return {
            "createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files},
        }

    def _on_RunStoppedStatus(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": {"run": {"stopped": False}}}

    def _on_OrganizationCoreWeaveOrganizationID(  # noqa: N802
        self, given: dict[str, Any]
    ) -> dict[str, Any]:
        return {"entity": {"organization": {"coreWeaveOrganizationId": None}}}

    def _on_ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"project": None}

    def _on_CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        sequence = {"id": "sequence", "latestArtifact": None}
        number = self.server.operations["CreateArtifact"]
        artifact = {"id": f"artifact{number}", "state": "PENDING", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}

    def _on_CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        file = {"id": "f", **self._upload("manifest.json", "artifacts")}
        return {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        file = {"id": "f", **self._upload("manifest.json", "artifacts")}
        return {"updateArtifactManifest": {"artifactManifest": {"id": "m", "file": file}}}

    def _on_CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        edges = [
            {
                "node": {
                    "id": str(place),
                    **self._upload(asked["name"], "artifacts"),
                    "storagePath": asked["name"],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": asked["artifactID"]},
                }
            }
            for place, asked in enumerate(given["input"]["artifactFiles"])
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _on_CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "d"}}}

    def _on_UseArtifact(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"useArtifact": {"artifact": {"id": "artifact"}}}

    def _on_UpsertSweep(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.server.sweep_config = given["config"]
        project = {"id": "p", "name": given.get("projectName"), "entity": {"id": "e", "name": "me"}}
        sweep = {"id": "s", "name": "sweep1", "method": "grid", "state": "RUNNING"}
        return {
            "upsertSweep": {"sweep": {**sweep, "project": project}, "configValidationWarnings": []}
        }

    def _on_SweepWithRuns(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        sweep = {
            "id": "s",
            "name": "sweep1",
            "method": "grid",
            "state": "RUNNING",
            "config": self.server.sweep_config,
            "controller": None,
            "scheduler": None,
            "runs": {"edges": []},
        }
        return {"project": {"sweep": sweep}}

    def _on_CreateAgent(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _on_Heartbeat(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        """One run at a time, and the next one when that has ended."""
        command = None
        if not json.loads(given["runState"]):
            command = {"type": "exit"}
            if self.server.commands:
                program = yaml.safe_load(self.server.sweep_config)["program"]
                command = {"type": "run", "program": program, **self.server.commands.pop(0)}
        commands = json.dumps([command] if command else [])
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": commands}}

    def _on_UpsertView2(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self.server.views.append(given)
        return {"upsertView": {"view": {"id": "view", "name": given["name"]}, "inserted": True}}

    def _on_View(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        edges = [
            {"node": {"id": "view", "displayName": view["displayName"], "spec": view["spec"]}}
            for view in self.server.views
            if view["name"] == given["viewName"]
        ]
        return {"project": {"allViews": {"edges": edges}}}
