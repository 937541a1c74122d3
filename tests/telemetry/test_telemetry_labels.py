"""Labels are bounded, whatever clients send and however often a model is published."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from inference.bundle.bundle import Manifest
from inference.version_labels import Retiring, version_label
from inference.version_routing import Live, VersionRouting
from server import metrics
from server.app import SERVICES
from server.streaming.stream_gauge import StreamGauge


def live(version: int) -> Live:
    manifest = Manifest(
        version=version,
        width=8,
        state_width=8,
        actions=("click",),
        history=64,
        refold_every=32,
        text_tokens=8,
        popularity_half_lives_days=(14,),
        files={},
    )
    return Live(manifest)


@given(st.integers())
def test_an_unknown_version_is_other(version: int) -> None:
    assert version_label(version, VersionRouting(live(3), live(4), 0.5)) in {"0", "3", "4", "other"}


def test_known_versions_keep_their_names() -> None:
    routing = VersionRouting(live(3), live(4), 0.5)
    assert [version_label(number, routing) for number in (0, 3, 4, 5)] == ["0", "3", "4", "other"]


def test_a_hundred_successive_versions_leave_the_series_of_two() -> None:
    counter = Counter("tried", "Tried", ["version"], registry=CollectorRegistry())
    retiring = Retiring([counter])
    for version in range(1, 101):
        routing = VersionRouting(live(version - 1) if version > 1 else None, live(version), 0.5)
        retiring.follow(routing)
        for number in range(version + 1):
            counter.labels(version_label(number, routing)).inc()
    values = {s.labels["version"] for f in counter.collect() for s in f.samples}
    assert values == {"0", "99", "100", "other"}


def showing() -> dict[tuple[str, str], float]:
    return {
        (s.labels["surface"], s.labels["version"]): s.value
        for family in metrics.STREAMS_BY_VERSION.collect()
        for s in family.samples
    }


def test_streams_are_counted_by_surface_and_version_and_leave_no_series_when_they_end() -> None:
    assert showing() == {}
    first, second = StreamGauge(), StreamGauge()
    first.set("home", "7")
    first.set("home", "7")
    second.set("home", "7")
    assert showing() == {("home", "7"): 2}
    second.set("home", "8")
    assert showing() == {("home", "7"): 1, ("home", "8"): 1}
    second.set("default", "8")  # the surface was removed
    assert showing() == {("home", "7"): 1, ("default", "8"): 1}
    for stream in (first, second, second):
        stream.clear()
    assert showing() == {}


def test_every_method_of_every_service_is_measured_by_its_name() -> None:
    from recstream.v1 import (
        catalog_service_pb2,
        interaction_service_pb2,
        profile_service_pb2,
        recommendation_service_pb2,
    )

    found = {
        method.name
        for module in (
            catalog_service_pb2,
            interaction_service_pb2,
            profile_service_pb2,
            recommendation_service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if service.full_name in SERVICES
    }
    assert found == set(metrics.METHODS)


def test_every_status_of_an_error_has_a_series_from_the_start() -> None:
    from server import errors
    from server.requests.status import call_status, to_status

    def leaves(kind: type[errors.ServerError]) -> set[type[errors.ServerError]]:
        return {kind, *(leaf for sub in kind.__subclasses__() for leaf in leaves(sub))}

    made = {kind: kind.__new__(kind) for kind in leaves(errors.ServerError) if kind is not errors.ServerError}
    for kind, error in made.items():
        error.retry_after_ms = None
        if isinstance(error, errors.InvalidRequest):
            error.violations = ()
        assert call_status(to_status(error)).code.name in metrics.CODES, kind


def test_gauges_of_versions_go_with_them() -> None:
    gauge = Gauge("held", "Held", ["version"], registry=CollectorRegistry())
    retiring = Retiring([gauge])
    retiring.follow(VersionRouting(None, live(1), 1.0))
    gauge.labels("1").set(3)
    retiring.follow(VersionRouting())
    assert not [s for f in gauge.collect() for s in f.samples]
