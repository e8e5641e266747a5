"""Reports as their users see them: defined, shown, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from addon.models.reports import Report
from addon.schedules.reports.definition import (
    read_definition,
    read_period,
    secrets_of,
    shown,
    with_secrets,
)
from addon.schedules.reports.inputs import check_asked
from addon.schedules.reports.window import window_of
from platform_core.base.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from addon.models.accounts import Account
    from addon.models.reports import DeliveryTarget, ReportRun
    from addon.schedules.deliveries.port import Delivery
    from addon.schedules.reports.folders import ReportFolders
    from addon.schedules.reports.secrets import SecretBox
    from addon.store.catalog import SqlCatalog
    from addon.store.reports import ReportStore, StoredReport

_A_SLOT = 1_800_000_000
"""Any time: to see whether a definition holds once the places for its time are filled."""
MOST_REPORTS = 500


class Reports:
    """The account's definitions."""

    def __init__(  # noqa: PLR0917  (what a definition touches)
        self,
        store: ReportStore,
        ways: Mapping[str, Delivery],
        box: SecretBox,
        folders: ReportFolders,
        catalog: SqlCatalog,
        public_url: str,
    ) -> None:
        """Keep them in ``store``, their secrets sealed by ``box``; links begin with ``public_url``."""
        self._store = store
        self._ways = ways
        self._box = box
        self._folders = folders
        self._catalog = catalog
        self._public_url = public_url

    def put(self, account: Account, name: str, body: Mapping[str, Any]) -> Report:
        """Make a report, or change it; a masked secret stays what it is.

        Raises:
            InvalidInput: a field is not allowed; it says which, what was given, and what is allowed.
        """
        stored = self._store.find(account.id, name)
        if stored is None and len(self._store.list(account.id)) >= MOST_REPORTS:
            raise InvalidInput(f"An account has at most {MOST_REPORTS} reports.", hint="Delete one first.")
        before = () if stored is None else self._opened(account.id, stored).definition.deliveries
        period = read_period(body)
        window = window_of(period, _A_SLOT)
        try:
            definition = read_definition(
                name,
                body,
                self._ways,
                before,
                lambda one: check_asked(one, window, _A_SLOT, self._catalog, account.id),
            )
        except RecursionError as error:
            raise InvalidInput("The definition is nested too deeply.") from error
        sealed = self._box.seal(secrets_of(definition, self._ways))
        return self._opened(
            account.id, self._store.put(account.id, name, shown(definition, self._ways), sealed)
        )

    def get(self, account: Account, name: str) -> Report:
        """Return a report.

        Raises:
            NotFound: the account has none of this name.
        """
        return self._opened(account.id, self._store.get(account.id, name))

    def list(self, account: Account) -> Sequence[Report]:
        """Return the account's reports by name."""
        return [self._opened(account.id, stored) for stored in self._store.list(account.id)]

    def delete(self, account: Account, name: str) -> None:
        """Delete a report with all its runs.

        Raises:
            NotFound: the account has none of this name.
        """
        self._store.delete(account.id, name)
        self._folders.drop_report(account.id, name)

    def shown(self, report: Report) -> dict[str, Any]:
        """Return a report as JSON, without secrets."""
        return shown(report.definition, self._ways)

    def target(self, target: DeliveryTarget) -> str:
        """Return in words where a delivery goes."""
        return self._ways[target.type].target(target.settings)

    def link(self, run: ReportRun) -> str:
        """Return where a run's page is."""
        return f"{self._public_url}/api/reports/{run.report}/runs/{run.id}/report.html"

    def _opened(self, account_id: int, stored: StoredReport) -> Report:
        body = with_secrets(stored.definition, self._box.open(stored.secrets))
        definition = read_definition(stored.name, body, self._ways)
        return Report(account_id, definition, stored.revision, stored.created_at, stored.updated_at)
