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
    scenario: str
    scenarios: dict[str, str]
    assumptions: str
    inputs: dict[str, str]
    categories: dict[str, str]
    npv: str
    payback: str
    months: str
    never: str
    tornado: str
    at_low: str
    at_high: str
    no_case: str
    case_note: str


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
    saving_note="Total of the baseline less total of the candidate over the horizon of the run's scenario.",
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
    ruling_columns=("Answer", "Rule", "Required", "Observed"),
    costs="Line items",
    cost_columns=("Arm", "What", "Quantity", "Basis", "Amount"),
    open_mlflow="Open in MLflow",
    missing="missing",
    policy="Policy",
    examples="Test examples",
    per_training="One training",
    total="Total, {months} months",
    sentence_note="",
    scenario="Scenario",
    scenarios={"pilot": "Pilot", "department": "One department", "company": "Whole company"},
    assumptions="Assumptions",
    inputs={
        "variants": "Models kept",
        "requests_per_month": "Requests a month, each model",
        "trainings_per_year": "Retrainings a year",
        "tries_per_training": "Trainings paid for one kept",
        "requalifications_per_year": "Comparisons with the baseline a year",
        "versions_kept": "Versions kept",
        "copies": "Copies",
        "sites": "Sites",
        "requests_per_replica": "Requests a machine answers a month",
        "replica_hours": "Hours a machine is paid for a month",
        "adapters_per_replica": "Adapters on one machine",
        "labels_per_training": "Labels for each training",
        "label_seconds": "Seconds for a label",
        "engineer_hours": "Engineer hours a training",
        "governance_hours": "Governance hours a version",
        "adoption_hours": "Hours to introduce it",
        "cost_per_wrong_answer": "Cost of a wrong answer",
        "discount_rate": "Discount rate a year",
        "machine_price_factor": "Machine prices, factor",
        "wage_factor": "Wages, factor",
        "exchange_rate_factor": "Exchange rate, factor",
    },
    categories={
        "adoption": "introduction",
        "training": "training",
        "retraining": "retraining",
        "requalification": "comparison again",
        "evaluation": "evaluation",
        "labelling": "labelling",
        "serving": "serving",
        "storage": "storage",
        "transfer": "transfer",
        "people": "people",
        "governance": "governance",
        "energy": "energy",
        "risk": "risk",
    },
    npv="Net present value",
    payback="Payback",
    months="{count} months",
    never="not within the horizon",
    tornado="What moves the net present value most",
    at_low="input at its low end",
    at_high="input at its high end",
    no_case="This run has no valid comparison, so its risk has no price.",
    case_note="Below the saving: {low}th to {high}th percentile of {draws} draws of all inputs and of the quality.",
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
    saving_note="対象期間における比較対象の総所有コストから候補の総所有コストを引いた額（各実行の想定規模による）。",
    measured="実測に基づく割合",
    quality="品質の差",
    interval="信頼区間",
    margin="非劣性マージン",
    started="開始日時（UTC）",
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
    trend="候補と比較対象の差（実行ごと）",
    trend_note="点は {metric} の差、線はその信頼区間です。"
    "線の下端が破線（マージンの負の値）より上にあれば、非劣性が示されたことになります。",
    no_runs="このストアにはまだ実行がありません。",
    no_ledger="このストアの隣に台帳がなく、--ledger でも指定されていません。",
    verify="台帳を検証する",
    verify_mlflow="台帳と MLflow を照合する（すべての版を取得します）",
    verified="検証済み",
    broken="改ざんまたは破損を検出",
    not_verified="この画面ではまだ検証していません。",
    entries="記録数",
    newest_entries="最新 {count} 件の記録",
    entry_columns=("番号", "日時（UTC）", "種類", "対象", "署名者の役割"),
    checked="検証した内容",
    not_checked="検証していない内容",
    rulings="判定基準ごとの結果",
    ruling_columns=("結果", "基準", "要求", "観測"),
    costs="費用明細",
    cost_columns=("方式", "内容", "数量", "根拠", "金額"),
    open_mlflow="MLflow で開く",
    missing="記録なし",
    policy="判定方針",
    examples="評価件数",
    per_training="学習1回あたり",
    total="{months}か月の総額",
    sentence_note="理由の文は記録されたとおり英語で表示します。",
    scenario="シナリオ",
    scenarios={"pilot": "試行", "department": "一部門", "company": "全社"},
    assumptions="前提条件",
    inputs={
        "variants": "運用するモデル数",
        "requests_per_month": "月間リクエスト数（モデルごと）",
        "trainings_per_year": "年間の再学習回数",
        "tries_per_training": "採用1回あたりの学習回数",
        "requalifications_per_year": "年間の再比較回数",
        "versions_kept": "保管する版の数",
        "copies": "複製の数",
        "sites": "配布先の拠点数",
        "requests_per_replica": "1台が1か月に処理する件数",
        "replica_hours": "1台の月間課金時間",
        "adapters_per_replica": "1台に載せるアダプター数",
        "labels_per_training": "再学習ごとのラベル数",
        "label_seconds": "ラベル1件の秒数",
        "engineer_hours": "学習1回の技術者工数（時間）",
        "governance_hours": "版ごとの統制工数（時間）",
        "adoption_hours": "導入工数（時間）",
        "cost_per_wrong_answer": "誤答1件の損失",
        "discount_rate": "割引率（年）",
        "machine_price_factor": "計算機単価の倍率",
        "wage_factor": "人件費単価の倍率",
        "exchange_rate_factor": "為替の倍率",
    },
    categories={
        "adoption": "導入",
        "training": "初回学習",
        "retraining": "再学習",
        "requalification": "再比較",
        "evaluation": "評価",
        "labelling": "ラベル付け",
        "serving": "推論サーバー",
        "storage": "保管",
        "transfer": "転送",
        "people": "技術者",
        "governance": "統制・監査",
        "energy": "電力",
        "risk": "リスク",
    },
    npv="正味現在価値",
    payback="回収期間",
    months="{count}か月",
    never="対象期間内に回収せず",
    tornado="正味現在価値への影響が大きい前提",
    at_low="前提が下限のとき",
    at_high="前提が上限のとき",
    no_case="この実行には有効な比較がないため、リスクを金額にできません。",
    case_note="削減額の下の範囲は、全前提と品質差を {draws} 回抽出したときの {low}〜{high} パーセンタイルです。",
)

LANGUAGES = {"en": EN, "ja": JA}
