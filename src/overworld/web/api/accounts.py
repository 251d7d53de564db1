"""Accounts and their tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from overworld.domain.accounts import Account, Quota, Role, Token
from overworld.services import accounts as service
from overworld.services import tokens as token_service
from overworld.store import accounts as rows
from overworld.store import tokens as token_rows
from overworld.web.dispatch import expected_versions
from overworld.web.routes import Answer, Call, Reply, Routes
from overworld.web.wire import PLAIN_TEXT, Given, PageAsked, Shown, Whole

routes = Routes("accounts", "Accounts, quotas and API tokens.")

MAX_COUNT = 2**31 - 1
MAX_LIFETIME_SECONDS = int(token_service.MAX_LIFETIME.total_seconds())
Count = Annotated[int, Field(ge=0, le=MAX_COUNT), Whole]
AccountName = Annotated[str, Field(min_length=1, max_length=63, pattern=PLAIN_TEXT)]


class AccountQuota(Shown):
    """The most that an account may own."""

    servers: int
    memory_mib: int


class AccountEntry(Shown):
    """A person or an app."""

    id: str
    name: str
    role: Role
    quota: AccountQuota
    created_at: datetime
    disabled_at: datetime | None


class AccountList(Shown):
    """A page of accounts."""

    items: list[AccountEntry]
    next_page_token: str | None


class AccountUsed(Shown):
    """What an account owns: stopped servers too, and deleted ones until they are purged."""

    servers: int
    memory_mib: int


class Me(Shown):
    """Who you are, by the token that you sent."""

    account: AccountEntry
    used: AccountUsed
    token_id: str


class QuotaGiven(Given):
    """The most that an account may own."""

    servers: Count
    memory_mib: Count


class AccountGiven(Given):
    """An account to make."""

    name: AccountName
    role: Role = Field(default=Role.USER, strict=False)
    quota: QuotaGiven | None = Field(default=None, description="Null: as this installation is set.")


class AccountEdit(Given):
    """What to change of an account; what is left out (or null) stays."""

    role: Role | None = Field(default=None, strict=False)
    quota: QuotaGiven | None = None
    disabled: bool | None = Field(default=None, description="True: none of its tokens works any more.")


class TokenEntry(Shown):
    """An API token, without its secret."""

    id: str
    account_id: str
    label: str
    prefix: str = Field(description="The public part of the token, to recognise it by.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")
    revoked_at: datetime | None


class TokenList(Shown):
    """A page of tokens."""

    items: list[TokenEntry]
    next_page_token: str | None


class TokenIssued(TokenEntry):
    """A new token, with its secret: this is the only time that it is shown."""

    token: str


class TokenGiven(Given):
    """A token to issue."""

    label: AccountName = Field(description="What it is for.")
    lifetime_seconds: Annotated[int, Field(ge=60, le=MAX_LIFETIME_SECONDS), Whole] | None = Field(
        default=None, description="Null: it never expires."
    )


def show_account(account: Account) -> AccountEntry:
    """The account as clients see it."""
    return AccountEntry(
        id=account.id,
        name=account.name,
        role=account.role,
        quota=AccountQuota(servers=account.quota.servers, memory_mib=account.quota.memory_mib),
        created_at=account.created_at,
        disabled_at=account.disabled_at,
    )


def show_token(token: Token) -> TokenEntry:
    """The token as clients see it."""
    return TokenEntry(
        id=token.id,
        account_id=token.account_id,
        label=token.label,
        prefix=token.prefix,
        created_at=token.created_at,
        expires_at=token.expires_at,
        last_used_at=token.last_used_at,
        revoked_at=token.revoked_at,
    )


def account_id_of(call: Call, given: str) -> str:
    """The account that a path names: ``me`` is the actor's own."""
    return call.actor.account_id if given == "me" else given


@routes.route("GET", "/me", Answer(200, "Your account.", Me))
def me(call: Call) -> Reply:
    """Show who you are, what you may own and what you own."""
    account = service.find(call.tx, call.actor, call.actor.account_id)
    servers, memory_mib = rows.count_usage(call.tx, account.id)
    used = AccountUsed(servers=servers, memory_mib=memory_mib)
    return Reply(200, Me(account=show_account(account), used=used, token_id=call.actor.token_id or ""))


@routes.route("GET", "/accounts", Answer(200, "A page, by name.", AccountList), query=PageAsked, problems=(403,))
def list_accounts(call: Call, query: PageAsked) -> Reply:
    """List all accounts (admins only)."""
    service.check_may_manage(call.actor)
    page = rows.list_accounts(call.tx, page_size=query.page_size, page_token=query.page_token)
    items = [show_account(account) for account in page.items]
    return Reply(200, AccountList(items=items, next_page_token=page.next_token))


@routes.route(
    "POST",
    "/accounts",
    Answer(201, "The account.", AccountEntry, ("Location",), names={"account_id": "/id"}),
    body=AccountGiven,
    problems=(403,),
)
def create(call: Call, body: AccountGiven) -> Reply:
    """Make an account (admins only)."""
    settings = call.installation.settings
    quota = Quota(settings.quota_servers, settings.quota_memory_mib) if body.quota is None else _quota(body.quota)
    account = service.create(call.tx, call.actor, name=body.name, role=body.role, quota=quota, now=call.now)
    return Reply(201, show_account(account), headers={"Location": f"/api/v1/accounts/{account.id}"})


@routes.route("GET", "/accounts/<account_id>", Answer(200, "The account.", AccountEntry, ("ETag",)))
def show(call: Call, account_id: str) -> Reply:
    """Show one account: your own, or (admins) any."""
    account = service.find(call.tx, call.actor, account_id_of(call, account_id))
    return Reply(200, show_account(account), version=service.version_of(account))


@routes.route(
    "PATCH",
    "/accounts/<account_id>",
    Answer(200, "The account, changed.", AccountEntry, ("ETag",)),
    body=AccountEdit,
    problems=(403, 409),
    takes_if_match=True,
)
def edit(call: Call, account_id: str, body: AccountEdit) -> Reply:
    """Change an account's role or quota, or disable it (admins only)."""
    account = service.edit(
        call.tx,
        call.actor,
        account_id_of(call, account_id),
        expected=expected_versions(),
        role=body.role,
        quota=None if body.quota is None else _quota(body.quota),
        disabled=body.disabled,
        now=call.now,
    )
    return Reply(200, show_account(account), version=service.version_of(account))


@routes.route("GET", "/accounts/<account_id>/tokens", Answer(200, "A page, newest first.", TokenList), query=PageAsked)
def list_tokens(call: Call, account_id: str, query: PageAsked) -> Reply:
    """List an account's tokens, revoked and expired ones too."""
    account = service.find(call.tx, call.actor, account_id_of(call, account_id))
    page = token_rows.list_tokens(call.tx, account.id, page_size=query.page_size, page_token=query.page_token)
    return Reply(200, TokenList(items=[show_token(token) for token in page.items], next_page_token=page.next_token))


@routes.route(
    "POST",
    "/accounts/<account_id>/tokens",
    Answer(
        201,
        "The token. Keep it: it is never shown again.",
        TokenIssued,
        names={"token_id": "/id", "account_id": "/account_id"},
    ),
    body=TokenGiven,
    shows_secret=True,
)
def issue_token(call: Call, account_id: str, body: TokenGiven) -> Reply:
    """Issue a token.

    A repeat with the same Idempotency-Key issues nothing and is a 409, since the secret is not kept anywhere.
    """
    issued = token_service.issue(
        call.tx,
        call.actor,
        account_id_of(call, account_id),
        label=body.label,
        lifetime=None if body.lifetime_seconds is None else timedelta(seconds=body.lifetime_seconds),
        now=call.now,
    )
    entry = TokenIssued(**show_token(issued.token).model_dump(), token=issued.plain)
    return Reply(201, entry, headers={"Cache-Control": "no-store"})


@routes.route("DELETE", "/accounts/<account_id>/tokens/<token_id>", Answer(204, "It opens nothing any more."))
def revoke_token(call: Call, account_id: str, token_id: str) -> Reply:
    """Revoke a token, at once and for good."""
    token_service.revoke(call.tx, call.actor, account_id_of(call, account_id), token_id, call.now)
    return Reply(204)


def _quota(given: QuotaGiven) -> Quota:
    return Quota(servers=given.servers, memory_mib=given.memory_mib)
