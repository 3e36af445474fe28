"""Cloud Run's documents: what is filled in, refused, counted as new, and said of their health."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tools.rehearsal.answers import ApiError
from tools.rehearsal.run import revisions, services
from tools.rehearsal.run.checks import cpu_count, memory_bytes
from tools.rehearsal.run.conditions import FALSE, TRUE, UNKNOWN, Verdict, condition, write
from tools.rehearsal.run.history import conclude
from tools.rehearsal.run.place import Place
from tools.rehearsal.run.selector import matches
from tools.rehearsal.run.traffic import Target, needed, targets, verdict
from tools.rehearsal.store import Store

PLACE = Place("a-project", "a-region")
ACCOUNT = "somebody@elsewhere.iam.gserviceaccount.com"
Document = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store."""
    return Store(tmp_path / "documents")


def wanted(name: str = "hello", **container: Any) -> Document:
    """Return what gcloud sends for a small service."""
    spec = {"containers": [{"image": "i", **container}], "serviceAccountName": ACCOUNT}
    return {"metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


def container_of(service: Document) -> Document:
    """Return a service's container."""
    container: Document = service["spec"]["template"]["spec"]["containers"][0]
    return container


def test_service_gets_cloud_runs_defaults(store: Store) -> None:
    service = services.create(store, PLACE, wanted())
    template = service["spec"]["template"]["spec"]
    assert (template["containerConcurrency"], template["timeoutSeconds"]) == (80, 300)
    container = container_of(service)
    assert container["ports"] == [{"name": "http1", "containerPort": 8080}]
    assert container["resources"]["limits"] == {"cpu": "1000m", "memory": "512Mi"}
    probe = container["startupProbe"]
    assert (probe["timeoutSeconds"], probe["tcpSocket"]) == (240, {"port": 8080})
    assert service["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_project_without_account_gets_its_default_one(store: Store) -> None:
    asked = wanted()
    del asked["spec"]["template"]["spec"]["serviceAccountName"]
    service = services.create(store, PLACE, asked)
    email = service["spec"]["template"]["spec"]["serviceAccountName"]
    assert email.endswith("-compute@developer.gserviceaccount.com")


def test_first_revision_is_named_as_cloud_run_names_it(store: Store) -> None:
    service = services.create(store, PLACE, wanted())
    name = service["status"]["latestCreatedRevisionName"]
    assert name.startswith("hello-00001-")
    assert len(name) == len("hello-00001-xyz")
    assert Verdict.of(store.get(revisions.KIND, PLACE.key(name))).status == UNKNOWN


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (wanted("Hello"), "metadata.name"),
        (wanted("hello-"), "metadata.name"),
        (wanted("h" * 50), "metadata.name"),
        (wanted(image=""), "image"),
        (wanted(env=[{"name": "PORT", "value": "1"}]), "reserved env names"),
        (wanted(resources={"limits": {"memory": "5Gi", "cpu": "1"}}), "more than 1 CPU may have"),
        (wanted(resources={"limits": {"memory": "much"}}), "limits.memory"),
        (wanted(resources={"limits": {"cpu": "many"}}), "limits.cpu"),
        ({"metadata": {"name": "hello"}, "spec": {}}, "template is missing"),
    ],
)
def test_service_that_cloud_run_would_not_take_is_refused_by_field(
    store: Store, asked: Document, field: str
) -> None:
    with pytest.raises(ApiError) as refused:
        services.create(store, PLACE, asked)
    assert refused.value.code == 400
    assert field in refused.value.message
    assert store.names(services.KIND) == []


@pytest.mark.parametrize(
    ("traffic", "said"),
    [
        ([{"latestRevision": True, "percent": 90}], "add up to 90"),
        ([{"latestRevision": True, "percent": 100, "tag": "No"}], "not a tag"),
        ([{"percent": 100}], "names a revision or is the latest"),
        (
            [
                {"latestRevision": True, "percent": 100, "tag": "a"},
                {"revisionName": "r", "tag": "a"},
            ],
            "used twice",
        ),
    ],
)
def test_traffic_that_makes_no_sense_is_refused(
    store: Store, traffic: list[Document], said: str
) -> None:
    asked = wanted()
    asked["spec"]["traffic"] = traffic
    with pytest.raises(ApiError, match=said):
        services.create(store, PLACE, asked)


def test_account_of_the_project_must_exist(store: Store) -> None:
    asked = wanted()
    own = "nobody@a-project.iam.gserviceaccount.com"
    asked["spec"]["template"]["spec"]["serviceAccountName"] = own
    with pytest.raises(ApiError, match="actAs") as refused:
        services.create(store, PLACE, asked)
    assert refused.value.code == 403


def test_two_services_of_one_name_are_refused(store: Store) -> None:
    services.create(store, PLACE, wanted())
    with pytest.raises(ApiError) as refused:
        services.create(store, PLACE, wanted())
    assert refused.value.code == 409
    services.create(store, Place("a-project", "elsewhere"), wanted())


def test_dry_run_stores_nothing(store: Store) -> None:
    services.create(store, PLACE, wanted(), dry=True)
    assert store.names(services.KIND) == store.names(revisions.KIND) == []


def test_replacing_what_somebody_else_changed_is_refused(store: Store) -> None:
    first = services.create(store, PLACE, wanted())
    services.replace(store, PLACE, deepcopy(first))
    with pytest.raises(ApiError, match="is current") as refused:
        services.replace(store, PLACE, first)
    assert refused.value.status == "ABORTED"


def _nonce(service: Document) -> None:
    service["spec"]["template"]["metadata"] = {"labels": {revisions.NONCE_LABEL: "n"}}


def _client(service: Document) -> None:
    note = {"run.googleapis.com/client-version": "999"}
    service["spec"]["template"]["metadata"] = {"annotations": note}


def _image(service: Document) -> None:
    container_of(service)["image"] = "another"


def _traffic(service: Document) -> None:
    service["spec"]["traffic"][0]["tag"] = "a-tag"


@pytest.mark.parametrize(
    ("change", "is_new"), [(_nonce, True), (_image, True), (_client, False), (_traffic, False)]
)
def test_change_makes_a_revision_only_where_something_else_would_run(
    store: Store, change: Callable[[Document], None], is_new: bool
) -> None:
    service = services.create(store, PLACE, wanted())
    change(service)
    replaced = services.replace(store, PLACE, service)
    assert len(store.names(revisions.KIND)) == (2 if is_new else 1)
    assert replaced["metadata"]["generation"] == 2


def test_nonce_that_is_taken_away_makes_no_revision(store: Store) -> None:
    asked = wanted()
    _nonce(asked)
    service = services.create(store, PLACE, asked)
    service["spec"]["template"]["metadata"]["labels"] = {}
    services.replace(store, PLACE, service)
    assert len(store.names(revisions.KIND)) == 1


def test_revision_may_be_named_once(store: Store) -> None:
    asked = wanted()
    asked["spec"]["template"]["metadata"] = {"name": "hello-mine"}
    service = services.create(store, PLACE, asked)
    assert service["status"]["latestCreatedRevisionName"] == "hello-mine"
    service["spec"]["template"]["metadata"] = {"name": "hello-mine"}
    _image(service)
    with pytest.raises(ApiError, match="already exists"):
        services.replace(store, PLACE, service)


def test_latest_revision_cannot_be_deleted(store: Store) -> None:
    name = services.create(store, PLACE, wanted())["status"]["latestCreatedRevisionName"]
    with pytest.raises(ApiError, match="is the latest"):
        services.delete_revision(store, PLACE, name)


def test_deleted_service_takes_its_revisions_along(store: Store) -> None:
    services.create(store, PLACE, wanted())
    services.create(store, PLACE, wanted("other"))
    services.delete(store, PLACE, "hello")
    assert store.names(services.KIND) == [PLACE.key("other")]
    assert len(store.names(revisions.KIND)) == 1


def revision(status: str, generation: int = 1) -> Document:
    """Return as much of a revision as is asked for here."""
    document: Document = {
        "metadata": {
            "name": "r",
            "labels": {"serving.knative.dev/configurationGeneration": str(generation)},
        }
    }
    write(document, "Ready", Verdict(status, "", "broken" if status == FALSE else ""))
    return document


def test_traffic_waits_for_containers_and_fails_with_them() -> None:
    known = {"up": revision(TRUE), "coming": revision(UNKNOWN), "broken": revision(FALSE)}

    def routed(*names: str, **failures: str) -> str:
        wanted = [Target(name, 100, "", latest=False) for name in names]
        return verdict(wanted, known, {"up"}, failures).status

    assert routed("up") == TRUE
    assert routed("up", "coming") == UNKNOWN
    assert routed("coming", "broken") == FALSE
    assert routed("nobody") == FALSE
    assert routed("coming", coming="does not come up again") == FALSE


def test_containers_are_needed_for_traffic_tags_and_first_tests() -> None:
    known = {
        "served": revision(TRUE),
        "tagged": revision(TRUE),
        "untested": revision(UNKNOWN),
        "broken": revision(FALSE),
        "old": revision(TRUE),
    }
    service: Document = {
        "spec": {"traffic": [{"latestRevision": True, "percent": 100}]},
        "status": {"traffic": [{"revisionName": "served", "percent": 100}]},
    }
    service["spec"]["traffic"] += [{"revisionName": name, "tag": name} for name in known][1:4]
    wanted = targets(service, "broken")
    assert needed(wanted, service, known) == {"served", "tagged", "untested"}


def _service(generation: int, *, latest: bool) -> Document:
    target = {"latestRevision": True} if latest else {"revisionName": "old"}
    return {
        "metadata": {"generation": generation},
        "spec": {"traffic": [{**target, "percent": 100}]},
        "status": {"latestCreatedRevisionName": "new"},
    }


@pytest.mark.parametrize(
    ("generation", "latest", "ready"), [(5, False, FALSE), (6, False, TRUE), (6, True, FALSE)]
)
def test_broken_revision_spoils_its_own_deployment_but_not_the_way_back(
    generation: int, latest: bool, ready: str
) -> None:
    service = _service(generation, latest=latest)
    conclude(service, {"new": revision(FALSE, 5)}, Verdict(TRUE))
    assert condition(service, "Ready")["status"] == ready
    assert condition(service, "ConfigurationsReady")["message"] == "broken"


def test_time_of_a_condition_moves_only_with_its_status() -> None:
    document: Document = {}
    write(document, "Ready", Verdict(UNKNOWN, "Deploying", "one"))
    first = condition(document, "Ready")["lastTransitionTime"]
    write(document, "Ready", Verdict(UNKNOWN, "Deploying", "two"))
    assert condition(document, "Ready")["lastTransitionTime"] == first
    write(document, "Ready", Verdict(TRUE))
    assert condition(document, "Ready")["lastTransitionTime"] > first
    assert "message" not in condition(document, "Ready")


@pytest.mark.parametrize(("text", "cpus"), [("1", 1), ("500m", 0.5), ("1000m", 1), ("2.5", 2.5)])
def test_cpus_are_read_as_kubernetes_writes_them(text: str, cpus: float) -> None:
    assert cpu_count(text) == cpus


@pytest.mark.parametrize(
    ("text", "count"), [("512Mi", 512 * 2**20), ("1G", 10**9), ("2Gi", 2**31), ("7", 7)]
)
def test_memory_is_read_as_kubernetes_writes_it(text: str, count: int) -> None:
    assert memory_bytes(text) == count


@pytest.mark.parametrize(
    ("selector", "expected"),
    [("", True), ("a/b = c", True), ("a/b=c,d!=e", True), ("a/b==x", False), ("d", None)],
)
def test_selector_picks_by_labels(selector: str, expected: bool | None) -> None:
    document = {"metadata": {"labels": {"a/b": "c"}}}
    if expected is None:
        with pytest.raises(ApiError, match="labelSelector"):
            matches(document, selector)
    else:
        assert matches(document, selector) is expected


def test_region_dash_stands_for_all_regions() -> None:
    assert Place("p", "-").holds("p/anywhere/s")
    assert not Place("p", "-").holds("q/anywhere/s")
    assert not Place("p", "here").holds("p/there/s")
