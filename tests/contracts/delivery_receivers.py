"""The ways out of a report with real receivers behind them, and a finished run to send."""

from __future__ import annotations

import asyncio
import json
import threading
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pg8000.dbapi
import pyarrow as pa
import pyarrow.parquet as pq

from addon.ingest.service import IngestService
from addon.models.accounts import PLANS, Account, AccountState
from addon.models.reports import ReportRun, RunState, Window
from addon.models.tables import TableRef
from addon.schedules.deliveries.egress import Egress
from addon.schedules.deliveries.files import FileDelivery
from addon.schedules.deliveries.mail import MailDelivery, SmtpServer
from addon.schedules.deliveries.port import Delivery, Parcel
from addon.schedules.deliveries.postgres import PostgresDelivery
from addon.schedules.deliveries.table import TableDelivery
from addon.schedules.deliveries.webhook import WebhookDelivery
from addon.store.catalog import SqlCatalog
from addon.store.database import Database
from addon.store.uploads import SqlUploadLedger
from addon.warehouse.store import DeltaWarehouse
from platform_core.base.clock import FixedClock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.object_servers import ObjectServer
    from tests.postgres import PostgresServer
    from tests.smtp_server import SmtpProcess

NOW = 1_800_000_000
SLOT = 1_799_971_200
ROWS = [
    {"item": "Kind of Blue", "metric": 1.5, "rank": 1},
    {"item": "tab\tand\\back\nline", "metric": None, "rank": 2},
    {"item": None, "metric": float("nan"), "rank": None},
]
SECRET = "sensible-and-long"
PNG = bytes.fromhex("89504e470d0a1a0a") + b"not a real picture"


def parcel(folder: Path, *, run_id: int = 7, missing: Sequence[str] = (), name: str = "one") -> Parcel:
    """Return a finished run with one analysis, one chart, and the rows above."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    kinds = pa.schema([("item", pa.string()), ("metric", pa.float64()), ("rank", pa.int32())])
    pq.write_table(pa.Table.from_pylist(ROWS, schema=kinds), folder / "tables" / "products.ranking.parquet")
    (folder / "tables" / "products.manifest.json").write_text("{}")
    (folder / "report.html").write_text("<p>whole</p>")
    (folder / "mail.html").write_text('<p>short <img src="cid:products-1" alt="bars"></p>')
    (folder / "mail.txt").write_text("short text\n")
    (folder / "chart-products-1.png").write_bytes(PNG)
    facts: dict[str, Any] = {
        "title": "Daily",
        "incomplete": list(missing),
        "sections": [{"key": "products", "charts": [{"name": "products-1", "summary": "bars"}]}],
    }
    (folder / "report.json").write_text(json.dumps(facts))
    run = ReportRun(
        id=run_id,
        account_id=1,
        report="daily",
        job_id=3,
        epoch=1,
        revision=1,
        slot=SLOT,
        window=Window(SLOT - 86_400, SLOT, "Thursday, 14 January 2027 (UTC)"),
        state=RunState.SUCCESS,
        folder=f"daily/{run_id}.1",
        facts={
            "keys": ["products"],
            "analyses": {"products": "ranking"},
            "incomplete": [{"code": "late_data", "text": text} for text in missing],
        },
        error="",
        started_at=NOW,
        ended_at=NOW + 5.0,
    )
    account = Account(1, None, "one", PLANS["premium"], AccountState.PROVISIONED, 0.0)
    return Parcel(account, "Daily", run, folder, facts, f"report-run-{run_id}-{name}", "http://sluice/r/7")


class Way(ABC):
    """A delivery with its receiver; ``arrived`` tells what the receiver holds of each run, in one form."""

    delivery: Delivery
    settings: dict[str, Any]
    wrong: dict[str, Any]
    """Settings of which one is not allowed, under its name in ``wrong_name``."""
    wrong_name: str
    secrets: tuple[str, ...] = ()
    """Texts that no target and no error may hold."""

    async def open(self) -> None:  # noqa: B027  (most have nothing to begin)
        """Begin."""

    async def close(self) -> None:  # noqa: B027  (likewise)
        """End."""

    @abstractmethod
    async def arrived(self) -> dict[int, int]:
        """Return, by run, how many things the receiver keeps of it: copies of a mail, rows, objects."""

    @abstractmethod
    def once(self) -> int:
        """Return how many a run's one delivery is."""

    @abstractmethod
    def away(self) -> dict[str, Any] | None:
        """Return settings whose receiver is not there; None where there is none that could be away."""


class MailWay(Way):
    """The operator's server, and recipients who know a repeat by its Message-ID."""

    def __init__(self, server: SmtpProcess) -> None:
        self.server = server
        self.smtp = SmtpServer("127.0.0.1", server.port, "none", sender="reports@sluice.example")
        self.delivery = MailDelivery(Egress("smtp://127.0.0.1:1"), self.smtp)
        self.settings = {"to": ["ann@example.com", "bob@example.com"]}
        self.wrong, self.wrong_name = {"to": ["ann at example"]}, "to[0]"

    async def arrived(self) -> dict[int, int]:
        found = {
            mail.message["message-id"]: mail.message["x-sluice-delivery"] for mail in self.server.mails()
        }
        runs = [int(key.split("-")[2]) for key in found.values()]
        return {run: runs.count(run) for run in runs}

    def once(self) -> int:
        return 1

    def away(self) -> dict[str, Any]:
        return self.settings | {
            "host": "127.0.0.1", "port": 1, "security": "none", "from": "me@example.com",
        }  # fmt: skip


class Hook:
    """A webhook on the loopback: keeps requests, answers as told, sees repeats by their key."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                found = {name.lower(): value for name, value in self.headers.items()}
                hook.requests.append((self.path, found, body))
                status, headers = hook.answers.pop(0) if hook.answers else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class WebhookWay(Way):
    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.delivery = WebhookDelivery(Egress(f"{hook.origin},http://127.0.0.1:1"), FixedClock(NOW))
        self.settings = {"url": f"{hook.origin}/hooks/T0K3N-in-path?x=1", "secret": SECRET}
        self.wrong, self.wrong_name = {"url": "ftp://example.com"}, "url"
        self.secrets = (SECRET, "T0K3N")

    async def arrived(self) -> dict[int, int]:
        keys = {headers["idempotency-key"] for _, headers, _ in self.hook.requests}
        return {int(key.split("-")[2]): 1 for key in keys}

    def once(self) -> int:
        return 1

    def away(self) -> dict[str, Any]:
        return {"url": "http://127.0.0.1:1/hook"}


class TableWay(Way):
    """The real write-ahead log and Delta tables."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.database = Database(f"sqlite:///{home}/addon.db")
        self.database.migrate()
        self.catalog = SqlCatalog(self.database, SystemClock(), keep_s=0.0)
        self.warehouse = DeltaWarehouse(home / "warehouse", places=self.catalog.place)
        ledger = SqlUploadLedger(self.database)
        self.ingest = IngestService(home / "wal", self.warehouse, self.catalog, ledger, linger_s=0.02)
        self.delivery = TableDelivery(self.ingest, self.catalog, FixedClock(NOW), self.check_quota)
        self.settings = {"database": "marketing", "table": "best_sellers", "analysis": "products"}
        self.wrong, self.wrong_name = {"database": "Marketing!", "table": "best_sellers"}, "database"

    async def check_quota(self, account: Account) -> None:
        assert account.id == 1

    async def open(self) -> None:
        await self.ingest.start()

    async def close(self) -> None:
        await self.ingest.close()
        self.warehouse.close()
        self.database.close()

    async def arrived(self) -> dict[int, int]:
        await self.ingest.flush(1)
        snapshot = self.warehouse.snapshot(TableRef(1, "marketing", "best_sellers"))
        counts: dict[int, int] = {}
        for file in snapshot.files if snapshot is not None else ():
            for row in pq.read_table(file, partitioning=None).to_pylist():
                run = next(value for name, value in row.items() if name.startswith("report_run"))
                counts[run] = counts.get(run, 0) + 1
        return counts

    def once(self) -> int:
        return len(ROWS)

    def away(self) -> dict[str, Any] | None:
        return None


class PostgresWay(Way):
    def __init__(self, server: PostgresServer, database: str) -> None:
        self.server = server
        self.url = server.create(database)
        origin = f"postgresql://127.0.0.1:{server.port}"
        self.delivery = PostgresDelivery(Egress(f"{origin},postgresql://127.0.0.1:1"))
        self.settings = {"url": self.url, "table": "best sellers"}
        self.wrong, self.wrong_name = {"url": "mysql://u:p4ss@host/db", "table": "x"}, "url"
        self.secrets = ("not-a-secret",)

    def sql(self, statement: str) -> list[Any]:
        connection = pg8000.dbapi.connect(
            "sluice", host="127.0.0.1", port=self.server.port, password="not-a-secret",
            database=self.url.rpartition("/")[2],
        )  # fmt: skip
        with closing(connection):
            cursor = connection.cursor()
            cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return rows

    async def arrived(self) -> dict[int, int]:
        if not self.sql("SELECT 1 FROM pg_tables WHERE tablename = 'best sellers'"):
            return {}
        rows = self.sql('SELECT report_run, count(*) FROM "best sellers" GROUP BY 1')
        return {int(run): int(count) for run, count in rows}

    def once(self) -> int:
        return len(ROWS)

    def away(self) -> dict[str, Any]:
        return {"url": "postgresql://u:not-a-secret@127.0.0.1:1/db", "table": "x"}


class FolderWay(Way):
    def __init__(self, home: Path) -> None:
        self.home = home
        self.delivery = FileDelivery(Egress(), home)
        self.settings = {"prefix": "marketing/reports"}
        self.wrong, self.wrong_name = {"prefix": "../../etc"}, "prefix"

    async def arrived(self) -> dict[int, int]:
        files = [path for path in self.home.rglob("*") if path.is_file()]
        runs = [int(path.as_posix().partition("-run-")[2].partition("/")[0]) for path in files]
        return {run: runs.count(run) for run in runs}

    def once(self) -> int:
        return 5  # page, JSON, picture, rows, manifest

    def away(self) -> dict[str, Any] | None:
        return None


class BucketWay(FolderWay):
    def __init__(self, server: ObjectServer, home: Path) -> None:
        super().__init__(home)
        server.make_bucket("reports")
        self.server = server
        self.delivery = FileDelivery(Egress(f"{server.url},http://127.0.0.1:1"), home)
        self.settings = {
            "bucket": "reports", "prefix": "marketing", "endpoint": server.url,
            "access_key": "test", "secret_key": "testtest-secret",
        }  # fmt: skip
        self.wrong, self.wrong_name = {"bucket": "No_Bucket"}, "bucket"
        self.secrets = ("testtest-secret",)

    async def arrived(self) -> dict[int, int]:
        import obstore  # noqa: PLC0415
        from obstore.store import S3Store  # noqa: PLC0415

        store = S3Store(
            "reports", endpoint=self.server.url, region="us-east-1", access_key_id="test",
            secret_access_key="testtest-secret", client_options={"allow_http": True},
        )  # fmt: skip
        listed = await asyncio.to_thread(
            lambda: [one["path"] for chunk in obstore.list(store) for one in chunk]
        )
        runs = [int(path.partition("-run-")[2].partition("/")[0]) for path in listed]
        return {run: runs.count(run) for run in runs}

    def away(self) -> dict[str, Any]:
        return self.settings | {"endpoint": "http://127.0.0.1:1"}


@contextmanager
def hook_server() -> Iterator[Hook]:
    """Run a webhook."""
    hook = Hook()
    try:
        yield hook
    finally:
        hook.close()
