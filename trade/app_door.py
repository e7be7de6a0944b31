"""The door to an app's own access: read the request, run one flow, answer."""

from __future__ import annotations

from datetime import UTC

from mesh.clock import real_now
from mesh.door import Context
from mesh.lists import Page
from mesh.replays import mark
from mesh.wire import fingerprint
from tongbao.trade.v1 import app_service_pb2 as pb
from tongbao.trade.v1 import webhook_pb2
from tongbao.trade.v1.app_service_pb2_grpc import AppServiceServicer
from trade.desk import Desk
from trade.flow._own import own_app
from trade.flow.add_app_key import add_app_key
from trade.flow.get_webhook_endpoint import get_webhook_endpoint
from trade.flow.list_app_keys import list_app_keys
from trade.flow.list_webhook_attempts import list_webhook_attempts
from trade.flow.list_webhooks import list_webhooks
from trade.flow.resend_webhook import resend_webhook
from trade.flow.retire_app_key import retire_app_key
from trade.flow.rotate_webhook_secret import rotate_webhook_secret
from trade.flow.update_webhook_endpoint import update_webhook_endpoint
from trade.states import WebhookState
from trade.wire_access import (
    attempt_to_proto,
    endpoint_to_proto,
    key_to_proto,
    webhook_to_proto,
)


class AppService(AppServiceServicer):
    """For apps, and for operators in their place."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetWebhookEndpoint(  # noqa: N802
        self, request: pb.GetWebhookEndpointRequest, context: Context
    ) -> pb.GetWebhookEndpointResponse:
        """Returns where webhooks go; see the contract."""
        endpoint = await get_webhook_endpoint(self._desk, app_id=request.app_id)
        told = endpoint_to_proto(endpoint, now=self._desk.clock.now())
        return pb.GetWebhookEndpointResponse(endpoint=told)

    async def UpdateWebhookEndpoint(  # noqa: N802
        self, request: pb.UpdateWebhookEndpointRequest, context: Context
    ) -> pb.UpdateWebhookEndpointResponse:
        """Sends webhooks elsewhere; see the contract."""
        endpoint, replayed = await update_webhook_endpoint(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            url=request.url,
        )
        mark(context, replayed=replayed)
        told = endpoint_to_proto(endpoint, now=self._desk.clock.now())
        return pb.UpdateWebhookEndpointResponse(endpoint=told)

    async def RotateWebhookSecret(  # noqa: N802
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> pb.RotateWebhookSecretResponse:
        """Gives the app a new secret; see the contract."""
        endpoint, secret, replayed = await rotate_webhook_secret(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            overlap_hours=request.overlap_hours,
        )
        mark(context, replayed=replayed)
        told = endpoint_to_proto(endpoint, now=self._desk.clock.now())
        return pb.RotateWebhookSecretResponse(endpoint=told, webhook_secret=secret)

    async def ListWebhooks(  # noqa: N802
        self, request: pb.ListWebhooksRequest, context: Context
    ) -> pb.ListWebhooksResponse:
        """Lists webhooks; see the contract."""
        app = await own_app(self._desk, request.app_id)
        names = (webhook_pb2.Webhook.State.Name(state) for state in request.states)
        webhooks, token = await list_webhooks(
            self._desk,
            app,
            trade_no=request.trade_no,
            states=[WebhookState[name.removeprefix("STATE_")].value for name in names],
            page=Page.of(request),
        )
        told = [webhook_to_proto(webhook) for webhook in webhooks]
        return pb.ListWebhooksResponse(webhooks=told, next_page_token=token)

    async def ListWebhookAttempts(  # noqa: N802
        self, request: pb.ListWebhookAttemptsRequest, context: Context
    ) -> pb.ListWebhookAttemptsResponse:
        """Lists tries to deliver; see the contract."""
        app = await own_app(self._desk, request.app_id)
        page = Page.of(request)
        attempts, token = await list_webhook_attempts(
            self._desk, app, webhook_id=request.webhook_id, page=page
        )
        told = [attempt_to_proto(attempt) for attempt in attempts]
        return pb.ListWebhookAttemptsResponse(attempts=told, next_page_token=token)

    async def ResendWebhook(  # noqa: N802
        self, request: pb.ResendWebhookRequest, context: Context
    ) -> pb.ResendWebhookResponse:
        """Sends a webhook once more; see the contract."""
        webhook, replayed = await resend_webhook(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            webhook_id=request.webhook_id,
        )
        mark(context, replayed=replayed)
        return pb.ResendWebhookResponse(webhook=webhook_to_proto(webhook))

    async def AddAppKey(  # noqa: N802
        self, request: pb.AddAppKeyRequest, context: Context
    ) -> pb.AddAppKeyResponse:
        """Adds a key; see the contract."""
        key, replayed = await add_app_key(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            public_key_pem=request.public_key_pem,
        )
        mark(context, replayed=replayed)
        return pb.AddAppKeyResponse(key=key_to_proto(key, now=real_now()))

    async def RetireAppKey(  # noqa: N802
        self, request: pb.RetireAppKeyRequest, context: Context
    ) -> pb.RetireAppKeyResponse:
        """Retires a key; see the contract."""
        is_later = request.HasField("retire_time")
        key, replayed = await retire_app_key(
            self._desk,
            request_id=request.request_id,
            fingerprint=fingerprint(request),
            app_id=request.app_id,
            key_id=request.key_id,
            retire_time=request.retire_time.ToDatetime(tzinfo=UTC) if is_later else None,
        )
        mark(context, replayed=replayed)
        return pb.RetireAppKeyResponse(key=key_to_proto(key, now=real_now()))

    async def ListAppKeys(  # noqa: N802
        self, request: pb.ListAppKeysRequest, context: Context
    ) -> pb.ListAppKeysResponse:
        """Lists keys; see the contract."""
        now = real_now()
        keys = await list_app_keys(self._desk, app_id=request.app_id)
        return pb.ListAppKeysResponse(keys=[key_to_proto(key, now=now) for key in keys])
