"""What auditors ask, and which files of the bundle answer. Evidence, not legal advice.

Wording is ours and short; the texts themselves decide. EU AI Act: Regulation (EU) 2024/1689, Annex IV and Article
12. ISO/IEC 42001:2023, controls A.6.2. Japan: AI Guidelines for Business (AI 事業者ガイドライン, METI and MIC), by
the names of its common principles, because item numbers change between versions.
"""

from __future__ import annotations

from typing import NamedTuple

from rsa_ops.governance.papers import folder as paper

ENTRIES = "ledger/entries.jsonl"
CHECKPOINT = "ledger/checkpoint.json"
DECISIONS = "ledger/decisions.json"
LEDGER_KEYS = "keys/ledger.json"
MODEL_KEY = "keys/model.pub"
MEASURED = "measurements/"
PLANS = "ledger/plan-"
OTHERS = "ledger/checkpoint-"

AI_ACT = "EU AI Act"
ISO_42001 = "ISO/IEC 42001"
JAPAN = "AI 事業者ガイドライン"


class Question(NamedTuple):
    """A question, where it is asked, and the files that answer; without files, `note` says who must answer.

    A name that ends with a slash or a hyphen stands for every file whose name begins so.
    """

    framework: str
    reference: str
    english: str
    japanese: str
    files: tuple[str, ...] = ()
    note: str = ""
    note_japanese: str = ""


QUESTIONS = (
    Question(
        AI_ACT,
        "Annex IV, 1",
        "What is the system, in which version, and what does it build on?",
        "システムの概要、版、基となるモデルは何か。",
        (paper.CARD, paper.BOM),
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (a) (b)",
        "How was it developed, from which pre-trained parts, with which settings?",
        "どのような手順・設定で、どの事前学習モデルから開発されたか。",
        (paper.PROVENANCE, paper.BOM, paper.ENVIRONMENT, "run.json"),
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (c)",
        "How is it built, and what computing did its training take?",
        "どのような構成で、学習にどれだけの計算資源を要したか。",
        (paper.BOM, paper.CARD, MEASURED),
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (d)",
        "Which data was used, where does it come from, and how was it checked?",
        "どのデータを用い、その出所は何か、どのように検査したか。",
        ("validation.json", paper.PROVENANCE, paper.CARD),
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (e)",
        "Who decided that it may be used, and could a person have refused?",
        "利用の可否を誰が判断し、人が拒否できたか。",
        (DECISIONS, PLANS, LEDGER_KEYS),
        "Oversight while it is in use is not shown here.",
        "運用中の人による監督は本資料の対象外。",
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (g)",
        "How was it tested, by which metrics, on which data, and who signed the result?",
        "どのデータ・指標で試験し、結果に誰が署名したか。",
        (
            paper.TEST_RESULT,
            "verdict.json",
            "verdict.md",
            "comparison.json",
            "design.json",
            paper.POLICY,
        ),
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (h)",
        "What protects it against being changed unseen?",
        "気付かれずに改変されることをどう防いでいるか。",
        (paper.SIGNATURE, MODEL_KEY, ENTRIES, CHECKPOINT),
    ),
    Question(
        AI_ACT,
        "Annex IV, 3",
        "What can it do, how well for which groups, and where are its limits?",
        "何がどの程度でき、集団ごとの精度と限界はどうか。",
        (paper.CARD, "comparison.json"),
    ),
    Question(
        AI_ACT,
        "Annex IV, 4",
        "Why are these metrics and margins the right ones?",
        "その指標と許容差が適切である理由は何か。",
        (paper.POLICY, "design.json"),
        "The policy says what was demanded, not why: its owner adds that.",
        "ポリシーは要求内容を示す。理由は責任者が補う。",
    ),
    Question(
        AI_ACT,
        "Annex IV, 2 (f), 5, 7, 8, 9",
        "Planned changes, risk management, standards applied, declaration of conformity, post-market monitoring.",
        "あらかじめ定めた変更、リスク管理、適用規格、適合宣言、市販後監視。",
        (),
        "Not in this bundle; the provider answers.",
        "本資料には含まれない。提供者が回答する。",
    ),
    Question(
        AI_ACT,
        "Annex IV, 6",
        "What changed over its life, when, and by whom?",
        "ライフサイクルを通じて何が、いつ、誰により変更されたか。",
        (DECISIONS, ENTRIES),
    ),
    Question(
        AI_ACT,
        "Article 12",
        "Which events were recorded automatically, and can the record be trusted?",
        "どの事象が自動的に記録され、その記録は信頼できるか。",
        (ENTRIES, CHECKPOINT, LEDGER_KEYS),
        "These are the decisions about the model. The logs of its operation are for whoever serves it.",
        "モデルに関する判断の記録である。運用ログは提供側が別途保存する。",
    ),
    Question(
        ISO_42001,
        "A.6.2.4",
        "Verification and validation: what was demanded, measured and concluded?",
        "検証及び妥当性確認：何を要求し、測定し、結論したか。",
        (paper.POLICY, "comparison.json", "verdict.json", paper.TEST_RESULT, paper.SIMPLE_RESULT),
    ),
    Question(
        ISO_42001,
        "A.6.2.5",
        "Deployment: under which plan and whose approval did it go into use?",
        "展開：どの計画と承認に基づき利用を開始したか。",
        (DECISIONS, PLANS),
    ),
    Question(
        ISO_42001,
        "A.6.2.6",
        "Operation and monitoring.",
        "運用及び監視。",
        (),
        "Not in this bundle; whoever serves the model answers.",
        "本資料には含まれない。運用者が回答する。",
    ),
    Question(
        ISO_42001,
        "A.6.2.7",
        "Technical documentation: what is there for which reader?",
        "技術文書：誰のために何が用意されているか。",
        (paper.CARD, paper.BOM, paper.PROVENANCE, "tco.json"),
    ),
    Question(
        ISO_42001,
        "A.6.2.8",
        "Event logs: what is recorded, and how is a change found?",
        "イベントログ：何を記録し、改変をどう検出するか。",
        (ENTRIES, CHECKPOINT, LEDGER_KEYS),
    ),
    Question(
        JAPAN,
        "安全性 (safety)",
        "Was it shown not to be worse than what it replaces, and what are its limits?",
        "置き換え対象より劣らないことが示されたか。限界は何か。",
        ("verdict.json", "comparison.json", paper.CARD),
    ),
    Question(
        JAPAN,
        "公平性 (fairness)",
        "Is any group of cases served clearly worse?",
        "特定の区分で明らかに性能が劣っていないか。",
        ("comparison.json", paper.CARD),
    ),
    Question(
        JAPAN,
        "プライバシー保護 (privacy)",
        "Was the data checked for personal data?",
        "データに個人情報が含まれないか検査したか。",
        ("validation.json",),
        "Patterns only: what they do not match, they do not find.",
        "パターン照合による検査であり、網羅性は保証しない。",
    ),
    Question(
        JAPAN,
        "セキュリティ確保 (security)",
        "What is it made of, and are its files those that were approved?",
        "構成要素は何か。承認されたファイルと同一か。",
        (paper.BOM, paper.SIGNATURE, MODEL_KEY),
    ),
    Question(
        JAPAN,
        "透明性 (transparency)",
        "Can an outsider see how it was made and judged?",
        "開発と評価の過程を第三者が確認できるか。",
        (paper.CARD, paper.PROVENANCE, paper.POLICY, "verdict.md"),
    ),
    Question(
        JAPAN,
        "アカウンタビリティ (accountability)",
        "Who is answerable for which decision, and can it be traced?",
        "どの判断に誰が責任を負い、追跡できるか。",
        (DECISIONS, ENTRIES, LEDGER_KEYS),
    ),
)

WHAT: dict[str, tuple[str, str]] = {
    paper.SIGNATURE: ("OMS signature over every file of the adapter", "アダプタ全ファイルの OMS 署名"),
    paper.PROVENANCE: ("SLSA provenance v1 of the training (in-toto, DSSE)", "学習の来歴（SLSA provenance v1）"),
    paper.TEST_RESULT: ("the verdict, rule by rule (in-toto test-result)", "規則ごとの判定（in-toto test-result）"),
    paper.SIMPLE_RESULT: ("what holds (in-toto svr)", "成立した事項（in-toto svr）"),
    paper.CARD: ("model card", "モデルカード"),
    paper.BOM: ("bill of materials (CycloneDX 1.7 ML-BOM)", "部品表（CycloneDX 1.7 ML-BOM）"),
    paper.POLICY: ("the policy that was locked before the scores", "採点前に固定されたポリシー"),
    paper.ENVIRONMENT: ("every Python package installed", "導入済み Python パッケージ一覧"),
    "verdict.json": ("the verdict", "判定"),
    "verdict.md": ("the verdict, for reading", "判定（閲覧用）"),
    "comparison.json": ("estimates and intervals, per metric and slice", "指標・区分ごとの推定値と区間"),
    "tco.json": ("costs, each measured, quoted, assumed or derived", "費用（実測・見積・仮定・導出の別）"),
    "run.json": ("what was fixed before training", "学習前に固定した事項"),
    "design.json": ("how the comparison was planned", "比較の計画"),
    "validation.json": ("the data, its splits and its checks", "データ、分割、検査結果"),
    ENTRIES: ("the ledger, every entry to the last about this version", "台帳（本版に関する最後の記録まで）"),
    CHECKPOINT: ("how far the ledger had come, signed", "台帳の到達点（署名付き）"),
    DECISIONS: ("the entries about this version", "本版に関する台帳記録"),
    LEDGER_KEYS: ("who may sign in the ledger", "台帳の署名鍵"),
    MODEL_KEY: ("public key of the OMS signature", "OMS 署名の公開鍵"),
}
"""What each member is, in English and Japanese."""

APPROVED_PLAN = ("a plan and its approvals (DSSE)", "計画とその承認（DSSE）")
MEASUREMENTS = ("time, memory and energy of the training", "学習の時間・メモリ・電力量")
NAMED_BY_PAPERS = ("named by the papers entry", "papers 記録に記載のファイル")
OTHER_CHECKPOINT = ("a checkpoint that was kept elsewhere", "別途保管された到達点")
