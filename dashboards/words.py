"""Every word of the pages, in English and Japanese. A sentence that lacks a language cannot be written here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of one language. Those with braces are filled in by `str.format`."""

    title: str
    read_only: str
    portfolio: str
    verdicts: str
    what_if: str
    audit: str
    run: str
    pipeline: str
    pipelines: str
    runs: str
    promoted: str
    latest_verdict: str
    verdict: str
    run_id: str
    no_verdict: str
    saving: str
    saving_note: str
    measured: str
    quality: str
    interval: str
    margin: str
    started: str
    status: str
    outcomes: dict[str, str]
    all_pipelines: str
    choose_pipeline: str
    choose_run: str
    trend: str
    trend_note: str
    no_runs: str
    no_ledger: str
    verify: str
    verify_mlflow: str
    verified: str
    broken: str
    not_verified: str
    entries: str
    newest_entries: str
    entry_columns: tuple[str, str, str, str, str]
    checked: str
    not_checked: str
    rulings: str
    ruling_columns: tuple[str, str, str, str]
    costs: str
    cost_columns: tuple[str, str, str, str, str]
    open_mlflow: str
    missing: str
    policy: str
    examples: str
    per_training: str
    total: str
    sentence_note: str


EN = Words(
    title="rsa_ops",
    read_only="Read-only: nothing on these pages changes a run, a version or the ledger.",
    portfolio="Portfolio",
    verdicts="Verdicts",
    what_if="What if",
    audit="Audit trail",
    run="One run",
    pipeline="Pipeline",
    pipelines="Pipelines",
    runs="Runs",
    promoted="Promoted",
    latest_verdict="Latest verdict",
    verdict="Verdict",
    run_id="Run",
    no_verdict="no verdict",
    saving="Saving",
    saving_note="Total of the baseline less total of the candidate over the horizon, as priced in the run.",
    measured="Rests on measurement",
    quality="Difference",
    interval="Interval",
    margin="Margin",
    started="Started (UTC)",
    status="State of the run",
    outcomes={
        "promote": "promote",
        "reject": "reject",
        "inconclusive": "inconclusive",
        "error": "error",
    },
    all_pipelines="all",
    choose_pipeline="Pipeline",
    choose_run="Run",
    trend="Candidate against baseline, run by run",
    trend_note="The dot is the difference in {metric}, the bar its interval. "
    "A bar that ends above the dashed line, minus the margin, is not worse.",
    no_runs="This store holds no pipeline run yet.",
    no_ledger="No ledger lies beside this store, and none was named with --ledger.",
    verify="Verify the ledger",
    verify_mlflow="Verify the ledger against MLflow (fetches every version)",
    verified="Verified",
    broken="Integrity broken",
    not_verified="Not verified on this page yet.",
    entries="Entries",
    newest_entries="Newest {count} entries",
    entry_columns=("Entry", "Time (UTC)", "Kind", "Subject", "Signed in the role"),
    checked="Checked",
    not_checked="Not checked",
    rulings="Rules",
    ruling_columns=("Rule", "Required", "Observed", "Answer"),
    costs="Line items",
    cost_columns=("Arm", "What", "Quantity", "Basis", "Amount"),
    open_mlflow="Open in MLflow",
    missing="missing",
    policy="Policy",
    examples="Test examples",
    per_training="One training",
    total="Total, {months} months",
    sentence_note="",
)

JA = Words(
    title="rsa_ops",
    read_only="閲覧専用です。この画面から実行結果、モデルの版、台帳が変更されることはありません。",
    portfolio="ポートフォリオ",
    verdicts="判定の推移",
    what_if="試算",
    audit="監査証跡",
    run="個別の実行",
    pipeline="パイプライン",
    pipelines="パイプライン数",
    runs="実行数",
    promoted="採用",
    latest_verdict="最新の判定",
    verdict="判定",
    run_id="実行ID",
    no_verdict="判定なし",
    saving="削減額",
    saving_note="対象期間における比較対象の総所有コストから候補の総所有コストを引いた額(各実行の単価表による)。",
    measured="実測に基づく割合",
    quality="品質の差",
    interval="信頼区間",
    margin="非劣性マージン",
    started="開始日時(UTC)",
    status="実行の状態",
    outcomes={
        "promote": "採用",
        "reject": "不採用",
        "inconclusive": "判断保留",
        "error": "エラー",
    },
    all_pipelines="すべて",
    choose_pipeline="パイプライン",
    choose_run="実行",
    trend="候補と比較対象の差(実行ごと)",
    trend_note="点は {metric} の差、線はその信頼区間です。"
    "線の下端が破線(マージンの負の値)より上にあれば、非劣性が示されたことになります。",
    no_runs="このストアにはまだ実行がありません。",
    no_ledger="このストアの隣に台帳がなく、--ledger でも指定されていません。",
    verify="台帳を検証する",
    verify_mlflow="台帳と MLflow を照合する(すべての版を取得します)",
    verified="検証済み",
    broken="改ざんまたは破損を検出",
    not_verified="この画面ではまだ検証していません。",
    entries="記録数",
    newest_entries="最新 {count} 件の記録",
    entry_columns=("番号", "日時(UTC)", "種類", "対象", "署名者の役割"),
    checked="検証した内容",
    not_checked="検証していない内容",
    rulings="判定基準ごとの結果",
    ruling_columns=("基準", "要求", "観測", "結果"),
    costs="費用明細",
    cost_columns=("方式", "内容", "数量", "根拠", "金額"),
    open_mlflow="MLflow で開く",
    missing="記録なし",
    policy="判定方針",
    examples="評価件数",
    per_training="学習1回あたり",
    total="{months}か月の総額",
    sentence_note="理由の文は記録されたとおり英語で表示します。",
)

LANGUAGES = {"en": EN, "ja": JA}
