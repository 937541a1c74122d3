"""Configurations for Triton's backends agree with the ONNX files, and versions share a repository."""

from pathlib import Path

import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as triton
from typer.testing import CliRunner

from cli.app import app
from cli.errors import CommandError
from inference.bundle.bundle import Bundle, read
from inference.errors import BundleRefused, InstallFailed
from inference.repository.backends import SHIPPED, Backend, config
from inference.repository.repository import install, restrict, versions
from tests.models.tiny_bundle import build

KINDS = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64", "tensor(uint8)": "TYPE_UINT8"}
EXACT = [
    Backend("onnxruntime"), Backend("onnxruntime", gpu=True), Backend("tensorrt", gpu=True),
    Backend("tensorrt", gpu=True, instances=2, preferred=(2, 4, 1024), delay_us=500, half=True, engines="/engines"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Bundle]:
    """Versions 1 and 2 have the same width, version 3 another."""
    folder = tmp_path_factory.mktemp("backends")
    return {
        version: read(build(folder / str(version), width=width, version=version, images=True))
        for version, width in ((1, 16), (2, 16), (3, 24))
    }


def parsed(text: str) -> triton.ModelConfig:
    found: triton.ModelConfig = text_format.Parse(text, triton.ModelConfig())
    return found


def file(bundle: Bundle, graph: str) -> Path:
    return bundle.folder / "triton" / graph / str(bundle.manifest.version) / "model.onnx"


@pytest.mark.parametrize(
    "backend", [Backend(), *EXACT], ids=lambda b: f"{b.name}-{'gpu' if b.gpu else 'cpu'}"
)
def test_each_backend_gets_a_configuration_with_the_shapes_of_the_file(
    bundles: dict[int, Bundle], backend: Backend
) -> None:
    for graph in bundles[1].manifest.graphs().values():
        found = parsed(config(graph, bundles[1].manifest, backend))
        session = onnxruntime.InferenceSession(
            str(file(bundles[1], graph.name)), providers=["CPUExecutionProvider"]
        )
        assert (found.name, found.max_batch_size) == (graph.name, graph.max_batch)
        for said, there in ((found.input, session.get_inputs()), (found.output, session.get_outputs())):
            assert {t.name for t in said} == {t.name for t in there}
            for tensor in there:
                one = next(t for t in said if t.name == tensor.name)
                batch, *dims = (dim if isinstance(dim, int) else -1 for dim in tensor.shape)
                assert triton.DataType.Name(one.data_type) == KINDS[tensor.type] and batch == -1
                exact = [dim if backend.name != "python" or dim == 1 else -1 for dim in dims]
                assert list(one.dims) == exact, (graph.name, tensor.name)
        (group,) = found.instance_group
        assert (
            group.kind == triton.ModelInstanceGroup.KIND_GPU
        ) == backend.gpu and group.count == backend.instances
        batching = found.dynamic_batching
        assert batching.max_queue_delay_microseconds == backend.delay_us
        assert list(batching.preferred_batch_size) == [n for n in backend.preferred if n <= graph.max_batch]
        assert batching.default_queue_policy.max_queue_size == graph.queue
        assert batching.default_queue_policy.allow_timeout_override


def test_every_bundle_has_the_configurations_and_their_checksums(
    bundles: dict[int, Bundle],
) -> None:
    bundle = bundles[1]
    assert set(SHIPPED) == {"triton", "triton-onnxruntime", "triton-tensorrt"}
    for folder, backend in SHIPPED.items():
        for graph in bundle.manifest.graphs().values():
            name = f"{folder}/{graph.name}/config.pbtxt"
            assert name in bundle.manifest.files
            assert (bundle.folder / name).read_text() == config(graph, bundle.manifest, backend)
    assert len(list(bundle.folder.rglob("model.onnx"))) == len(bundle.manifest.graphs())


def accelerator(found: triton.ModelConfig) -> tuple[str, dict[str, str]]:
    (one,) = found.optimization.execution_accelerators.gpu_execution_accelerator
    return one.name, dict(one.parameters)


def test_cpus_get_threads_and_gpus_get_full_precision(bundles: dict[int, Bundle]) -> None:
    manifest = bundles[1].manifest
    graph = manifest.graphs()["user_step"]
    cpu = parsed(config(graph, manifest, Backend("onnxruntime", threads=3)))
    assert cpu.parameters["intra_op_thread_count"].string_value == "3" and cpu.backend == "onnxruntime"
    assert parsed(config(graph, manifest, Backend(threads=3))).parameters["threads"].string_value == "3"
    gpu = parsed(config(graph, manifest, Backend("onnxruntime", gpu=True)))
    assert accelerator(gpu) == ("cuda", {"use_tf32": "0"})


def test_tensorrt_uses_fp16_in_item_encoders_only_and_separates_engines(bundles: dict[int, Bundle]) -> None:
    paths = set()
    for version in (1, 2):
        for graph in bundles[version].manifest.graphs().values():
            name, said = accelerator(parsed(config(graph, bundles[version].manifest, EXACT[-1])))
            assert name == "tensorrt" and said["max_workspace_size_bytes"] == str(2**30)
            assert (said["precision_mode"] == "FP16") == graph.name.endswith("_encoder")
            paths.add(said["trt_engine_cache_path"])
    assert len(paths) == 10 and all(path.count("/") == 2 for path in paths)
    _, plain = accelerator(parsed(config(graph, bundles[1].manifest, SHIPPED["triton-tensorrt"])))
    assert set(plain) == {"precision_mode", "max_workspace_size_bytes"}


def test_tensorrt_is_warmed_up_from_the_smallest_call_to_the_largest(bundles: dict[int, Bundle]) -> None:
    manifest = bundles[1].manifest
    for graph in manifest.graphs().values():
        found = parsed(config(graph, manifest, SHIPPED["triton-tensorrt"]))
        small, large = found.model_warmup
        assert (small.batch_size, large.batch_size) == (1, graph.max_batch)
        for tensor in found.input:
            for sample in (small, large):
                assert len(sample.inputs[tensor.name].dims) == len(tensor.dims)
                assert sample.inputs[tensor.name].data_type == tensor.data_type
            for said, least, most in zip(
                tensor.dims, small.inputs[tensor.name].dims, large.inputs[tensor.name].dims, strict=True
            ):
                assert (least, most) == (said, said) if said > 0 else (least == 1 and most > 1)
    histories = parsed(
        config(manifest.graphs()["user_fold"], manifest, SHIPPED["triton-tensorrt"])
    ).model_warmup[1]
    assert list(histories.inputs["mask"].dims) == [manifest.history + manifest.refold_every]


@pytest.mark.parametrize(
    "wanted", [{"name": "python", "gpu": True}, {"name": "tensorrt"}, {"name": "onnxruntime", "half": True},
               {"name": "python", "engines": "/engines"}],
)  # fmt: skip
def test_contradictory_options_are_refused(wanted: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="GPUs|TensorRT"):
        Backend(**wanted)  # type: ignore[arg-type]


def test_a_repository_has_only_the_files_that_its_backend_uses(
    bundles: dict[int, Bundle], tmp_path: Path
) -> None:
    for version in (1, 2):
        install(bundles[version], tmp_path, Backend("onnxruntime"))
    assert versions(tmp_path) == [1, 2]
    for graph in bundles[1].manifest.graphs():
        for version in (1, 2):
            folder = tmp_path / graph / str(version)
            assert [path.name for path in folder.iterdir()] == ["model.onnx"]
            assert (folder / "model.onnx").read_bytes() == file(bundles[version], graph).read_bytes()
        found = parsed((tmp_path / graph / "config.pbtxt").read_text())
        assert found.backend == "onnxruntime" and list(found.version_policy.specific.versions) == [1, 2]
    assert {path.name for path in tmp_path.iterdir()} == set(bundles[1].manifest.graphs())


@pytest.mark.parametrize(
    ("first", "then", "version", "reason"),
    [
        (Backend("onnxruntime"), Backend(), 2, "served by Triton's onnxruntime backend"),
        (Backend("onnxruntime"), Backend("onnxruntime"), 3, "takes one width"),
        (EXACT[-1], Backend("tensorrt", gpu=True), 2, "cannot be told apart"),
        (Backend("tensorrt", gpu=True), EXACT[-1], 2, "cannot be told apart"),
    ],
    ids=["another backend", "another width", "old engines cached", "new engines cached"],
)
def test_a_version_that_would_break_served_ones_is_refused_until_they_are_retired(
    bundles: dict[int, Bundle], tmp_path: Path, first: Backend, then: Backend, version: int, reason: str
) -> None:
    install(bundles[1], tmp_path, first)
    before = {path: path.read_bytes() for path in tmp_path.rglob("config.pbtxt")}
    with pytest.raises(InstallFailed, match=reason):
        install(bundles[version], tmp_path, then)
    assert versions(tmp_path) == [1]
    assert {path: path.read_bytes() for path in tmp_path.rglob("config.pbtxt")} == before
    install(bundles[1], tmp_path, first)  # Installing it again does no harm.
    restrict(tmp_path, [])
    install(bundles[version], tmp_path, then)
    assert versions(tmp_path) == [version]


def test_widths_may_change_under_the_python_backend(bundles: dict[int, Bundle], tmp_path: Path) -> None:
    for version in (1, 3):
        install(bundles[version], tmp_path)
    assert versions(tmp_path) == [1, 3]


def test_the_command_writes_a_whole_repository(bundles: dict[int, Bundle], tmp_path: Path) -> None:
    def run(*more: str) -> str:
        arguments = ["model", "repository", str(bundles[1].folder), "--out", str(tmp_path / "models"), *more]
        answer = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
        assert answer.exit_code == 0, answer.output
        return answer.output

    more = ("--instances", "2", "--preferred", "4, 8", "--delay-us", "200", "--precision", "fp16")
    said = run("--backend", "tensorrt", *more)
    assert "Version 1 is in" in said and "tensorrt backend on GPU" in said and "image_encoder" in said
    found = parsed((tmp_path / "models" / "item_encoder" / "config.pbtxt").read_text())
    assert found.instance_group[0].count == 2 and list(found.dynamic_batching.preferred_batch_size) == [4, 8]
    assert accelerator(found)[1]["precision_mode"] == "FP16"
    for more, reason in (
        (("--backend", "python", "--gpu"), "on CPUs"),
        (("--backend", "onnxruntime", "--preferred", "many"), "many"),
    ):
        with pytest.raises(CommandError, match=reason):
            run(*more)
    (bundles[3].folder / "triton-tensorrt" / "ranker" / "config.pbtxt").write_text("")
    broken = [
        "model",
        "repository",
        str(bundles[3].folder),
        "--backend",
        "python",
        "--out",
        str(tmp_path / "other"),
    ]
    with pytest.raises(BundleRefused, match="checksum"):
        CliRunner().invoke(app, broken, catch_exceptions=False)
    assert not (tmp_path / "other").exists()
