"""What the portfolio sheet says beyond the words of the decision sheet, in every language."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PortfolioWords:
    """Words with braces are filled in by `str.format`."""

    kind: str
    subject: str
    proposal: str
    saving: str
    saving_note: str
    pipelines: str
    of_runs: str
    verdicts: str
    no_verdict: str
    store: str
    by_pipeline: str
    pipeline_columns: tuple[str, str, str, str, str, str, str, str]
    all_runs: str
    run_columns: tuple[str, str, str, str, str, str, str, str]
    source_note: str


PORTFOLIO = {
    "en": PortfolioWords(
        kind="Portfolio",
        subject="All pipelines: what was decided and what it saves",
        proposal="{promoted} of {pipelines} pipelines have a candidate that may go into use.",
        saving="Saving over the horizon",
        saving_note="only pipelines whose newest verdict is to promote; each over its own horizon",
        pipelines="Pipelines",
        of_runs="{runs} runs",
        verdicts="Newest verdicts",
        no_verdict="no verdict",
        store="MLflow store",
        by_pipeline="Pipelines, those that save most first",
        pipeline_columns=("Pipeline", "Verdict", "Difference", "Margin", "Saving", "NPV", "Scenario", "Runs"),
        all_runs="All runs, newest first",
        run_columns=("Started", "Pipeline", "Verdict", "Difference", "Margin", "Saving", "Policy", "MLflow run"),
        source_note="Taken from the headline that each run was tagged with; its records decide where the two "
        "differ. Differences are in points of 100 with their interval. Pipelines without a price add nothing.",
    ),
    "ja": PortfolioWords(
        kind="ポートフォリオ報告",
        subject="全業務の判定状況と削減額",
        proposal="{pipelines} 業務のうち {promoted} 業務で、候補を本番に採用できます。",
        saving="削減額（対象期間の合計）",
        saving_note="最新の判定が「採用可」の業務のみ。対象期間は業務ごとに異なります",
        pipelines="業務数",
        of_runs="実行 {runs} 回",
        verdicts="最新の判定",
        no_verdict="判定なし",
        store="MLflow の保存先",
        by_pipeline="業務別（削減額の大きい順）",
        pipeline_columns=(
            "業務",
            "判定",
            "差",
            "マージン",
            "削減額",
            "NPV（正味現在価値）",
            "想定規模",
            "実行回数",
        ),
        all_runs="すべての実行（新しい順）",
        run_columns=("開始", "業務", "判定", "差", "マージン", "削減額", "判定方針", "MLflow の実行"),
        source_note="各実行に付けられた要約から作成しています。記録と異なる場合は記録が優先します。"
        "差は百分率のポイントで、括弧内は信頼区間です。金額のない業務は合計に含みません。",
    ),
}
