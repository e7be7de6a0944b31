"""Two operators before the running service, and what the channel says meanwhile."""

import itertools

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mesh.numbers import Kind
from mesh.tokens import Signer
from mesh.wire import money
from tests.service.payment.scene import NUMBERS, TRACE
from tests.waiting import eventually
from tongbao.channel.v1 import attempt_pb2
from tongbao.channel.v1 import events_pb2 as channel_events
from tongbao.payment.v1 import payment_ops_service_pb2 as ops
from tongbao.payment.v1 import payment_ops_service_pb2_grpc as ops_grpc

Attempt = attempt_pb2.Attempt
_requests = itertools.count(1)
_TOLD = {
    Attempt.STATE_SUCCEEDED: channel_events.AttemptSucceeded,
    Attempt.STATE_FAILED: channel_events.AttemptFailed,
    Attempt.STATE_CLOSED: channel_events.AttemptFailed,
    Attempt.STATE_REVIEW: channel_events.AttemptReviewed,
}


def second_operator(ground):
    """Return the signer of an operator beside the first one."""
    key = Ed25519PrivateKey.generate()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, form)
    (ground.home / "keys" / "public" / "op-second.pem").write_bytes(pem)
    return Signer("op:second", key)


def request_id():
    return f"r-{next(_requests)}"


class Office:
    """The service, its rows, and two operators: `maker` and `checker`."""

    def __init__(self, ground, handle):
        self.ground, self.handle = ground, handle
        self.maker = ops_grpc.PaymentOpsServiceStub(handle.operator())
        self.checker = ops_grpc.PaymentOpsServiceStub(handle.app(second_operator(ground)))

    def seed(self, **columns):
        """Write a payment as if it had come there; return its number."""
        row = {
            "payment_no": NUMBERS.next(Kind.PAYMENT), "app_id": "mall", "business_code": "MALL",
            "trace_no": TRACE, "trade_no": NUMBERS.next(Kind.TRADE), "trade_type": "COLLECT",
            "tool": "QR_PAYER", "currency_code": "CNY", "amount_minor": 100,
            "merchant_id": "mer_1", "user_no": "", "subject": "", "product_code": "TEA",
            "fee_minor": 1, "state": "failed", "fingerprint": b"", "channel_code": "sim",
            "attempt_no": NUMBERS.next(Kind.ATTEMPT),
        } | columns  # fmt: skip
        return self._insert("payment", row, row["payment_no"])

    def seed_refund(self, payment_no, **columns):
        """Write a refund of the payment; return its number."""
        row = {
            "refund_no": NUMBERS.next(Kind.REFUND), "payment_no": payment_no, "app_id": "mall",
            "business_code": "MALL", "trace_no": TRACE, "trade_no": NUMBERS.next(Kind.TRADE),
            "currency_code": "CNY", "amount_minor": 60, "fee_minor": 0, "merchant_id": "mer_1",
            "state": "succeeded", "fingerprint": b"", "channel_code": "sim",
            "attempt_no": NUMBERS.next(Kind.ATTEMPT),
        } | columns  # fmt: skip
        return self._insert("refund", row, row["refund_no"])

    def _insert(self, table, row, number):
        names, values = ", ".join(row), ", ".join(f"%({name})s" for name in row)
        self.handle.rows(f"INSERT INTO {table} ({names}) VALUES ({values})", **row)
        return number

    async def says(self, number, state, *, attempt_no=None, amount_minor=100, **fields):
        """Have channel say how the leg of `number` stands; return when it is applied."""
        if attempt_no is None:
            table = "refund" if number[8:10] == "RF" else "payment"
            [[attempt_no]] = self.handle.rows(
                f"SELECT attempt_no FROM {table} WHERE {table}_no = %(no)s", no=number
            )
        back = number[8:10] != "PY"
        attempt = Attempt(
            attempt_no=attempt_no, leg_no=f"{number}-1", app_id="mall", trace_no=TRACE,
            operation=attempt_pb2.OPERATION_REFUND if back else attempt_pb2.OPERATION_PAY,
            channel_code="sim", amount=money("CNY", amount_minor), state=state, version=9,
        )  # fmt: skip
        attempt.MergeFrom(Attempt(**fields))
        await self.handle.applied(await self.ground.tell("channel", _TOLD[state](attempt=attempt)))

    async def only_case(self, **narrow):
        """The one case that there is."""
        [case] = (await self.maker.ListCases(ops.ListCasesRequest(**narrow))).cases
        return case

    async def case_of(self, number):
        """The case about the order or attempt, once it is there."""
        sql = "SELECT case_id FROM exception_case WHERE number = %(no)s"
        await eventually(lambda: self.handle.rows(sql, no=number))
        [[case_id]] = self.handle.rows(sql, no=number)
        return (await self.maker.GetCase(ops.GetCaseRequest(case_id=case_id))).case

    async def decide(self, case, resolution, *, approved=True):
        """Propose by one operator and approve by the other; return the case after that."""
        request = ops.ProposeResolutionRequest(
            request_id=request_id(), case_id=case.case_id, resolution=resolution,
            evidence="the bank's letter of today",
        )  # fmt: skip
        proposed = (await self.maker.ProposeResolution(request)).case
        if not approved:
            return proposed
        approve = ops.ApproveResolutionRequest(
            request_id=request_id(), case_id=case.case_id, version=proposed.version
        )
        return (await self.checker.ApproveResolution(approve)).case

    async def until(self, number, state, *, table="payment"):
        """Return when the order is in `state`."""
        sql = f"SELECT state FROM {table} WHERE {table}_no = %(no)s"
        await eventually(lambda: self.handle.rows(sql, no=number) == [(state,)])

    async def resolved(self, case):
        """Return the case once it is RESOLVED."""
        sql = "SELECT state FROM exception_case WHERE case_id = %(id)s"
        await eventually(lambda: self.handle.rows(sql, id=case.case_id) == [("resolved",)])
        return await self.maker.GetCase(ops.GetCaseRequest(case_id=case.case_id))
