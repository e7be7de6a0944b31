"""Every rpc of the contracts is served: none answers that it is not implemented."""

import importlib

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from mesh.tokens import Signer
from tests.mesh.platform import open_platform
from tests.unit.test_contract import OURS, RPCS
from tongbao.common.v1 import options_pb2

SECONDS = 10
# An empty request tells what the contract asks for; a whole one is what all other tests send.
ANSWERS = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}


async def test_every_rpc_answers(fresh_home):
    """By the door and the role that its policy names; streams and batches item by item."""
    for file in OURS:  # Puts its descriptors where code_of looks for them.
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    answered = {}
    async with open_platform(fresh_home) as platform:
        for service, rpc in RPCS:
            answered[f"{service}/{rpc.name}"] = await code_of(platform, service, rpc)

    assert {name: code for name, code in answered.items() if code not in ANSWERS} == {}
    assert len(answered) == len(RPCS) > 20


async def code_of(platform, service, rpc: descriptor_pb2.MethodDescriptorProto):
    """Call the rpc with an empty request, or one empty item; return the status it ends with."""
    policy = rpc.options.Extensions[options_pb2.policy]
    is_inside = options_pb2.ROLE_SERVICE in policy.roles
    method = descriptor_pool.Default().FindServiceByName(service).methods_by_name[rpc.name]
    request = message_factory.GetMessageClass(method.input_type)()
    response = message_factory.GetMessageClass(method.output_type)
    if "items" in request.DESCRIPTOR.fields_by_name:
        request.items.add()
    async with door_of(platform, service, is_inside=is_inside) as channel:
        metadata = (("authorization", f"Bearer {token_of(platform, policy)}"),)
        kinds = {"request_serializer": type(request).SerializeToString,
                 "response_deserializer": response.FromString}  # fmt: skip
        path = f"/{service}/{rpc.name}"
        try:
            if rpc.client_streaming:
                call = channel.stream_stream(path, **kinds)(metadata=metadata, timeout=SECONDS)
                await call.write(request)
                answer = await call.read()
                await call.done_writing()
            elif rpc.server_streaming:
                call = channel.unary_stream(path, **kinds)(
                    request, metadata=metadata, timeout=SECONDS
                )
                answer = await call.read()
            else:
                answer = await channel.unary_unary(path, **kinds)(
                    request, metadata=metadata, timeout=SECONDS
                )
        except grpc.aio.AioRpcError as error:
            return error.code()
    if "results" in answer.DESCRIPTOR.fields_by_name:
        [result] = answer.results
        [code] = [one for one in grpc.StatusCode if one.value[0] == result.status.code]
        return code
    return grpc.StatusCode.OK


def door_of(platform, service, *, is_inside):
    """Return a channel to the unix socket of the service, or to its public port."""
    name = service.split(".")[1]
    settings = platform.stage.settings
    if is_inside:
        return grpc.aio.insecure_channel(f"unix:{settings.socket_dir / name}.sock")
    credentials = grpc.ssl_channel_credentials(settings.tls_ca.read_bytes())
    address = f"{settings.public_host}:{platform.mesh.ports[name]}"
    return grpc.aio.secure_channel(address, credentials)


def token_of(platform, policy):
    """Return a token of somebody who may call."""
    keys = platform.stage.settings.home / "keys"
    if options_pb2.ROLE_SERVICE in policy.roles:
        name = policy.services[0]
        return Signer.from_file(f"svc:{name}", keys / f"{name}.key").token()
    if options_pb2.ROLE_APP in policy.roles:
        return platform.world.caller("MALL")._signer.token()
    return Signer.from_file("op:admin", keys / "operator.key").token()
