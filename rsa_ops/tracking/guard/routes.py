"""A request of an MLflow server read as what it asks for: every mutating route is guarded, harmless, or unknown.

Flask routes go by the name of their handler, which both prefixes, all versions and a static prefix share; FastAPI's
by their path. Read from mlflow 3.17.2; what a later one adds is unknown here, and refused until it is sorted in.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from rsa_ops.tracking.guard.decision import Act, Asked

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
ARTIFACT_PATH = re.compile(r"/mlflow-artifacts/artifacts(?:/(?P<path>.*))?$", re.DOTALL)


class UnreadableError(Exception):
    """A body that says the same thing twice, or nothing that can be read."""


@dataclass(frozen=True)
class Call:
    """A mutating request: arguments from its URL, its query, its JSON body."""

    arguments: Mapping[str, str]
    query: Mapping[str, tuple[str, ...]]
    body: Mapping[str, object]

    def text(self, name: str) -> str:
        """One field of the body, in either spelling that protobuf takes: `run_id` and `runId`."""
        found = {str(self.body[key]) for key in {name, _camel(name)} if self.body.get(key) is not None}
        if len(found) > 1:
            raise UnreadableError(name)
        return found.pop() if found else ""

    def asked(self, name: str) -> str:
        """One parameter of the query."""
        values = self.query.get(name, ())
        if len(values) > 1:
            raise UnreadableError(name)
        return values[0] if values else ""

    def number(self, name: str) -> str:
        """A field that MLflow turns into an integer, in its plain spelling: `01` is `1`."""
        return _plain(self.text(name))


Reader = Callable[[Call], Asked]


def parse_body(data: bytes) -> Mapping[str, object]:
    """The JSON object of a body as MLflow reads it: empty, an object, or one packed into a string.

    Raises:
        UnreadableError: it is something else.
    """
    try:
        found = json.loads(data) if data.strip() else {}
        found = json.loads(found) if isinstance(found, str) else found
    except (ValueError, RecursionError) as error:
        raise UnreadableError("the body") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UnreadableError("the body")
    return found


def parse_query(text: bytes) -> Mapping[str, tuple[str, ...]]:
    """The query of a URL."""
    found = parse_qs(text.decode("latin-1"), keep_blank_values=True)
    return {name: tuple(values) for name, values in found.items()}


def clean_path(path: str) -> str:
    """A path below the artifact root without its detours, decoded as often as it was encoded."""
    for _ in range(8):
        if (decoded := unquote(path)) == path:
            break
        path = decoded
    plain = posixpath.normpath(path.replace("\\", "/")).lstrip("/")
    return "" if plain == "." else plain


def artifact_request(method: str, path: str) -> Asked | None:
    """A write or a deletion below the proxied artifact root, by its path alone; no body need be read."""
    found = ARTIFACT_PATH.search(path)
    if found is None or method in SAFE_METHODS:
        return None
    act = Act.DELETE_FILES if method == "DELETE" else Act.WRITE_FILES
    return Asked(act, places=(clean_path(found["path"] or ""),))


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def _plain(number: str) -> str:
    try:
        return str(int(number))
    except ValueError:
        return number


def _alias(act: Act) -> Reader:
    return lambda call: Asked(act, (call.text("name"),), alias=call.text("alias"), version=call.number("version"))


def _version(act: Act) -> Reader:
    return lambda call: Asked(act, (call.text("name"),), call.number("version"), tags=(call.text("key"),))


def _model(call: Call) -> Asked:
    return Asked(Act.CHANGE_MODEL, tuple(filter(None, (call.text("name"), call.text("new_name")))))


def _model_tag(call: Call) -> Asked:
    return Asked(Act.TAG_MODEL, (call.text("name"),), tags=(call.text("key"),))


def _logged_model(call: Call) -> Asked:
    # To finalise, MLflow goes by the id in the body, not by that in the URL.
    names = (call.arguments.get("model_id", ""), call.text("model_id"))
    return Asked(Act.CHANGE_LOGGED_MODEL, names=names)


def _logged_model_tags(call: Call) -> Asked:
    given = call.body.get("tags", [])
    if not isinstance(given, list) or not all(isinstance(tag, dict) for tag in given):
        raise UnreadableError("tags")
    tags = (*(str(tag.get("key", "")) for tag in given), call.arguments.get("tag_key", ""))
    return Asked(Act.TAG_LOGGED_MODEL, names=(call.arguments["model_id"],), tags=tags)


def _run(call: Call) -> Asked:
    return Asked(Act.DELETE_RUN, names=(call.text("run_id"), call.text("run_uuid")))


def _experiment(call: Call) -> Asked:
    return Asked(Act.DELETE_EXPERIMENT, names=(call.number("experiment_id"),))


def _workspace(call: Call) -> Asked:
    return Asked(Act.DELETE_WORKSPACE, names=(call.arguments["workspace_name"],))


def _upload(call: Call) -> Asked:
    owner = f"run:{call.asked('run_uuid')}"
    return Asked(Act.WRITE_FILES, names=(owner,), places=(clean_path(call.asked("path")),))


def _presigned(call: Call) -> Asked:
    run, model = call.text("run_id"), call.text("model_id")
    owner = f"run:{run}" if run else f"model:{model}"
    return Asked(Act.WRITE_FILES, names=(owner,), places=(clean_path(call.text("path")),))


def _multipart(call: Call) -> Asked:
    folder, name = clean_path(call.arguments["artifact_path"]), clean_path(call.text("path"))
    # Which of these it becomes is the artifact store's affair.
    places = {folder, posixpath.join(folder, name), posixpath.join(folder, posixpath.basename(name))}
    return Asked(Act.WRITE_FILES, places=tuple(sorted(places)))


def _artifact(call: Call) -> Asked:
    return Asked(Act.WRITE_FILES, places=(clean_path(call.arguments["artifact_path"]),))


def _artifact_deletion(call: Call) -> Asked:
    return Asked(Act.DELETE_FILES, places=(clean_path(call.arguments["artifact_path"]),))


GUARDED: Mapping[str, Reader] = {
    "_set_registered_model_alias": _alias(Act.SET_ALIAS),
    "_delete_registered_model_alias": _alias(Act.DELETE_ALIAS),
    "_update_model_version": _version(Act.CHANGE_VERSION),
    "_delete_model_version": _version(Act.CHANGE_VERSION),
    "_transition_stage": _version(Act.MOVE_STAGE),
    "_set_model_version_tag": _version(Act.TAG_VERSION),
    "_delete_model_version_tag": _version(Act.TAG_VERSION),
    "_rename_registered_model": _model,
    "_update_registered_model": _model,
    "_delete_registered_model": _model,
    "_set_registered_model_tag": _model_tag,
    "_delete_registered_model_tag": _model_tag,
    "_finalize_logged_model": _logged_model,
    "_delete_logged_model": _logged_model,
    "_log_logged_model_params": _logged_model,
    "_set_logged_model_tags": _logged_model_tags,
    "_delete_logged_model_tag": _logged_model_tags,
    "_delete_run": _run,
    "_delete_experiment": _experiment,
    "_delete_workspace_handler": _workspace,
    "serve_upload_artifact": _upload,
    "_create_presigned_upload_url": _presigned,
    "_create_multipart_upload_artifact": _multipart,
    "_complete_multipart_upload_artifact": _multipart,
    "_abort_multipart_upload_artifact": _multipart,
    "_upload_artifact": _artifact,
    "_delete_artifact_mlflow_artifacts": _artifact_deletion,
}
"""Handler of a Flask route -> how to read what it is asked."""

_NAMES = """
# Searches and look-ups that are sent as POST.
_search_experiments _search_runs _search_logged_models _search_issues _search_evaluation_datasets_handler
serve_search_datasets _search_datasets_handler _not_implemented _get_latest_versions _search_traces_v3
_batch_get_trace_infos _calculate_trace_filter_correlation _query_trace_metrics
_create_presigned_download_url _search_prompt_optimization_jobs serve_get_ui_telemetry _graphql
# New things, and what is added to a run: none of it changes what a version is or names.
_create_experiment _restore_experiment _update_experiment _set_experiment_tag _delete_experiment_tag
_create_run _restore_run _update_run _log_metric _log_param _set_tag _delete_tag _log_batch _log_model
_log_inputs _log_outputs _create_logged_model _create_registered_model _create_model_version
serve_create_promptlab_run _create_workspace_handler _update_workspace_handler
# Datasets, issues, reviews, traces, scorers, prompts, webhooks and the gateway: beside the registry of models.
_create_dataset_handler _delete_dataset_handler _set_dataset_tags_handler _delete_dataset_tag_handler
_upsert_dataset_records_handler _delete_dataset_records_handler _add_dataset_to_experiments_handler
_remove_dataset_from_experiments_handler _create_issue _update_issue _invoke_issue_detection_handler
_create_review_queue _get_or_create_user_queue _update_review_queue _delete_review_queue
_add_items_to_review_queue _remove_items_from_review_queue _set_review_queue_item_status
_set_trace_tag _set_trace_tag_v3 _delete_trace_tag _delete_trace_tag_v3 _deprecated_start_trace_v2
_deprecated_end_trace_v2 _start_trace_v3 _link_traces_to_run _link_prompts_to_trace _delete_traces
_create_assessment _update_assessment _delete_assessment _create_label_schema _update_label_schema
_delete_label_schema _register_scorer _delete_scorer _invoke_scorer_handler _upsert_online_scoring_config
_invoke_genai_evaluate_handler _generate_demo _delete_demo _cancel_job _create_prompt_optimization_job
_cancel_prompt_optimization_job _delete_prompt_optimization_job serve_post_ui_telemetry
_create_webhook _update_webhook _delete_webhook _test_webhook serve_gateway_proxy
_create_gateway_secret _update_gateway_secret _delete_gateway_secret _create_gateway_endpoint
_update_gateway_endpoint _delete_gateway_endpoint _create_gateway_model_definition
_update_gateway_model_definition _delete_gateway_model_definition _attach_model_to_gateway_endpoint
_detach_model_from_gateway_endpoint _create_gateway_endpoint_binding _delete_gateway_endpoint_binding
_set_gateway_endpoint_tag _delete_gateway_endpoint_tag _create_budget_policy _update_budget_policy
_delete_budget_policy _create_gateway_guardrail _delete_gateway_guardrail _add_guardrail_to_endpoint
_remove_guardrail_from_endpoint _update_endpoint_guardrail_config
"""
HARMLESS: frozenset[str] = frozenset(
    name for line in _NAMES.splitlines() if not line.startswith("#") for name in line.split()
)
"""Handlers of mutating Flask routes that cannot touch what the ledger names."""

HARMLESS_NATIVE = re.compile(
    r"(/ajax-api/3\.0/jobs(/|$)|/ajax-api/3\.0/mlflow/assistant/|/(ajax-)?api/3\.0/mlflow/mcp-servers(/|$)"
    r"|/gateway/|/v1/traces$)"
)
"""FastAPI routes likewise: jobs, the assistant, the registry of MCP servers, the gateway, OpenTelemetry."""
