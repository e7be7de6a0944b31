"""A protoc plugin around the gRPC generator that grpcio-tools hides inside its own protoc.

buf speaks to plugins by standard input and output; grpcio-tools has no such program, only a
built-in `--grpc_python_out`. This hands the descriptors over in a file and reads the result back.
"""

import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc


def generate(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """The `_pb2_grpc.py` of every requested file that declares a service."""
    response = CodeGeneratorResponse(
        supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    asked = set(request.file_to_generate)
    # Without a service the generator would write a module of nothing but a version check.
    names = sorted(file.name for file in request.proto_file if file.service and file.name in asked)
    if not names:
        return response
    with tempfile.TemporaryDirectory() as folder:
        descriptors, out = Path(folder, "set.binpb"), Path(folder, "out")
        out.mkdir()
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        options = f"{request.parameter}:" if request.parameter else ""
        status = protoc.main(
            [
                "protoc",
                f"--descriptor_set_in={descriptors}",
                f"--grpc_python_out={options}{out}",
                *names,
            ]
        )
        if status != 0:
            response.error = f"grpc_tools.protoc ended with status {status}"
            return response
        for path in sorted(out.rglob("*.py")):
            response.file.add(
                name=path.relative_to(out).as_posix(), content=path.read_text("utf-8")
            )
    return response


if __name__ == "__main__":
    answer = generate(CodeGeneratorRequest.FromString(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(answer.SerializeToString())
