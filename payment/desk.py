"""What every flow of this service works with."""

from __future__ import annotations

from dataclasses import dataclass

from mesh.call import BatchLink, StreamLink
from mesh.clock import Clock
from mesh.crew import Crew
from mesh.db import Database
from tongbao.channel.v1 import channel_service_pb2
from tongbao.ledger.v1 import ledger_service_pb2
from tongbao.risk.v1 import risk_service_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The first parameter of every flow."""

    db: Database
    clock: Clock
    crew: Crew
    risk: BatchLink[risk_service_pb2.EvaluateItem, risk_service_pb2.EvaluateResult]
    ledger: BatchLink[ledger_service_pb2.PostItem, ledger_service_pb2.PostResult]
    channel: StreamLink[channel_service_pb2.SubmitItem, channel_service_pb2.SubmitResult]
    closes: StreamLink[channel_service_pb2.CloseItem, channel_service_pb2.CloseResult]
